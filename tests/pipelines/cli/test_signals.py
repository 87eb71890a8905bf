"""SIGINT and SIGTERM at random moments: exit code 130 or 143, soon, without a traceback."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config
from fdvs.pipelines.library import Library

# Says when the interpreter itself has started, which takes seconds on a busy machine.
START = """
from fdvs.pipelines.cli import signals
signals.end_at_once()
print("started", flush=True)
from fdvs.pipelines.cli.start import main
main()
"""
SOON_S = 30.0  # against hanging, on a busy machine

# what a command spends its time on: in Python, in a native library, in a thread beside a dead lock
BUSY = """
import sys, threading, time
from fdvs.pipelines.cli import main, signals, start
def work(argv):
    print("working", flush=True)
    {work}
main.run = work
signals.allow(1.0)
start.main()
"""
WORK = {
    "python": "while True: pass",
    "sleeping": "time.sleep(60)",
    "swallowing": "\n    while True:\n        try: time.sleep(60)\n"
    "        except BaseException: pass",
    "native": "import sqlite3; sqlite3.connect(':memory:').execute('WITH RECURSIVE n(i) AS "
    "(SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n').fetchall()",
    "joining": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
}


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Tests that a shell runs in the background hand on that interrupts are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def ended(
    argv: Sequence[str], number: signal.Signals, *, after_s: float, word: str = ""
) -> tuple[int, float, str]:
    """Send a signal to a program; return its exit code, the seconds that it took, and its words."""
    child = subprocess.Popen(
        [sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        if word:
            assert child.stdout is not None
            assert child.stdout.readline().strip() == word
        time.sleep(after_s)
        began = time.monotonic()
        child.send_signal(number)
        _, err = child.communicate(timeout=SOON_S)
        return child.returncode, time.monotonic() - began, err
    finally:
        child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("work", WORK)
def test_whatever_is_at_work_ends_with_the_code_of_the_signal(
    work: str, number: signal.Signals
) -> None:
    code, _, err = ended(["-c", BUSY.format(work=WORK[work])], number, after_s=0.1, word="working")
    assert code == 128 + number
    assert "Traceback" not in err


def test_the_second_signal_ends_at_once() -> None:
    program = BUSY.format(work=WORK["swallowing"]).replace("allow(1.0)", "allow(600.0)")
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    assert child.wait(SOON_S) == 130
    child.stdout.close()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make_film: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("signals")
    shots = [(colour, 2.0) for colour in ("red", "green", "blue", "white")] * 3
    make_film(folder / "film.mp4", shots)
    return folder


@pytest.fixture(scope="module")
def library(folders: Path) -> Path:
    from fdvs.models.scripted import (
        GridImageEmbedder,
        HashTextEmbedder,
        ScriptedDescriber,
    )

    own: dict[str, Any] = {
        "image_embedder": GridImageEmbedder(), "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(lambda view: ["A wall."]),
    }  # fmt: skip
    with Library.open(folders / "library", config=Config(), models=own) as opened:
        opened.build([folders / "film.mp4"])
    return folders / "library"


COMMANDS = {
    "search": ["search", "a wall", "-l", "{library}"],
    "ask": ["ask", "Which colour?", "-l", "{library}"],
    "build": ["build", "{film}", "-l", "{new}"],
    "serve": ["serve", "-l", "{library}", "--port", "0"],
    "mcp": ["mcp", "-l", "{library}"],
}


#: The codes of commands that may end before the signal: done, failed, or a model is missing.
OWN = {"search": (0, 1, 2), "ask": (0, 1, 2), "build": (0, 1, 2)}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_ends_with_the_code_of_the_signal(
    command: str, number: signal.Signals, folders: Path, library: Path, tmp_path: Path
) -> None:
    moments = random.Random(f"{command} {number}")
    places = {"library": library, "film": folders / "film.mp4", "new": tmp_path / "new"}
    argv = [one.format(**places) for one in COMMANDS[command]]
    for _ in range(3):
        after_s = moments.uniform(0.0, 2.0)
        code, _, err = ended(["-c", START, *argv], number, after_s=after_s, word="started")
        # Python takes its handlers down at its very end, when all work is done and told.
        after_work = (*OWN[command], -number) if command in OWN else ()
        assert code == 128 + number or code in after_work
        assert "Traceback" not in err
        assert "terminate called" not in err
