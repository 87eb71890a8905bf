"""Files stay small enough to be read in one go."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("fdvs", "models", "kernels", "datasets", "pipelines", "scripts", "tests")
SUFFIXES = {".py", ".cpp", ".cu", ".h", ""}
MAX_LINES = 500


def source_files() -> list[Path]:
    """Return the project's own code: symlinked folders once, no caches."""
    found = [ROOT / "setup.py"]
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            inside = path.relative_to(ROOT)
            is_linked = any((ROOT / parent).is_symlink() for parent in inside.parents)
            if path.is_file() and not is_linked and "__pycache__" not in inside.parts:
                found.append(path)
    return [path for path in found if path.suffix in SUFFIXES]


@pytest.mark.parametrize("path", source_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_longer_than_500_lines(path: Path) -> None:
    with path.open("rb") as file:
        assert sum(1 for _ in file) <= MAX_LINES


def test_every_folder_of_code_is_looked_at() -> None:
    seen = {path.relative_to(ROOT).parts[0] for path in source_files()}
    assert set(FOLDERS) <= seen


def test_nothing_big_is_committed() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: nothing is committed here")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    ).stdout
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    too_big = [
        path.relative_to(ROOT)
        for path in paths
        if path.is_file() and not path.is_symlink() and path.stat().st_size > 500_000
    ]
    assert not too_big
