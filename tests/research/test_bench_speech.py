"""The measurement of speech: the count of errors and the words that are missing, by hand."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/bench_speech.py")


@pytest.mark.parametrize(
    ("heard", "errors", "missing"),
    [
        ("the sun rises in the east", 0, []),
        ("the sun rises the east", 1, [3]),
        ("the son rises in the east", 1, []),
        ("the sun rises up in the east", 1, []),
        ("", 6, [0, 1, 2, 3, 4, 5]),
        ("sun in the", 3, [0, 2, 5]),
    ],
)
def test_errors_and_missing_words_are_counted(
    script: ModuleType, heard: str, errors: int, missing: list[int]
) -> None:
    truth = "the sun rises in the east".split()
    assert script.align(truth, heard.split()) == (errors, missing)


def test_a_border_is_near_on_both_sides(script: ModuleType) -> None:
    near = [script.near_border(at_s, 10.0) for at_s in (0.1, 9.5, 10.5, 11.0, 5.0, 29.3)]
    assert near == [True, True, True, False, False, True]
