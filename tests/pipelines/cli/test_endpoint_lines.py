"""The lines of docs/endpoints.md, typed as they stand there, against imitated servers."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from fdvs.pipelines.cli import main as cli

from ...dialect_server import DialectServer

PAGE = Path(__file__).resolve().parents[3] / "docs" / "endpoints.md"


def lines() -> list[str]:
    """Return the `fdvs` lines of the page that look or build, without their comments."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    found = [line for block in blocks for line in block.splitlines()]
    return list(dict.fromkeys(
        " ".join(shlex.split(line, comments=True))
        for line in found if re.match(r"fdvs (?:doctor|build)\b", line)
    ))  # fmt: skip


def test_the_page_builds_with_all_three_servers() -> None:
    specs = [line.rpartition(" ")[2].partition(":")[0] for line in lines() if "build" in line]
    assert sorted(set(specs)) == ["lmstudio", "ollama", "vllm"]


@pytest.mark.parametrize("line", lines())
def test_a_line_of_the_page_does_what_it_says(
    line: str, tmp_path: Path, make_film: Callable[..., Path], dialect_server: DialectServer,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    films = tmp_path / "films"
    films.mkdir()
    make_film(films / "film.mp4", [("red", 2), ("blue", 2)])
    monkeypatch.setenv("FDVS_LIBRARY", str(tmp_path / "library"))
    words = [str(films) if word == "FOLDER" else word for word in line.split()[1:]]
    assert cli.run(words) == 0
    out = capsys.readouterr().out
    if words[0] == "build":
        assert dialect_server.bodies[-1]["model"] == words[-1].partition(":")[2]
        assert cli.run(["story", "film.mp4"]) == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "I see red" in shown
        assert "I see blue" in shown
    elif "--try" in words:
        assert "I see red." in out
        assert f"fdvs build FOLDER --captioner {words[-1]}" in out
    else:
        assert "fdvs build FOLDER --captioner ollama:qwen3-vl:4b" in out
