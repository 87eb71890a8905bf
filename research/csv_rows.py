"""Rows of measurements as CSV: printed, written to a file, or appended to one."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

Row = Mapping[str, Any]


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Return the columns of all rows, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def print_and_write(rows: Sequence[Row], target: Path | None) -> None:
    """Print the rows, and write them to `target` as well where it is given."""
    _write(rows, sys.stdout)
    if target is not None:
        with target.open("w", newline="", encoding="utf-8") as file:
            _write(rows, file)


def append(rows: Iterable[Row], target: Path, columns: Sequence[str]) -> None:
    """Append rows to a file, under a header where the file is new; other columns are left out."""
    is_new = not target.exists()
    with target.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def read(source: Path | None) -> list[dict[str, str]]:
    """Return the rows of a file; none where there is no file."""
    if source is None or not source.exists():
        return []
    with source.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _write(rows: Sequence[Row], file: TextIO) -> None:
    writer = csv.DictWriter(file, columns_of(rows), lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
