"""Export commands write the files that they name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, PerceiveConfig
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.library import Library


@pytest.fixture
def library(tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any],
            monkeypatch: pytest.MonkeyPatch) -> Path:  # fmt: skip
    make_film(tmp_path / "a film!.mp4", [("red", 2.0), ("blue", 2.0)])
    config = Config(perceive=PerceiveConfig(sources=("subtitles",)))
    with Library.open(tmp_path / "library", config=config, models=models) as opened:
        opened.build([tmp_path / "a film!.mp4"])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "library"


def test_files_are_named_after_the_video(library: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["export", "a film!.mp4", "-f", "md", "-l", str(library)]) == 0
    assert capsys.readouterr().out == "written a_film.md\n"
    assert Path("a_film.md").read_text("utf-8").startswith("---\ntitle: ")
    assert (
        cli.run(["export", "--all", "-f", "csv", "-o", "out.csv", "-l", str(library), "--json"])
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {"files": ["out.csv"]}
    assert cli.run(["clip", "a film!.mp4", "0:01-0:02", "-l", str(library)]) == 0
    assert Path("a_film-0.01-0.02.mp4").stat().st_size > 0
    assert cli.run(["sheet", "a film!.mp4", "-l", str(library)]) == 0
    assert Path("a_film.sheet.jpg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (["export"], "name one VIDEO"), (["export", "x.mp4", "--all"], "name one VIDEO"),
        (["export", "nobody.mp4"], "nobody.mp4"), (["export", "a film!.mp4", "-f", "doc"], "doc"),
        (["clip", "a film!.mp4", "soon"], "START-END"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_told(
    library: Path, line: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run([*line, "-l", str(library)]) == 2
    assert told in capsys.readouterr().err


def test_the_settings_that_are_shown_can_be_given_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["config", "-p", "laptop", "-l", str(tmp_path / "none")]) == 0
    shown = capsys.readouterr().out
    (tmp_path / "own.yaml").write_text(shown, "utf-8")
    line = ["config", "-c", str(tmp_path / "own.yaml"), "-l", str(tmp_path / "none")]
    assert cli.run(line) == 0
    assert capsys.readouterr().out == shown
    assert "captioner: auto" in shown


def test_only_what_is_included_is_built(
    tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]
) -> None:
    folder = tmp_path / "films"
    for name in ("old/a.mp4", "b.mp4", "c.mkv"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        make_film(folder / name, [("red", 1.0), ("blue", float(len(name)) / 10)])
    with Library.open(tmp_path / "library", models=models) as opened:
        report = opened.build([folder], include=["*.mp4"], exclude=["old/*"])
    assert [row.name for row in report.rows] == ["b.mp4"]
