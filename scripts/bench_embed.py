"""Measure the offline picture embedder: with large blocks kept by the C library, and without.

    python scripts/bench_embed.py --rounds 5

Each round runs both in fresh processes, in turns. Rows for benchmarks/results.csv.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from bench_rows import new_row, write_rows

PACKAGES = ("fdvs", "torch", "timm")
CHILD = """
import sys, time
import numpy as np
import fdvs.models.embed.efficientnet as imagenet
if sys.argv[1] == "default":
    imagenet.reuse_memory = lambda: False
from fdvs.config import Config
from fdvs.pipelines.model_set import ModelSet
embedder = ModelSet(Config()).image_embedder
images = list(np.random.default_rng(0).integers(0, 255, (96, 224, 398, 3), dtype=np.uint8))
embedder.embed_images(images[:16])
started = time.perf_counter()
embedder.embed_images(images)
print(len(images) / (time.perf_counter() - started))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    speeds: dict[str, list[float]] = {"kept": [], "default": []}
    for number in range(args.rounds):
        for blocks in list(speeds)[:: -1 if number % 2 else 1]:
            speeds[blocks].append(run(blocks))
    rows = [
        new_row(
            op="embed",
            backend=f"efficientnet-lite0, large blocks {blocks}",
            shape="96 pictures of 398x224, batch 8",
            metric="speed",
            unit="pictures/s",
            values=values,
            command=f"scripts/bench_embed.py --rounds {args.rounds}",
            packages=PACKAGES,
        )
        for blocks, values in speeds.items()
    ]
    write_rows(rows, args.csv)


def run(blocks: str) -> float:
    command = [sys.executable, "-P", "-c", CHILD, blocks]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


if __name__ == "__main__":
    main()
