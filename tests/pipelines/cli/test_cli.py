"""The command line as a whole: options, exit codes, JSON on the last line, closed pipes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import (
    BadModelOutput,
    ConfigError,
    LibraryBusy,
    LibraryMissing,
    MissingVideo,
    ModelUnavailable,
    NotFound,
)
from fdvs.pipelines.cli import main as cli

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
    name: str, library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(COMMANDS[name]) == 0
    assert library.closed
    assert "film.mp4" in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_options_reach_the_library(name: str, library: Any) -> None:
    options = ["--library", "L", "--preset", "laptop", "--config", "some.yaml"]
    assert cli.run([*COMMANDS[name], *options]) == 0
    path, given = library.calls[0][1]
    assert path == Path("L")
    assert given["preset"] == "laptop"
    assert given["config"] == Path("some.yaml")
    assert given["create"] == (name == "build")


def test_the_library_comes_from_the_environment(
    library: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_LIBRARY", "from-there")
    assert cli.run(["list"]) == 0
    assert cli.run(["list", "-l", "from-here"]) == 0
    opened = [seen[0] for name, seen in library.calls if name == "open"]
    assert opened == [Path("from-there"), Path("from-here")]


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_value_on_the_last_line(
    name: str, library: Any, last_json: Callable[..., Any]
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
    error: Exception, code: int, library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["open"] = error
    assert cli.run(["list"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"fdvs: {error}\n"


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda v: type(v).__name__)
def test_errors_are_json_objects_too(
    error: Exception, code: int, library: Any, last_json: Callable[..., Any]
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
    argv: list[str], library: Any, capsys: pytest.CaptureFixture[str]
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
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["videos"] = ZeroDivisionError("oops")
    assert cli.run(["list"]) == 70
    assert "Traceback" in capsys.readouterr().err
    assert cli.run(["list", "--json"]) == 70
    assert json.loads(capsys.readouterr().out) == {
        "error": "bug: ZeroDivisionError: oops",
        "exit_code": 70,
    }


def test_an_interrupted_build_says_how_to_resume(
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["build"] = KeyboardInterrupt()
    assert cli.run(["build", "films"]) == 130
    assert library.closed
    err = capsys.readouterr().err
    assert "run the same command again to resume" in err
    assert "Traceback" not in err


def test_ctrl_c_is_heard_at_once_and_the_second_one_too(
    library: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import signal

    def interrupted(*_: Any, **__: Any) -> None:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert "stopping" in capsys.readouterr().err
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(library, "build", interrupted)
    # tests that a shell runs in the background inherit interrupts that are ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.run(["build", "films"]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_where_interrupts_are_ignored_they_stay_ignored(library: Any) -> None:
    import signal

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert cli.run(["build", "films"]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_main_exits_with_the_code(library: Any) -> None:
    library.results["open"] = NotFound("no video")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["list"])
    assert stopped.value.code == 2


def test_a_closed_pipe_ends_quietly() -> None:
    import os
    import subprocess

    read_end, write_end = os.pipe()
    os.close(read_end)
    program = "import sys; from fdvs.pipelines.cli.main import main; main(['build', '--help'])"
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", program], stdout=write_end, stderr=subprocess.PIPE
        )
    finally:
        os.close(write_end)
    assert done.returncode == 141
    assert done.stderr == b""


def test_a_pipe_that_closes_within_a_command_ends_quietly(
    library: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    seen = []
    monkeypatch.setattr("os.dup2", lambda *fds: seen.append(fds))
    library.results["videos"] = BrokenPipeError()
    assert cli.run(["list", "--json"]) == 141
    assert len(seen) == 1
    assert capfd.readouterr().err == ""


def test_verbose_logs_what_happens(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logging.getLogger().handlers.clear()
    assert cli.run(["--verbose", "list"]) == 0
    assert logging.getLogger().level == logging.INFO
