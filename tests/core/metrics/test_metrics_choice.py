"""Accuracy of multiple choice: by group, and with unread answers counted."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.choice import (
    accuracy,
    accuracy_by,
    is_right,
)


def test_an_unread_answer_is_wrong_and_counted() -> None:
    found = accuracy([0, None, 2, 1], [0, 1, 2, 3])
    assert (found.num_right, found.num_questions, found.num_unread) == (2, 4, 1)
    assert found.value == 0.5
    assert is_right([0, None, 2, 1], [0, 1, 2, 3]).tolist() == [1, 0, 1, 0]


@pytest.mark.slow  # importing scikit-learn takes seconds
def test_accuracy_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score

    rng = np.random.default_rng(3)
    chosen, answers = rng.integers(5, size=200).tolist(), rng.integers(5, size=200).tolist()
    assert accuracy(chosen, answers).value == pytest.approx(accuracy_score(answers, chosen))


def test_no_question_scores_nothing() -> None:
    assert accuracy([], []).value == 0.0


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
