"""How a server answers while it works: beside an answer, beside a build, and right after its start.

    python research/bench_serve.py FILMS [--csv benchmarks/serve.csv] [--rounds 3] [--llm NAME]

FILMS is a folder of videos. A library of it is built in a temporary folder and served as a process.
Each round measures, in turns: 50 searches alone, then while a language model writes an answer, of
which only those count that ended before it did; pages and lists that 20 readers ask for, alone and
while a build runs; and the seconds from the start of a process to its first page and its first
result. The medians of the rounds are written; `worst` is the slowest of all.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import csv_rows
import httpx

PROGRAM = [sys.executable, "-c", "from fdvs.pipelines.cli.start import main; main()"]
NUM_SEARCHES, NUM_READERS, NUM_READS = 50, 20, 5
WORDS = ("water", "a person who explains", "the first step", "colour", "hot", "a picture", "number")
QUESTION = "What is explained here, and in which order?"
PATIENCE_S = 300.0
Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("films", type=Path)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--llm", default="smollm2-135m", help="writes the answers")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        settings = place / "settings.yaml"
        settings.write_text(
            f"models: {{llm: {options.llm}}}\nask: {{answerer: llm, min_fit: -1}}\n"
        )
        films = Path(shutil.copytree(options.films, place / "films"))
        _run("build", str(films), "-l", str(place / "library"))
        found = [measured(place / "library", settings, films) for _ in range(options.rounds)]
    rows = [_summary([one[what] for one in found], what) for what in found[0]]
    csv_rows.print_and_write(rows, options.csv)
    return 0


def measured(library: Path, settings: Path, films: Path) -> dict[str, list[float]]:
    """Return seconds by what was measured, of one round with a server of its own."""
    found: dict[str, list[float]] = {}
    began_s = time.monotonic()
    with served(library, settings) as client:
        until_answered(client, "/", began_s, found.setdefault("first page after start", []))
        first = found.setdefault("first search after start", [])
        until_answered(client, "/api/v1/search?q=water", began_s, first)
        client.post("/api/v1/ask", json={"question": QUESTION}).raise_for_status()  # loads it
        found["search alone"] = searches(client, lambda: False)
        answer = Background(lambda: client.post("/api/v1/ask", json={"question": QUESTION}))
        found["search beside an answer"] = searches(client, lambda: answer.is_over)
        found["the answer itself"] = [answer.seconds()]
        found["20 readers alone"] = readers(client)
        job = rebuild(client, films, len(found["20 readers alone"]))
        found["20 readers beside a build"] = readers(client, lambda: is_over(client, job))
    return found


@contextmanager
def served(library: Path, settings: Path) -> Iterator[httpx.Client]:
    """Serve a library; gives a client of it."""
    line = ["serve", "-l", str(library), "-c", str(settings), "--port", "0", "--json"]
    child = subprocess.Popen([*PROGRAM, *line], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        told = json.loads(child.stdout.readline())
        token = Path(told["token"]).read_text().strip()
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=told["address"], headers=headers, timeout=PATIENCE_S) as client:
            yield client
    finally:
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)


class Background:
    """A request that runs beside others."""

    def __init__(self, ask: Callable[[], httpx.Response]) -> None:
        self._ended_s = 0.0
        self._began_s = time.monotonic()
        self._thread = threading.Thread(target=self._run, args=(ask,))
        self._thread.start()

    def _run(self, ask: Callable[[], httpx.Response]) -> None:
        ask().raise_for_status()
        self._ended_s = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether it was answered."""
        return not self._thread.is_alive()

    def seconds(self) -> float:
        """Wait for the answer; return how long it took."""
        self._thread.join()
        return self._ended_s - self._began_s


def until_answered(client: httpx.Client, place: str, began_s: float, into: list[float]) -> None:
    """Add the seconds from the start of the process to an answer."""
    client.get(place).raise_for_status()
    into.append(time.monotonic() - began_s)


def searches(client: httpx.Client, is_over: Callable[[], bool]) -> list[float]:
    """Return the seconds of searches, one after the other, up to 50."""
    spent = []
    for number in range(NUM_SEARCHES):
        began_s = time.monotonic()
        query = f"{WORDS[number % len(WORDS)]} {number}"  # none is remembered
        client.get("/api/v1/search", params={"q": query}).raise_for_status()
        if is_over():
            break
        spent.append(time.monotonic() - began_s)
    return spent


def readers(client: httpx.Client, is_over: Callable[[], bool] = lambda: False) -> list[float]:
    """Return the seconds of what 20 readers ask for at once, each several times."""
    rows = client.get("/api/v1/videos").json()["items"]
    places = [
        "/",
        "/api/v1/videos",
        *(f"/v/{row['video_id']}" for row in rows if row["status"] == "ok"),
    ]
    spent: list[float] = []

    def read(number: int) -> None:
        for turn in range(NUM_READS):
            began_s = time.monotonic()
            client.get(places[(number + turn) % len(places)]).raise_for_status()
            spent.append(time.monotonic() - began_s)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(NUM_READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(spent) != NUM_READERS * NUM_READS or is_over():
        raise SystemExit("a reader failed, or the build ended before the readers did")
    return spent


def rebuild(client: httpx.Client, films: Path, turn: int) -> int:
    """Start a build of copies that the library does not know; return its number when it works."""
    for path in list(films.iterdir()):
        if path.suffix == ".mp4" and not path.stem.startswith("copy"):
            fresh = films / f"copy-{time.monotonic_ns()}-{path.name}"
            fresh.write_bytes(path.read_bytes() + turn.to_bytes(8, "big") + os.urandom(8))
    number = int(client.post("/api/v1/builds", json={"paths": [str(films)]}).json()["number"])
    while (client.get(f"/api/v1/builds/{number}").json()["event"] or {}).get("kind") != "clip":
        if is_over(client, number):
            raise SystemExit("the build ended before it was measured")
        time.sleep(0.05)
    return number


def is_over(client: httpx.Client, number: int) -> bool:
    """Whether a build is over."""
    status = client.get(f"/api/v1/builds/{number}").json()["status"]
    return status not in ("waiting", "running")


def _summary(rounds: Sequence[Sequence[float]], what: str) -> Row:
    every = [one for spent in rounds for one in spent]
    return {
        "what": what, "rounds": len(rounds), "num": len(every),
        "median_s": round(statistics.median(every), 4), "worst_s": round(max(every), 4),
    }  # fmt: skip


def _run(*line: str) -> None:
    subprocess.run([*PROGRAM, *line], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
