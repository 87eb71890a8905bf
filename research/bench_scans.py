"""Processor seconds of one query over many vectors: NumPy, SimSIMD, and FAISS where it is there.

    OPENBLAS_NUM_THREADS=1 python research/bench_scans.py [--rows 200000] [--csv FILE]

Random unit vectors of 384 numbers, one thread, in turns; the median of the rounds. FAISS is no
part of the package: `pip install faiss-cpu` for this measurement. 8-bit levels are near to the
numbers: what they find must be compared exactly afterwards, which the last row includes
(`fdvs.search.near`, for a cosine of 0.3 and more).
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import csv_rows
import numpy as np
import simsimd

from fdvs.search.near import Rows, levels_of

MIN_SCORE = 0.3  # of the default settings
NUM_DIMS, NUM_BEST, LEVELS = 384, 10, 127


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(options.rows, NUM_DIMS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    query = vectors[:1].copy()
    scans: dict[str, Callable[[], Any]] = {"NumPy, float32": lambda: vectors @ query[0]}
    levels = np.rint(vectors * (LEVELS / np.abs(vectors).max())).astype(np.int8)
    rows_of = Rows(vectors, levels_of(vectors))
    scans["SimSIMD, 8-bit levels"] = lambda: simsimd.cdist(levels, levels[:1], "dot")
    scans["8-bit levels, then float32"] = lambda: rows_of.above(query[0], MIN_SCORE)
    if importlib.util.find_spec("faiss") is not None:
        scans |= _of_faiss(vectors, query)
    spent: dict[str, list[float]] = {name: [] for name in scans}
    for _ in range(options.rounds):
        for name, scan in scans.items():
            began_s = process_time()
            scan()
            spent[name].append(process_time() - began_s)
    rows = [
        {"scan": name, "rows": options.rows, "dims": NUM_DIMS, "rounds": options.rounds,
         "cpu_ms": round(1000 * statistics.median(one), 2)}
        for name, one in spent.items()
    ]  # fmt: skip
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _of_faiss(vectors: np.ndarray, query: np.ndarray) -> dict[str, Callable[[], Any]]:
    faiss: Any = importlib.import_module("faiss")
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(NUM_DIMS)
    flat.add(vectors)
    kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
    levels = faiss.IndexScalarQuantizer(NUM_DIMS, kind, faiss.METRIC_INNER_PRODUCT)
    levels.add(np.rint(vectors * (LEVELS / np.abs(vectors).max())))
    return {
        "FAISS, float32": lambda: flat.search(query, NUM_BEST),
        "FAISS, 8-bit levels": lambda: levels.search(query, NUM_BEST),
    }


if __name__ == "__main__":
    sys.exit(main())
