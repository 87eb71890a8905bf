"""What an installation takes on disk, by package.

    python -m venv ENV && ENV/bin/pip install -c scripts/constraints.txt ".[speech,serve]"
    ENV/bin/python research/bench_install.py [--csv benchmarks/install.csv]

Counts the files that each package's own list names, compiled ones included, in the environment that
runs this. `for` is the dependency of FDVS, or its extra, that brings the package. Model files are
not part of it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions, requires
from pathlib import Path

import csv_rows

MIB = 2**20
LEAST_MIB = 1.0  # smaller packages share a row
_NAME = re.compile(r"^[A-Za-z0-9._-]+")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
TOOLS = {"pip", "setuptools", "wheel"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    found = {_plain(one.metadata["Name"]): one for one in distributions()}
    brought = brought_by(found)
    rows: list[dict[str, object]] = []
    small, num_small, total = 0.0, 0, 0.0
    for name, distribution in found.items():
        size = size_of(distribution) / MIB
        total += 0 if name in TOOLS else size
        if name in TOOLS:
            continue
        if size < LEAST_MIB:
            small, num_small = small + size, num_small + 1
            continue
        rows.append({"package": name, "version": distribution.version, "for": brought.get(name, ""),
                     "mib": round(size, 1)})  # fmt: skip
    rows.sort(key=lambda row: (-float(str(row["mib"])), str(row["package"])))
    rows.append({"package": f"{num_small} smaller ones", "mib": round(small, 1)})
    rows.append({"package": "all", "mib": round(total, 1)})
    csv_rows.print_and_write(rows, options.csv)
    return 0


def size_of(distribution: Distribution) -> int:
    """Return the bytes of a package's files; those that are gone count nothing."""
    places = (Path(str(file.locate())) for file in distribution.files or ())
    return sum(place.stat().st_size for place in places if place.is_file())


def brought_by(found: dict[str, Distribution]) -> dict[str, str]:
    """Return for each package the requirements of FDVS that lead to it, those of extras in
    brackets."""
    roots: dict[str, set[str]] = {name: set() for name in found}
    for line in requires("fdvs") or ():
        extra = _EXTRA.search(line)
        root = _required(line)
        if root == "fdvs":  # an extra that is made of others
            continue
        label = f"{root} [{extra[1]}]" if extra else root
        for name in _reached(root, found):
            roots[name].add(label)
    shown = {}
    for name, labels in roots.items():
        plain = {label for label in labels if "[" not in label}
        shown[name] = ", ".join(sorted(plain or labels))
    return shown


def _reached(root: str, found: dict[str, Distribution]) -> set[str]:
    reached: set[str] = set()
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name in reached or name not in found:
            continue
        reached.add(name)
        waiting += list(_needed(found[name]))
    return reached


def _needed(distribution: Distribution) -> Iterator[str]:
    for line in distribution.requires or ():
        if not _EXTRA.search(line):
            yield _required(line)


def _required(line: str) -> str:
    match = _NAME.match(line)
    assert match is not None, line
    return _plain(match[0])


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
