"""`fdvs build`: rows, failures, what was saved, progress."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.config import Config
from fdvs.pipelines.cli import main as cli
from fdvs.report import BuildEvent
from fdvs.types import Saved


def test_a_build_shows_every_row_the_failures_and_what_was_saved(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = make.build_row(
        name="bad.mp4", video_id=None, status="failed", reason="empty file (0 bytes)", saved=None
    )
    same = make.build_row(name="same.mp4", status="unchanged", duration_s=60.0)
    warned = make.build_row(name="odd.mp4", warnings=("cut short",))
    library.results["build"] = make.report(
        make.build_row(),
        same,
        warned,
        bad,
        num_ignored=2,
        notes=("a note",),
        rules={"frames": "cover, floor 0.95", "chapters": "paper"},
    )
    assert cli.run(["build", "films", "--no-wait", "--verbose"]) == 1
    assert library.calls[1] == ("build", (["films"], False))
    out = capsys.readouterr().out
    for text in (
        "film.mp4",
        "10/24",
        "2/3",
        "2.8 s",
        "unchanged",
        "failed  bad.mp4  empty file (0 bytes)",
        "a note",
        "odd.mp4: cut short",
        "58 % of 24 frames and 33 % of 3 chapters left out",
        "10 frames described, 14 skipped",
        "rules: frames by cover, floor 0.95; chapters by paper",
        "tags (offline stand-in)",
        "2 built, 1 unchanged, 1 failed, 2 other files ignored",
        "total",
        "2:20",
    ):
        assert text in out, text
    assert "by accident" not in out


def test_a_build_ends_with_a_line_a_video_and_what_to_do_next(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    talk = make.build_row(
        name="a talk.mp4", found={"speech": 120, "screen text": 1}, missing=("screen-text",)
    )
    library.results["build"] = make.report(talk, make.build_row(name="sea.mp4", duration_s=1.0))
    assert cli.run(["build", "films", "-l", "my lib"]) == 1
    talk_line, sea_line, summary, following, *_ = capsys.readouterr().out.splitlines()
    assert talk_line == (
        "a talk.mp4  0:40  2 chapters, 120 spoken sentences, 1 text on screen"
        "  (built, 3 clips new; not complete: screen-text)"
    )
    assert sea_line.startswith("sea.mp4  0:01  2 chapters, pictures only")
    assert "rules" not in summary
    assert "fdvs story 'a talk.mp4' -l 'my lib'" in following


def test_sources_and_language_change_the_settings(library: Any, make: SimpleNamespace) -> None:
    assert cli.run(["build", "films", "--with", "speech,ocr", "--lang", "de"]) == 0
    change = library.calls[0][1][1]["change"]
    perceive = change(Config()).perceive
    assert (perceive.sources, perceive.language) == (("speech", "ocr"), "de")


def test_many_warnings_are_cut_short_and_counted(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings = tuple(f"warning {i}" for i in range(13))
    library.results["build"] = make.report(make.build_row(warnings=warnings))
    assert cli.run(["build", "films"]) == 0
    out = capsys.readouterr().out
    assert "warning 9" in out
    assert "warning 10" not in out
    assert "3 more" in out


def test_nothing_to_build_exits_1_and_says_what_was_there(
    library: Any,
    make: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    last_json: Callable[..., Any],
) -> None:
    library.results["build"] = make.report(num_ignored=1, saved=Saved())
    assert cli.run(["build", "films"]) == 1
    assert "nothing to build: no video among 1 file" in capsys.readouterr().out
    code, value = last_json("build", "films")
    assert (code, value["exit_code"], value["rows"]) == (1, 1, [])


def test_the_json_of_a_build_holds_rows_and_savings(
    library: Any, make: SimpleNamespace, last_json: Callable[..., Any]
) -> None:
    rules = {"frames": "cover, floor 0.95", "chapters": "none"}
    library.results["build"] = make.report(make.build_row(), rules=rules)
    code, value = last_json("build", "films", "films", "-l", "L")
    assert code == 0
    assert library.calls[1] == ("build", (["films", "films"], True))
    assert value["library"] == "L"
    assert value["rows"][0]["saved"]["num_frames_kept"] == 10
    assert value["saved"]["num_captioner_calls_saved"] == 14
    assert value["rules"] == rules


def test_progress_goes_to_standard_error_without_single_clips(
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["events"] = [
        BuildEvent(kind="start", total=2),
        BuildEvent(kind="waiting", text="another build"),
        BuildEvent(kind="video", name="a.mp4", total=2),
        BuildEvent(kind="clip", name="a.mp4", done=1, total=9),
        BuildEvent(kind="done_video", name="a.mp4", done=1, total=2),
        BuildEvent(kind="failed", name="\x1b[2Jb.mp4", text="no\nreason", done=2, total=2),
    ]
    assert cli.run(["build", "films"]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "accident" not in line]
    assert told == [
        "waiting: another build",
        "[0/2] reading a.mp4",
        "[1/2] done a.mp4",
        "[2/2] failed b.mp4: no reason",
    ]


def test_a_terminal_gets_a_bar(
    library: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library.results["events"] = [
        BuildEvent(kind="start", total=2),
        BuildEvent(kind="clip", name="[bold]a.mp4", done=1, total=9),
        BuildEvent(kind="failed", name="b.mp4", text="no reason", done=2, total=2),
    ]
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert cli.run(["build", "films"]) == 0
    assert "failed b.mp4: no reason" in capsys.readouterr().err


def test_a_mistyped_path_leaves_no_library_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["build", "flims", "--library", "new"]) == 2
    assert "flims" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_engine_and_workers_reach_the_build(library: Any, make: SimpleNamespace) -> None:
    library.results["build"] = make.report(make.build_row())
    command = [
        "build",
        "films",
        "--engine",
        "ray",
        "--workers",
        "3",
        "--num-gpus-per-worker",
        "0.5",
    ]
    assert cli.run(command) == 0
    engine = library.calls[1][1][-1]["engine"]
    assert (engine.num_workers, engine.num_gpus_per_worker, engine.address) == (3, 0.5, "")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--engine", "dask"], "--engine is 'dask'; allowed: ray"),
        (["--workers", "2"], "allowed: ray, with --address or --workers"),
        (["--engine", "ray", "--workers", "-1"], "num_workers is -1"),
    ],
)
def test_a_wrong_engine_is_told(
    library: Any, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    assert cli.run(["build", "films", *given]) == 2
    assert told in capsys.readouterr().err
    assert not any(name == "build" for name, _ in library.calls)
