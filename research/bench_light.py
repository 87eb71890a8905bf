"""Processor seconds and memory of commands on a library, with ONNX Runtime and with PyTorch.

    python research/bench_light.py LIBRARY [--csv benchmarks/light.csv] [--rounds 5]

Both run in the same environment, one after the other in turns, each as a process of its own, with
one thread: `models.device: auto` and `torch`. The median of the rounds is written.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import csv_rows

COMMANDS = {
    "search": ("search", "how hot should the water be"),
    "ask": ("ask", "How hot should the water be?"),
    "list": ("list",),
}
DEVICES = {"ONNX Runtime": "auto", "PyTorch": "torch"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for name, command in COMMANDS.items():
                for runtime, device in DEVICES.items():
                    settings = Path(folder) / f"{device}.yaml"
                    settings.write_text(f"models: {{device: {device}}}\n")
                    line = [*command, "-l", str(options.library), "-c", str(settings)]
                    found.setdefault((name, runtime), []).append(_spent(line))
    rows = [
        {
            "command": f"fdvs {name}", "runtime": runtime, "rounds": options.rounds,
            "cpu_s": round(statistics.median(cpu_s for cpu_s, _ in spent), 3),
            "peak_mib": round(statistics.median(mib for _, mib in spent)),
        }
        for (name, runtime), spent in found.items()
    ]  # fmt: skip
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _spent(line: list[str]) -> tuple[float, float]:
    """Return processor seconds and peak MiB of a command, counted by a process of its own."""
    code = (
        "import resource, subprocess, sys;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode;"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, done)"
    )
    fdvs = str(Path(sys.executable).with_name("fdvs"))
    program = [sys.executable, "-c", code, fdvs, *line]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    cpu_s, mib, code_of = told.stdout.split()
    if code_of != "0":
        raise SystemExit(f"{' '.join(line)} ended with {code_of}: {told.stderr[-500:]}")
    return float(cpu_s), float(mib)


if __name__ == "__main__":
    sys.exit(main())
