"""The planted faults: each has its place in the code and tests that can catch it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def test_every_fault_has_one_place_and_its_tests_are_there(
    load_script: Callable[[str], ModuleType],
) -> None:
    faults = load_script("research/seed_faults.py").FAULTS
    wrong = [
        fault.name
        for fault in faults
        if (ROOT / fault.file).read_text("utf-8").count(fault.old) != 1
        or not (ROOT / fault.tests).exists()
    ]
    assert wrong == []
