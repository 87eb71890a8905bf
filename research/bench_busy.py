"""How busy a build keeps a captioner that sleeps, as one on a GPU would: alone and with sources.

    python research/bench_busy.py FILM... [--before CHECKOUT] [--seconds 1.0] [--rounds 1]
        [--csv benchmarks/build.csv]

Each build is a process of its own, with preset `offline` but for the captioner, which sleeps
SECONDS a clip. Busy is the share of the time from its first call to the end of its last one. With
--before, the code of another checkout builds the same films in turns with this one, and both
libraries must hold the same rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import csv_rows

HERE = Path(__file__).resolve().parents[1]
SOURCES = {
    "alone": (),
    "with speech": ("speech-tiny-en",),
    "with speech and text on screen": ("speech-tiny-en", "ocr"),
}
COLUMNS = (
    *("build", "code", "films", "clips", "sleep_s", "rounds"),
    *("busy_pct", "first_call_s", "captioning_s", "wall_s", "cpu_s", "equal"),
)
CHILD = """
import hashlib, json, resource, sys, time
from dataclasses import replace
from fdvs import Library
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.presets import offline
from fdvs.store.store import Store

library, seconds, sources, *films = sys.argv[1:]
calls = []

def look(view):
    return [f"A picture of clip {view.clip.index}."]

class Sleeping(ScriptedDescriber):
    def describe(self, clips):
        start_s = time.monotonic()
        time.sleep(float(seconds) * len(clips))
        found = super().describe(clips)
        calls.append((start_s, time.monotonic()))
        return found

config = offline()
config = replace(config, perceive=replace(config.perceive, sources=tuple(json.loads(sources))))
began_s = time.monotonic()
with Library.open(library, config=config, models={"captioner": Sleeping(look, batch_size=4)}) as it:
    report = it.build(films)
assert report.exit_code == 0, report
wall_s = time.monotonic() - began_s
used = resource.getrusage(resource.RUSAGE_SELF)
with Store.open(library) as store, store.reading() as connection:
    rows = connection.execute(
        "SELECT video_id, stage, item, fingerprint, payload, vectors FROM artifacts"
        " WHERE stage NOT IN ('cost', 'saved', 'done')").fetchall()
words = sorted(repr(tuple(row)) for row in rows)
print(json.dumps({
    "busy_s": sum(end - start for start, end in calls),
    "span_s": calls[-1][1] - calls[0][0], "first_s": calls[0][0] - began_s,
    "wall_s": wall_s, "cpu_s": used.ru_utime + used.ru_stime,
    "clips": report.saved.num_clips, "rows": hashlib.sha256("".join(words).encode()).hexdigest(),
}))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and append them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    codes = {"before": options.before.resolve()} if options.before else {}
    codes["now"] = HERE
    rows: list[dict[str, Any]] = []
    for name, sources in SOURCES.items():
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(options.rounds):
            for code, checkout in codes.items():
                found.setdefault(code, []).append(_built(checkout, sources, options))
        digests = {one["rows"] for runs in found.values() for one in runs}
        rows += [_row(name, code, runs, len(digests) == 1, options) for code, runs in found.items()]
        csv_rows.print_and_write(rows[-len(codes) :], None)
    if options.csv is not None:
        csv_rows.append(rows, options.csv, COLUMNS)
    return 0 if all(row["equal"] == "yes" for row in rows) else 1


def _built(checkout: Path, sources: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        line = [sys.executable, "-c", CHILD, str(Path(folder) / "library"), str(options.seconds)]
        line += [json.dumps(sources), *(str(film.resolve()) for film in options.films)]
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
        told = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)
    if told.returncode:
        raise SystemExit(
            f"a build with {list(sources)} of {checkout} failed: {told.stderr[-1500:]}"
        )
    found: dict[str, Any] = json.loads(told.stdout.splitlines()[-1])
    return found


def _row(
    name: str, code: str, runs: list[dict[str, Any]], is_equal: bool, options: argparse.Namespace
) -> dict[str, Any]:
    def median(values: Sequence[float], digits: int) -> float:
        return round(statistics.median(values), digits)

    return {
        "build": name,
        "code": code,
        "films": len(options.films),
        "clips": runs[0]["clips"],
        "sleep_s": options.seconds,
        "rounds": len(runs),
        "busy_pct": median([100 * run["busy_s"] / run["span_s"] for run in runs], 1),
        "first_call_s": median([run["first_s"] for run in runs], 1),
        "captioning_s": median([run["span_s"] for run in runs], 1),
        "wall_s": median([run["wall_s"] for run in runs], 1),
        "cpu_s": median([run["cpu_s"] for run in runs], 1),
        "equal": "yes" if is_equal else "no",
    }


if __name__ == "__main__":
    sys.exit(main())
