"""Plain `pytest` runs every folder of tests but that of `research/`."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_plain_pytest_leaves_out_the_tests_of_research_and_nothing_else() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    folders = {f"tests/{path.parent.relative_to(ROOT / 'tests').parts[0]}"
               for path in (ROOT / "tests").rglob("test_*.py")}  # fmt: skip
    assert set(settings["tool"]["pytest"]["ini_options"]["testpaths"]) == folders - {
        "tests/research"
    }
    assert "tests/research" in folders
