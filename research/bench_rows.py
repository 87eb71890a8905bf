"""Rows of benchmarks/results.csv: a number with its circumstances; for the bench scripts."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import csv_rows

COLUMNS = [
    *("op", "backend", "shape", "dtype", "metric", "unit", "p20", "p50", "p80"),
    *("device", "versions", "command", "date"),
]


def new_row(
    *,
    op: str,
    backend: str,
    shape: str,
    metric: str,
    unit: str,
    values: Sequence[float],
    command: str,
    packages: Sequence[str],
    dtype: str = "float32",
) -> dict[str, str]:
    """Return a row; p20 and p80 stay empty where there is one value only."""
    ordered = sorted(values)
    several = len(ordered) > 1
    return {
        "op": op,
        "backend": backend,
        "shape": shape,
        "dtype": dtype,
        "metric": metric,
        "unit": unit,
        "p20": f"{_quantile(ordered, 0.2):.4g}" if several else "",
        "p50": f"{_quantile(ordered, 0.5):.4g}",
        "p80": f"{_quantile(ordered, 0.8):.4g}" if several else "",
        "device": f"{cpu_name()}, {os.cpu_count()} cores",
        "versions": " ".join([*(f"{p} {version(p)}" for p in packages), _python()]),
        "command": command,
        "date": datetime.date.today().isoformat(),
    }


def now() -> float:
    """Return seconds to measure with: of this thread's work where torch has one, else the wall's.

    On a busy machine the wall counts the others' work too.
    """
    import torch

    return time.thread_time() if torch.get_num_threads() == 1 else time.perf_counter()


def _python() -> str:
    return f"python {platform.python_version()}"


def _quantile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "CPU")


def write_rows(rows: list[dict[str, str]], target: Path | None) -> None:
    """Print the rows as CSV; append them to `target` too, with a head where it is new."""
    out = csv.DictWriter(sys.stdout, COLUMNS, restval="")
    out.writeheader()
    out.writerows(rows)
    append_rows(rows, target)


def append_rows(rows: list[dict[str, str]], target: Path | None) -> None:
    """Append rows to a file, under a header where it is new."""
    if target is not None:
        csv_rows.append(rows, target, COLUMNS)
