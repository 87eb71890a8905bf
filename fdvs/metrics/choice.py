"""Accuracy of multiple choice: per kind of question, with what could not be read counted.

A question without a readable answer counts as wrong and is never left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Right answers among all questions; `num_unread` of them gave no answer that can be read."""

    num_right: int
    num_questions: int
    num_unread: int = 0

    @property
    def value(self) -> float:
        """Fraction right of all questions, 0 where none was asked."""
        return self.num_right / self.num_questions if self.num_questions else 0.0


def is_right(chosen: Sequence[int | None], answers: Sequence[int]) -> NDArray[np.float64]:
    """Return 1.0 for each question answered right, 0.0 for wrong and for None. Shape [N]."""
    if len(chosen) != len(answers):
        raise InvalidValue(
            "number of answers given", len(chosen), f"{len(answers)}, one a question"
        )
    pairs = zip(chosen, answers, strict=True)
    return np.array([float(one is not None and one == right) for one, right in pairs])


def accuracy(chosen: Sequence[int | None], answers: Sequence[int]) -> Accuracy:
    """Count; None is an answer that could not be read. Raises InvalidValue for unequal lengths."""
    return Accuracy(
        num_right=int(is_right(chosen, answers).sum()),
        num_questions=len(answers),
        num_unread=sum(one is None for one in chosen),
    )


def accuracy_by(
    chosen: Sequence[int | None],
    answers: Sequence[int],
    kinds: Sequence[str],
    *,
    groups: Callable[[str], Sequence[str]] = lambda kind: (kind,),
) -> dict[str, Accuracy]:
    """Return the accuracy of each group; `groups` names those that a kind counts in.

    Groups in the order in which they first appear; those without a question are left out.
    """
    if len(kinds) != len(answers):
        raise InvalidValue("number of kinds", len(kinds), f"{len(answers)}, one a question")
    members: dict[str, list[int]] = {}
    for i, kind in enumerate(kinds):
        for group in groups(kind):
            members.setdefault(group, []).append(i)
    return {
        group: accuracy([chosen[i] for i in places], [answers[i] for i in places])
        for group, places in members.items()
    }
