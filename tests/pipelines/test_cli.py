"""The command line over a library that is scripted: exit codes, JSON, hostile names, citations."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, SearchConfig
from fdvs.errors import (
    BadModelOutput,
    ConfigError,
    LibraryBusy,
    LibraryMissing,
    MissingVideo,
    ModelUnavailable,
    NotFound,
)
from fdvs.pipelines import cli, cli_common
from fdvs.pipelines.events import BuildEvent
from fdvs.report import BuildReport, BuildRow
from fdvs.types import (
    Answer,
    Chapter,
    Moment,
    Saved,
    Scene,
    Sentence,
    Story,
    VideoHit,
    VideoRow,
)

SAVED = Saved(
    num_clips=3,
    num_frames_sampled=24,
    num_frames_kept=10,
    num_chapters=3,
    num_chapters_kept=2,
    num_captioner_calls=10,
    num_captioner_calls_saved=14,
    captioner_s=2.0,
    seconds_saved=2.8,
)
HOSTILE = "a[bold]b[/bold] :smile: \x1b[31mred\x1b]0;title\x07 [/] \u202egpj.mp4"
HOSTILE_SHOWN = "a[bold]b[/bold] :smile: red [/] gpj.mp4"


def a_story() -> Story:
    chapters = tuple(
        Chapter(video_id="v1", index=i, start_s=10.0 * i, end_s=10.0 * i + 10, text=f"Chapter {i}.")
        for i in (0, 1, 3)
    )
    scenes = (
        Scene(
            index=0,
            start_s=0.0,
            end_s=20.0,
            chapters=(0, 1),
            sentences=(Sentence(text="First scene.", clips=(0, 1)),),
        ),
        Scene(
            index=1,
            start_s=30.0,
            end_s=40.0,
            chapters=(3,),
            sentences=(Sentence(text="Second scene.", clips=(3,)),),
        ),
    )
    return Story(
        video_id="v1",
        duration_s=40.0,
        sentences=(Sentence(text="All [red]of[/red] it.", clips=(0, 1, 3)),),
        scenes=scenes,
        chapters=chapters,
        num_clips=4,
        writers={"story": "extractive"},
    )


def a_moment(name: str = "film.mp4", **changes: Any) -> Moment:
    values: dict[str, Any] = {
        "video_id": "v1",
        "name": name,
        "start_s": 3600.0,
        "end_s": 3661.5,
        "score": 0.4321,
        "text": "A rabbit [i]sits[/i] :rabbit:.",
        "clips": (7,),
        "matched_by": ("meaning", "words"),
    }
    return Moment(**{**values, **changes})


def row(**changes: Any) -> VideoRow:
    values: dict[str, Any] = {
        "name": "film.mp4",
        "video_id": "v1",
        "path": "/films/film.mp4",
        "status": "ok",
        "reason": "",
        "duration_s": 40.0,
        "num_clips": 4,
        "num_chapters": 3,
    }
    return VideoRow(**{**values, **changes})


def build_row(**changes: Any) -> BuildRow:
    values: dict[str, Any] = {
        "path": "/films/film.mp4",
        "name": "film.mp4",
        "video_id": "v1",
        "status": "built",
        "duration_s": 40.0,
        "num_clips": 3,
        "num_clips_computed": 3,
        "seconds": 1.5,
        "saved": SAVED,
    }
    return BuildRow(**{**values, **changes})


def a_report(*rows: BuildRow, **changes: Any) -> BuildReport:
    values: dict[str, Any] = {
        "rows": rows,
        "num_ignored": 0,
        "seconds": 2.0,
        "backends": {"captioner": "tags (offline stand-in)"},
        "saved": SAVED,
    }
    return BuildReport(**{**values, **changes})


class FakeLibrary:
    """What a test tells it to be; remembers how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.config = Config(search=SearchConfig(min_score=0.2))
        self.path = Path("fdvs-library")
        self.closed = False
        self.results: dict[str, Any] = {}

    def open(self, path: Any, **options: Any) -> FakeLibrary:
        self.calls.append(("open", (path, options)))
        self._result("open", None)
        return self

    def _result(self, name: str, default: Any, *seen: Any) -> Any:
        if name != "open":
            self.calls.append((name, seen))
        result = self.results.get(name, default)
        if isinstance(result, BaseException):
            raise result
        return result

    def __enter__(self) -> FakeLibrary:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def build(self, paths: Any, *, progress: Any, wait: bool) -> Any:
        for event in self.results.get("events", ()):
            progress(event)
        sys.stdout.write("a package prints this by accident\n")
        return self._result("build", a_report(build_row()), paths, wait)

    def videos(self) -> Any:
        return self._result("videos", [row()])

    def saved(self) -> Any:
        return self._result("saved", {"film.mp4": SAVED})

    def story(self, video: str) -> Any:
        return self._result("story", a_story(), video)

    def search(self, query: str, **options: Any) -> Any:
        return self._result("search", [a_moment()], query, options)

    def search_videos(self, query: str, **options: Any) -> Any:
        hit = VideoHit(
            video_id="v1",
            name="film.mp4",
            score=0.5,
            level="scene",
            text="A scene.",
            start_s=1.0,
            end_s=2.0,
        )
        return self._result("search_videos", [hit], query, options)

    def ask(self, question: str, **options: Any) -> Any:
        answer = Answer(
            question=question,
            text="It is [b]red[/b].",
            evidence=(a_moment(),),
            backend="smollm2-135m",
            attention="dga: eager",
            num_prompt_tokens=100,
            num_answer_tokens=5,
            seconds=1.25,
        )
        return self._result("ask", answer, question, options)

    def remove(self, video: str) -> Any:
        return self._result("remove", row(), video)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    fake = FakeLibrary()
    monkeypatch.setattr(cli_common, "library_class", lambda: fake)
    monkeypatch.delenv("FDVS_LIBRARY", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return fake


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """The command line sets logging and environment up; leave no trace."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def last_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command with --json; return (exit code, the object on the last line of stdout)."""

    def call(*argv: str) -> tuple[int, Any]:
        code = cli.run([*argv, "--json"])
        out = capsys.readouterr().out
        assert out.endswith("\n")
        lines = out.splitlines()
        assert len(lines) == 1, out
        return code, json.loads(lines[-1])

    return call


COMMANDS = {
    "build": ["build", "films"],
    "list": ["list"],
    "story": ["story", "film.mp4"],
    "search": ["search", "a rabbit"],
    "videos": ["search", "a rabbit", "--videos"],
    "ask": ["ask", "what?"],
    "remove": ["remove", "film.mp4"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_succeeds_and_closes_the_library(
    name: str, library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(COMMANDS[name]) == 0
    assert library.closed
    assert "film.mp4" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_options_reach_the_library(name: str, library: FakeLibrary) -> None:
    options = ["--library", "L", "--preset", "laptop", "--config", "some.yaml"]
    assert cli.run([*COMMANDS[name], *options]) == 0
    path, given = library.calls[0][1]
    assert path == Path("L")
    assert given["preset"] == "laptop"
    assert given["config"] == Path("some.yaml")
    assert given["create"] == (name == "build")


def test_the_library_comes_from_the_environment(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_LIBRARY", "from-there")
    assert cli.run(["list"]) == 0
    assert cli.run(["list", "-l", "from-here"]) == 0
    opened = [seen[0] for name, seen in library.calls if name == "open"]
    assert opened == [Path("from-there"), Path("from-here")]


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_value_on_the_last_line(
    name: str, library: FakeLibrary, last_json: Callable[..., Any]
) -> None:
    code, value = last_json(*COMMANDS[name])
    assert code == 0
    assert isinstance(value, list if name == "list" else dict)


ERRORS = [
    (MissingVideo("films: no such file"), 2),
    (LibraryMissing("no library at x"), 2),
    (NotFound("no video 'x'"), 2),
    (ConfigError("bad setting"), 2),
    (ModelUnavailable("no weights"), 2),
    (LibraryBusy("another build"), 1),
    (BadModelOutput("an answer nobody can read"), 1),
]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda v: type(v).__name__)
def test_an_error_of_ours_is_one_line_and_no_traceback(
    error: Exception, code: int, library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["open"] = error
    assert cli.run(["list"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"fdvs: {error}\n"


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda v: type(v).__name__)
def test_errors_are_json_objects_too(
    error: Exception, code: int, library: FakeLibrary, last_json: Callable[..., Any]
) -> None:
    library.results["open"] = error
    assert last_json("list") == (code, {"error": str(error), "exit_code": code})


@pytest.mark.parametrize(
    "argv",
    [
        ["nonsense"],
        ["build"],
        ["list", "--nope"],
        ["search", "x", "--num", "0"],
        ["search", "x", "--num", "many"],
        ["search", "x", "--min-score", "nan"],
        ["search", "x", "--min-score", "7"],
        ["search", "x", "--videos", "--video", "a"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_2_and_names_the_help(
    argv: list[str], library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(argv) == 2
    assert "--help" in capsys.readouterr().err
    assert cli.run([*argv, "--json"]) == 2
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])["exit_code"] == 2
    assert "build" not in [name for name, _ in library.calls]


def test_no_command_shows_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    captured = capsys.readouterr()
    assert "Usage: fdvs" in captured.out + captured.err


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    from fdvs import __version__

    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"fdvs {__version__}\n"


def test_a_bug_shows_its_traceback_and_exits_70(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["videos"] = ZeroDivisionError("oops")
    assert cli.run(["list"]) == 70
    assert "Traceback" in capsys.readouterr().err
    assert cli.run(["list", "--json"]) == 70
    assert json.loads(capsys.readouterr().out) == {
        "error": "bug: ZeroDivisionError: oops",
        "exit_code": 70,
    }


def test_an_interrupted_build_says_that_it_goes_on_from_there(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["build"] = KeyboardInterrupt()
    assert cli.run(["build", "films"]) == 130
    assert library.closed
    err = capsys.readouterr().err
    assert "goes on from there" in err
    assert "Traceback" not in err


def test_ctrl_c_is_heard_at_once_and_the_second_one_too(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    def interrupted(*_: Any, **__: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert "stopping" in capsys.readouterr().err
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(library, "build", interrupted)
    before = signal.getsignal(signal.SIGINT)
    assert cli.run(["build", "films"]) == 130
    assert signal.getsignal(signal.SIGINT) is before


def test_where_interrupts_are_ignored_they_stay_ignored(library: FakeLibrary) -> None:
    import signal

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert cli.run(["build", "films"]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_main_exits_with_the_code(library: FakeLibrary) -> None:
    library.results["open"] = NotFound("no video")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["list"])
    assert stopped.value.code == 2


# --- build ------------------------------------------------------------------------------------


def test_a_build_shows_every_row_the_failures_and_what_was_saved(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = build_row(
        name="bad.mp4", video_id=None, status="failed", reason="empty file (0 bytes)", saved=None
    )
    same = build_row(name="same.mp4", status="unchanged", duration_s=60.0)
    warned = build_row(name="odd.mp4", warnings=("cut short",))
    library.results["build"] = a_report(
        build_row(), same, warned, bad, num_ignored=2, notes=("a note",)
    )
    assert cli.run(["build", "films", "--no-wait"]) == 1
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
        "10 pictures described, 14 not",
        "tags (offline stand-in)",
        "2 built, 1 unchanged, 1 failed, 2 other files ignored",
        "in all",
        "2:20",
    ):
        assert text in out, text
    assert "by accident" not in out


def test_many_warnings_are_cut_short_and_counted(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings = tuple(f"warning {i}" for i in range(13))
    library.results["build"] = a_report(build_row(warnings=warnings))
    assert cli.run(["build", "films"]) == 0
    out = capsys.readouterr().out
    assert "warning 9" in out
    assert "warning 10" not in out
    assert "3 more" in out


def test_nothing_to_build_exits_1_and_says_what_was_there(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], last_json: Callable[..., Any]
) -> None:
    library.results["build"] = a_report(num_ignored=1, saved=Saved())
    assert cli.run(["build", "films"]) == 1
    assert "nothing to build: no video among 1 file" in capsys.readouterr().out
    code, value = last_json("build", "films")
    assert (code, value["exit_code"], value["rows"]) == (1, 1, [])


def test_the_json_of_a_build_holds_rows_and_savings(
    library: FakeLibrary, last_json: Callable[..., Any]
) -> None:
    code, value = last_json("build", "a", "b", "-l", "L")
    assert code == 0
    assert library.calls[1] == ("build", (["a", "b"], True))
    assert value["library"] == "L"
    assert value["rows"][0]["saved"]["num_frames_kept"] == 10
    assert value["saved"]["num_captioner_calls_saved"] == 14


def test_progress_goes_to_standard_error_without_single_clips(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
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
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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


# --- reading ----------------------------------------------------------------------------------


def test_the_list_shows_failed_files_with_their_reason(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["videos"] = [
        row(),
        row(name="half.mp4", video_id="v2", status="partial", reason="3 of 4 clips"),
        row(name="bad.mp4", video_id=None, status="failed", reason="text", duration_s=None),
    ]
    assert cli.run(["list"]) == 0
    out = capsys.readouterr().out
    for text in ("film.mp4", "0:40", "10/24", "half.mp4 (partial)", "3 of 4 clips"):
        assert text in out
    assert "failed  bad.mp4  text" in out
    assert "2 videos, 1 failed" in out


def test_an_empty_library_says_how_to_build(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str], last_json: Callable[..., Any]
) -> None:
    library.results["videos"] = []
    assert cli.run(["list"]) == 0
    assert "fdvs build PATH" in capsys.readouterr().out
    assert last_json("list") == (0, [])


def test_a_story_cites_runs_of_clips(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["story", "v1", "--chapters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "film.mp4  0:40, 4 clips, 3 chapters kept, 2 scenes"
    assert lines[1] == "  All [red]of[/red] it."
    assert lines[2] == "  [film.mp4 @ 0:00-0:20] [film.mp4 @ 0:30-0:40]"
    assert "Scene 2  [film.mp4 @ 0:30-0:40]" in lines
    assert "    Chapter 3." in lines
    assert lines[-1] == "story: extractive"


def test_the_json_of_a_story_is_equal_for_equal_content(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["story", "film.mp4", "--json"]) == 0
    first = capsys.readouterr().out
    library.results["videos"] = [row(name="moved.mp4", path="/elsewhere/moved.mp4")]
    assert cli.run(["story", "v1", "--json", "--library", "other"]) == 0
    assert capsys.readouterr().out == first
    assert "/films" not in first


def test_search_passes_its_options_and_shows_what_matched(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["search", "a rabbit", "-n", "3", "--min-score", "0.5", "--video", "film.mp4"]
    assert cli.run(argv) == 0
    assert library.calls[1] == (
        "search",
        ("a rabbit", {"num": 3, "min_score": 0.5, "video": "film.mp4"}),
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[film.mp4 @ 1:00:00-1:01:02]  0.432  by meaning and words"
    assert lines[1] == "  A rabbit [i]sits[/i] :rabbit:."


@pytest.mark.parametrize("kind", [[], ["--videos"]])
def test_a_search_without_results_says_so_and_exits_0(
    kind: list[str], library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results |= {"search": [], "search_videos": []}
    assert cli.run(["search", "a [b]dog[/b]", *kind]) == 0
    out = capsys.readouterr().out
    assert "0.2" in out
    assert "a [b]dog[/b]" in out


def test_search_for_videos_names_the_level_that_won(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["search", "a rabbit", "--videos", "--num", "2"]) == 0
    assert library.calls[1] == ("search_videos", ("a rabbit", {"num": 2, "min_score": None}))
    out = capsys.readouterr().out
    assert "film.mp4  0.500  by its scene" in out
    assert "[film.mp4 @ 0:01-0:02]" in out


def test_found_things_carry_their_citation_in_json(
    library: FakeLibrary, last_json: Callable[..., Any]
) -> None:
    _, moments = last_json("search", "a rabbit")
    assert moments["query"] == "a rabbit"
    assert moments["moments"][0]["citation"] == "[film.mp4 @ 1:00:00-1:01:02]"
    _, videos = last_json("search", "a rabbit", "--videos")
    assert videos["videos"][0]["level"] == "scene"
    _, answer = last_json("ask", "what?")
    assert answer["evidence"][0]["citation"] == "[film.mp4 @ 1:00:00-1:01:02]"
    assert answer["attention"] == "dga: eager"


def test_an_answer_shows_evidence_backend_and_attention(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["ask", "what?", "--video", "v1"]) == 0
    assert library.calls[1] == ("ask", ("what?", {"video": "v1"}))
    out = capsys.readouterr().out
    assert "It is [b]red[/b]." in out
    assert "[film.mp4 @ 1:00:00-1:01:02]" in out
    assert "answered by smollm2-135m; attention: dga: eager; 100 tokens read" in out


def test_an_answer_without_evidence_says_so(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["ask"] = Answer(
        question="q", text="", evidence=(), backend="none", attention="none"
    )
    assert cli.run(["ask", "q"]) == 0
    assert "No evidence was found" in capsys.readouterr().out


def test_remove_says_that_the_file_stays(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["remove", "film.mp4"]) == 0
    assert library.calls[1] == ("remove", ("film.mp4",))
    assert "removed film.mp4 (4 clips); the file stays" in capsys.readouterr().out


# --- hostile names and narrow terminals -------------------------------------------------------


@pytest.mark.parametrize("width", ["20", "500"])
@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_citations_are_whole_and_never_markup(
    width: str,
    is_terminal: bool,
    library: FakeLibrary,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    long_text = "word " * 60
    library.results["search"] = [a_moment(HOSTILE, text=long_text)]
    library.results["videos"] = [row(name=HOSTILE)]
    cited = f"[{HOSTILE_SHOWN} @ 1:00:00-1:01:02]"
    assert cli.run(["search", "x"]) == 0
    out = capsys.readouterr().out
    assert cited in out
    text_lines = [line for line in out.splitlines() if "word word" in line]
    assert (len(text_lines) > 1) == is_terminal
    assert cli.run(["story", "v1"]) == 0
    assert f"[{HOSTILE_SHOWN} @ 0:00-0:20]" in capsys.readouterr().out


def test_no_control_character_of_a_name_or_text_reaches_the_terminal(
    library: FakeLibrary, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "x\x1b[2J\x1b]8;;http://a\x1b\\y\x07\x00\x9b31m\u202e\udcff\nz"
    library.results |= {
        "search": [a_moment(evil, text=evil, matched_by=(evil,))],
        "videos": [row(name=evil, video_id=None, status="failed", reason=evil)],
        "build": a_report(
            build_row(name=evil, warnings=(evil,)),
            build_row(name=evil, status="failed", reason=evil, saved=None),
            notes=(evil,),
            backends={"captioner": evil},
        ),
        "remove": row(name=evil),
        "open": None,
    }
    for argv in (["search", "x"], ["list"], ["build", "x"], ["remove", "x"], ["story", "v1"]):
        cli.run(argv)
    library.results["open"] = NotFound(f"no video {evil}")
    cli.run(["list"])
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set(text) & set("\x1b\x07\x00\x9b\u202e\udcff")
    assert "xy\ufffd z" in captured.out


def test_a_name_that_is_not_utf8_is_valid_json(
    library: FakeLibrary, last_json: Callable[..., Any]
) -> None:
    library.results["videos"] = [row(name="caf\udce9.mp4")]
    _, value = last_json("list")
    assert value[0]["name"] == "caf\udce9.mp4"


# --- a reader that goes away ------------------------------------------------------------------


def test_a_closed_pipe_ends_quietly() -> None:
    import os
    import subprocess

    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "import sys; from fdvs.pipelines.cli import main; main(['build', '--help'])"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], stdout=write_end, stderr=subprocess.PIPE
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_pipe_that_closes_within_a_command_ends_quietly(
    library: FakeLibrary, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = []
    monkeypatch.setattr("os.dup2", lambda *fds: seen.append(fds))
    library.results["videos"] = BrokenPipeError()
    assert cli.run(["list", "--json"]) == 141
    assert len(seen) == 1
    assert capfd.readouterr().err == ""


def test_verbose_logs_what_happens(library: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger().handlers.clear()
    assert cli.run(["--verbose", "list"]) == 0
    assert logging.getLogger().level == logging.INFO
