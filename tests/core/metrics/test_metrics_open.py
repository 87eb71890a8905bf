"""Exact match under three rules."""

from __future__ import annotations

import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.open_ended import (
    RULES,
    MatchRule,
    exact_match,
    is_match,
    matches,
)


@pytest.mark.parametrize(
    ("said", "answer", "softest"),
    [
        ("black", "black", "official"),
        ("Black", "black", "paper"),
        (" beach  soccer ", "beach soccer", "paper"),
        ("black.", "black", "lenient"),
        ("a dog", "dog", "lenient"),
        ("2", "two", "lenient"),
        ("Twelve", "12", "lenient"),
        ("beachsoccer", "beach soccer", None),
        ("dogs", "dog", None),
        ("no", "yes", None),
    ],
)
def test_each_rule_forgives_what_it_says(said: str, answer: str, softest: str | None) -> None:
    expected = [False] * 3 if softest is None else [r >= RULES.index(softest) for r in range(3)]  # type: ignore[arg-type]
    assert [is_match(said, answer, rule=rule) for rule in RULES] == expected


@pytest.mark.parametrize("rule", RULES)
def test_no_answer_is_wrong_and_counted(rule: MatchRule) -> None:
    found = exact_match(["yes", None, ""], ["yes", "yes", "no"], rule=rule)
    assert (found.num_right, found.num_questions, found.num_unread) == (1, 3, 1)
    assert matches(["yes", None, ""], ["yes", "yes", "no"], rule=rule).tolist() == [1, 0, 0]


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidValue, match="one a question"):
        exact_match(["a"], [], rule="paper")
