"""Files stay small enough to be read in one go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (
    *("fdvs", "models", "kernels", "datasets", "pipelines"),
    *("scripts", "research", "tests"),
)
SUFFIXES = {".py", ".cpp", ".cu", ".h", ""}
MAX_LINES = 500
MAX_BYTES = 500_000


def source_files() -> list[Path]:
    """Return the project's own code: linked folders once, no caches."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [
        path
        for path in (ROOT / "setup.py", *found)
        if path.suffix in SUFFIXES and "__pycache__" not in path.parts and path.resolve() == path
    ]


def num_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def test_no_file_of_code_is_longer_than_500_lines() -> None:
    files = source_files()
    assert {path.relative_to(ROOT).parts[0] for path in files} == {*FOLDERS, "setup.py"}
    assert {path: n for path in files if (n := num_lines(path)) > MAX_LINES} == {}


def test_nothing_big_is_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is committed here")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout.decode()
    paths = [ROOT / name for name in listed.split("\0") if name]
    sizes = {path: path.stat().st_size for path in paths if path.is_file()}
    assert {name: size for name, size in sizes.items() if size > MAX_BYTES} == {}
