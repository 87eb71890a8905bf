"""Exact match under three rules, and ActivityNet-QA's categories with the script's trap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.open_ended import (
    ACTIVITYNET_ORDER,
    RULES,
    MatchRule,
    activitynet_accuracy,
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


def as_the_official_script_means(
    said: list[str], answers: list[str], kinds: list[int]
) -> dict[str, float]:
    """Its definition with both counters by number: Motion, Spatial, Temporal, Free, All, ..."""
    right, total = dict.fromkeys(range(9), 0), dict.fromkeys(range(9), 0)
    for one, answer, kind in zip(said, answers, kinds, strict=True):
        right[kind] += one == answer
        total[kind] += 1
    share = [right[k] / total[k] for k in range(9)]
    free = sum(right[k] for k in range(3, 9)) / sum(total[k] for k in range(3, 9))
    everything = sum(right.values()) / sum(total.values())
    return dict(zip(ACTIVITYNET_ORDER, [*share[:3], free, everything, *share[3:]], strict=True))


def test_activitynet_categories_are_the_official_ones() -> None:
    rng = np.random.default_rng(1)
    kinds = rng.integers(9, size=400).tolist()
    said, answers = (rng.choice(["yes", "no", "two"], size=400).tolist() for _ in range(2))
    found = activitynet_accuracy(said, answers, [str(kind) for kind in kinds])
    expected = as_the_official_script_means(said, answers, kinds)
    assert list(found) == list(expected)
    assert {group: one.value for group, one in found.items()} == pytest.approx(expected)


def test_free_is_a_share_even_where_the_file_begins_with_another_kind() -> None:
    # Right answers by number over totals by first appearance give 2 / 1 here.
    found = activitynet_accuracy(["a", "a", "b"], ["a", "a", "a"], ["3", "8", "0"])
    assert (found["Free"].num_right, found["Free"].num_questions) == (2, 2)
    assert list(found) == ["Motion", "Free", "All", "Yes/No", "Other"]


@pytest.mark.needs_data
def test_the_published_files_begin_with_another_kind(data_dir: Path) -> None:
    """The reason for the rule above: what the script would divide by on the test split."""
    answers: Any = json.loads((data_dir / "activitynet_qa" / "test_a.json").read_text("utf-8"))
    totals: dict[int, int] = {}
    for record in answers:
        totals[record["type"]] = totals.get(record["type"], 0) + 1
    assert sum(list(totals.values())[3:]) == 4021
    assert sum(totals[kind] for kind in range(3, 9)) == 5600
    texts = [record["answer"] for record in answers]
    found = activitynet_accuracy(texts, texts, [str(record["type"]) for record in answers])
    assert {group: one.value for group, one in found.items()} == dict.fromkeys(ACTIVITYNET_ORDER, 1)
    assert (found["Free"].num_questions, found["All"].num_questions) == (5600, 8000)


def test_unread_answers_are_counted_by_category() -> None:
    found = activitynet_accuracy([None, "a"], ["a", "a"], ["7", "0"])
    assert found["Number"].num_unread == found["Free"].num_unread == found["All"].num_unread == 1
    assert found["Motion"].num_unread == 0


@pytest.mark.parametrize(
    ("kinds", "why"), [(["9"], "'9'; allowed"), (["0", "1"], "one a question")]
)
def test_kinds_are_checked(kinds: list[str], why: str) -> None:
    with pytest.raises(InvalidValue, match=why):
        activitynet_accuracy(["a"], ["a"], kinds)


def test_lists_of_other_lengths_are_refused() -> None:
    with pytest.raises(InvalidValue, match="one a question"):
        exact_match(["a"], [], rule="paper")
