"""Log lines of the command line and the server: one line each, whatever a file is called."""

from __future__ import annotations

import io
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fdvs.pipelines.log_lines import LineFormatter, shown_traceback

EVIL = "x\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b2J\u202egpj\u2028y\nWARNING forged\r\x00.mp4"
DRAWS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")


def logged(call: Callable[[logging.Logger], None]) -> list[str]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    call(logger)
    return stream.getvalue().splitlines()


def test_a_message_is_one_line_that_draws_nothing() -> None:
    (line,) = logged(lambda logger: logger.warning("%s is left out: %s", EVIL, EVIL))
    assert line.startswith("WARNING x")
    assert not DRAWS.search(line)
    assert "red" in line


def test_a_traceback_is_indented_and_draws_nothing() -> None:
    def fail(logger: logging.Logger) -> None:
        try:
            raise ValueError(EVIL)
        except ValueError:
            logger.exception("%s: bug", EVIL)

    first, *rest = logged(fail)
    assert first.startswith("ERROR x")
    assert len(rest) >= 4
    assert all(line.startswith("    ") for line in rest)
    assert not DRAWS.search("".join([first, *rest]))
    assert not DRAWS.search(shown_traceback(ValueError(EVIL)).replace("\n", ""))


def test_the_command_line_logs_lines(tmp_path: Path) -> None:
    settings = tmp_path / f"{EVIL[:-5].replace(chr(0), '')}.yaml"
    settings.write_text("visual: {threshold: 0.9}\n")  # retired, which is logged with the path
    (tmp_path / "a.mp4").write_bytes(b"\0" * 4096)
    code = "import sys; from fdvs.pipelines.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-P", "-c", code, "build", str(tmp_path), "--config", str(settings)]
    done = subprocess.run(
        [*command, "--library", str(tmp_path / "library")],
        capture_output=True, text=True, errors="replace", timeout=120, check=False,
    )  # fmt: skip
    assert "retired" in done.stderr
    for text in (done.stdout, done.stderr):
        assert not DRAWS.search(text.replace("\n", ""))
        assert not [line for line in text.splitlines() if line.startswith("WARNING forged")]


def test_the_server_logs_through_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uvicorn = pytest.importorskip("uvicorn")
    from fdvs.pipelines.cli import main as cli

    served: list[object] = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: served.append(self.config))
    assert cli.run(["serve", "--port", "0", "--library", str(tmp_path / "library")]) == 0
    (config,) = served
    assert config.log_config is None  # type: ignore[attr-defined]
    assert not logging.getLogger("uvicorn.error").handlers
