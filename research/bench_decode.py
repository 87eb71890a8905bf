"""Measure reading: frames of a build's pattern (8 per clip) as a multiple of real time.

    python research/bench_decode.py FILM --rounds 5

Every reader runs in a fresh process, in turns, so that the machine's load hits all alike; the
time holds opening and scanning, not the start of Python. Prints rows for benchmarks/results.csv
(`--csv` appends them); makes no claim.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from bench_rows import new_row, write_rows

PACKAGES = ("fdvs", "av", "imageio-ffmpeg", "torch")
CHILD = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from fdvs.media.clips import cut
from fdvs.config import CutConfig
from fdvs.media.resize import fit
from fdvs.media.sampling import sample_times
from fdvs.media.readers import open_reader

path, reader, side = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
fit(np.zeros((64, 64, 3), np.uint8), size=(32, 32))  # loads torch
start_s, start_cpu = time.perf_counter(), time.process_time()
with open_reader(path, reader=reader, timeout_s=600) as source:
    clips = cut(source.info, CutConfig(), video_id="v")
    times_s = [t for clip in clips for t in sample_times(clip, 8)]
    num_frames = sum(1 for _ in source.frames_at(times_s, short_side_px=side))
    film_s = source.info.duration_s
    size = f"{source.info.width_px}x{source.info.height_px} {source.info.codec}"
children = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "wall_s": time.perf_counter() - start_s,
    "cpu_s": time.process_time() - start_cpu + children.ru_utime + children.ru_stime,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "film_s": film_s, "size": size, "num_clips": len(clips), "num_frames": num_frames,
}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--short-side", type=int, default=224, metavar="PX")
    parser.add_argument("--readers", nargs="+", default=["pyav", "ffmpeg"])
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {reader: [] for reader in args.readers}
    for number in range(args.rounds):
        # Every other round backwards: no reader always comes first.
        for reader in args.readers[:: -1 if number % 2 else 1]:
            runs[reader].append(run(args.film, reader, args.short_side))
    rows = [row for reader in args.readers for row in rows_of(reader, runs[reader], args)]
    write_rows(rows, args.csv)


def run(film: Path, reader: str, short_side_px: int) -> dict[str, float]:
    command = [sys.executable, "-P", "-c", CHILD, str(film), reader, str(short_side_px)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{reader} failed: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def rows_of(
    reader: str, runs: list[dict[str, float]], args: argparse.Namespace
) -> list[dict[str, str]]:
    first = runs[0]
    film_s, num_frames = first["film_s"], first["num_frames"]
    shape = (
        f"{first['size']}; {film_s:.0f} s; {first['num_clips']} clips; "
        f"{num_frames} frames to {args.short_side} px"
    )
    figures = {
        ("speed", "x real time"): [film_s / r["wall_s"] for r in runs],
        ("speed", "frames/s"): [num_frames / r["wall_s"] for r in runs],
        ("cpu", "s"): [r["cpu_s"] for r in runs],
        ("peak memory", "MiB"): [r["peak_mib"] for r in runs],
    }
    return [
        new_row(
            op="decode 8 a clip",
            backend=reader,
            shape=shape,
            dtype="uint8",
            metric=metric,
            unit=unit,
            values=values,
            command=f"research/bench_decode.py {args.film.name} --rounds {len(runs)}",
            packages=PACKAGES,
        )
        for (metric, unit), values in figures.items()
    ]


if __name__ == "__main__":
    main()
