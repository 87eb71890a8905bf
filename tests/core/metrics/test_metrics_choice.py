"""Accuracy of multiple choice: the official groups, and what is unread."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.choice import (
    NEXTQA_GROUPS,
    accuracy,
    accuracy_by,
    is_right,
    nextqa_accuracy,
)


def test_an_unread_answer_is_wrong_and_counted() -> None:
    found = accuracy([0, None, 2, 1], [0, 1, 2, 3])
    assert (found.num_right, found.num_questions, found.num_unread) == (2, 4, 1)
    assert found.value == 0.5
    assert is_right([0, None, 2, 1], [0, 1, 2, 3]).tolist() == [1, 0, 1, 0]


def test_accuracy_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score

    rng = np.random.default_rng(3)
    chosen, answers = rng.integers(5, size=200).tolist(), rng.integers(5, size=200).tolist()
    assert accuracy(chosen, answers).value == pytest.approx(accuracy_score(answers, chosen))


def test_no_question_scores_nothing() -> None:
    assert accuracy([], []).value == 0.0


def test_nextqa_groups_count_previous_as_next_and_pool_as_the_official_script_does() -> None:
    kinds = ["CW", "CW", "CH", "TN", "TP", "TC", "DC", "DL", "DO"]
    chosen = [0, 1, 0, 0, 1, 0, 0, 1, None]
    found = nextqa_accuracy(chosen, [0] * 9, kinds)
    assert list(found) == list(NEXTQA_GROUPS)
    values = {group: (one.num_right, one.num_questions) for group, one in found.items()}
    assert values == {
        "Why": (1, 2),
        "How": (1, 1),
        "Bef&Aft": (1, 2),
        "When": (1, 1),
        "Cnt": (1, 1),
        "Loc": (0, 1),
        "Other": (0, 1),
        "Acc_C": (2, 3),
        "Acc_T": (2, 3),
        "Acc_D": (1, 3),
    }
    assert found["Other"].num_unread == 1


def test_nextqa_groups_without_questions_are_left_out() -> None:
    assert list(nextqa_accuracy([1], [1], ["TP"])) == ["Bef&Aft", "Acc_T"]


def test_an_unknown_kind_of_nextqa_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="'XX'; allowed: CH, CW"):
        nextqa_accuracy([1], [1], ["XX"])


def test_groups_are_the_kinds_themselves_if_nothing_else_is_said() -> None:
    found = accuracy_by([0, 1, 0], [0, 0, 0], ["b", "a", "b"])
    assert {kind: one.value for kind, one in found.items()} == {"b": 1.0, "a": 0.0}


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy([1], [1, 2]),
        lambda: accuracy_by([1, 2], [1, 2], ["a"]),
    ],
)
def test_lists_of_other_lengths_are_refused(call: object) -> None:
    with pytest.raises(InvalidValue, match="one a question"):
        call()  # type: ignore[operator]
