"""Names and texts from outside: never markup, never control characters, citations whole."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.errors import NotFound
from fdvs.pipelines.cli import main as cli

HOSTILE = "a[bold]b[/bold] :smile: \x1b[31mred\x1b]0;title\x07 [/] \u202egpj.mp4"
HOSTILE_SHOWN = "a(bold)b(/bold) :smile: red (/) gpj.mp4"


@pytest.mark.parametrize("width", ["20", "500"])
@pytest.mark.parametrize("is_terminal", [False, True], ids=["pipe", "terminal"])
def test_citations_are_whole_and_never_markup(
    width: str,
    is_terminal: bool,
    library: Any,
    make: SimpleNamespace,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    if is_terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
    long_text = "word " * 60
    library.results["search"] = [make.moment(HOSTILE, text=long_text)]
    library.results["videos"] = [make.row(name=HOSTILE)]
    cited = f"[{HOSTILE_SHOWN} @ 1:00:00-1:01:02]"
    assert cli.run(["search", "x"]) == 0
    out = capsys.readouterr().out
    assert cited in out
    text_lines = [line for line in out.splitlines() if "word word" in line]
    assert (len(text_lines) > 1) == is_terminal
    assert cli.run(["story", "v1"]) == 0
    assert f"[{HOSTILE_SHOWN} @ 0:00-0:20]" in capsys.readouterr().out


def test_no_control_character_of_a_name_or_text_reaches_the_terminal(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "x\x1b[2J\x1b]8;;http://a\x1b\\y\x07\x00\x9b31m\u202e\udcff\nz"
    library.results |= {
        "search": [make.moment(evil, text=evil, matched_by=(evil,))],
        "videos": [make.row(name=evil, video_id=None, status="failed", reason=evil)],
        "build": make.report(
            make.build_row(name=evil, warnings=(evil,)),
            make.build_row(name=evil, status="failed", reason=evil, saved=None),
            notes=(evil,),
            backends={"captioner": evil},
        ),
        "remove": make.row(name=evil),
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
    library: Any, make: SimpleNamespace, last_json: Callable[..., Any]
) -> None:
    library.results["videos"] = [make.row(name="caf\udce9.mp4")]
    _, value = last_json("list")
    assert value[0]["name"] == "caf\udce9.mp4"


def test_json_keeps_text_as_it_is_on_one_line_that_steers_no_terminal(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "café 狗 🐇 \udce9 \u2028\x85\x9b31m.mp4"
    library.results["videos"] = [make.row(name=name)]
    assert cli.run(["list", "--json"]) == 0
    out = capsys.readouterr().out
    assert "café 狗 🐇 \\udce9 \\u2028\\u0085\\u009b31m.mp4" in out
    assert len(out.splitlines()) == 1
    assert json.loads(out)[0]["name"] == name


def test_json_is_ascii_where_the_terminal_knows_fewer_characters(
    library: Any, make: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.results["videos"] = [make.row(name="café 狗.mp4")]
    written = io.BytesIO()
    latin = io.TextIOWrapper(written, encoding="latin-1")
    monkeypatch.setattr(sys, "stdout", latin)
    assert cli.run(["list", "--json"]) == 0
    latin.flush()
    assert json.loads(written.getvalue().decode("ascii"))[0]["name"] == "café 狗.mp4"
