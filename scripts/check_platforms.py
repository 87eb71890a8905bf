"""Check that every package of the default install has a wheel for Linux, macOS and Windows.

    python scripts/check_platforms.py [--python 3.11 3.13] [--extra speech serve]

Resolves pyproject.toml within scripts/constraints.txt for each system, as `scripts/install` would
there, and downloads nothing. Needs the program uv (`pip install uv`) and a package index. Says
nothing about whether the package works on a system: it was run on Linux only.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("speech", "serve")  # as scripts/install
MACOS = "14.0"  # PyAV's wheels need it
SYSTEMS = {
    "Linux x86-64": "x86_64-unknown-linux-gnu",
    "macOS 14 Arm": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each system and Python; return 1 where a wheel is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--python", nargs="+", default=["3.11", "3.13"], metavar="VERSION")
    parser.add_argument("--extra", nargs="*", default=list(EXTRAS), metavar="NAME")
    options = parser.parse_args(arguments)
    uv = shutil.which("uv")
    if uv is None:
        print("check_platforms: the program uv is missing: pip install uv", file=sys.stderr)
        return 2
    num_failed = 0
    for system, triple in SYSTEMS.items():
        for python in options.python:
            packages, error = resolve(uv, triple, python, options.extra)
            num_failed += bool(error)
            found = f"{len(packages)} packages, all with wheels"
            print(f"{system:15} Python {python:5} {error or found}")
    return 1 if num_failed else 0


def resolve(uv: str, triple: str, python: str, extras: Sequence[str]) -> tuple[list[str], str]:
    """Return the pinned packages of a system, or why there is no set of wheels for it."""
    command = [
        uv, "pip", "compile", "--quiet", "--only-binary", ":all:", "--no-header", "--no-annotate",
        "--python-platform", triple, "--python-version", python,
        "--constraint", "scripts/constraints.txt", "pyproject.toml",
    ]  # fmt: skip
    for extra in extras:
        command += ["--extra", extra]
    environment = {**os.environ, "MACOSX_DEPLOYMENT_TARGET": MACOS}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        return [], " ".join(done.stderr.split())[:500] or f"uv ended with {done.returncode}"
    return [line for line in done.stdout.splitlines() if "==" in line], ""


if __name__ == "__main__":
    sys.exit(main())
