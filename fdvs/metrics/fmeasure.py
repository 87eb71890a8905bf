"""Precision, recall and F1 of cut points: times that are matched within a tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.errors import InvalidValue


@dataclass(frozen=True, slots=True, kw_only=True)
class FMeasure:
    """Counts of what was found and what is right; ratios of nothing are 0, as in scikit-learn."""

    num_matched: int
    num_found: int
    num_right: int

    @property
    def precision(self) -> float:
        return self.num_matched / self.num_found if self.num_found else 0.0

    @property
    def recall(self) -> float:
        return self.num_matched / self.num_right if self.num_right else 0.0

    @property
    def f1(self) -> float:
        total = self.num_found + self.num_right
        return 2 * self.num_matched / total if total else 0.0

    def __add__(self, other: FMeasure) -> FMeasure:
        """Pool two videos: counts add, so that a long video weighs as much as it holds."""
        return FMeasure(
            num_matched=self.num_matched + other.num_matched,
            num_found=self.num_found + other.num_found,
            num_right=self.num_right + other.num_right,
        )


NOTHING = FMeasure(num_matched=0, num_found=0, num_right=0)


def cut_points(
    found_s: Sequence[float], right_s: Sequence[float], *, tolerance_s: float
) -> FMeasure:
    """Match cut points one to one within `tolerance_s` (included), as many as can be.

    Two points found near one cut count once. Going through both lists in time order and taking
    the earliest that fits is optimal, because every point allows the same width.
    """
    if not tolerance_s >= 0:
        raise InvalidValue("tolerance_s", tolerance_s, "0 or more")
    found, right = sorted(found_s), sorted(right_s)
    if not np.isfinite([*found, *right]).all():
        raise InvalidValue("a cut point", "not finite", "seconds")
    i = j = num_matched = 0
    while i < len(found) and j < len(right):
        if abs(found[i] - right[j]) <= tolerance_s:
            num_matched, i, j = num_matched + 1, i + 1, j + 1
        elif found[i] < right[j]:
            i += 1
        else:
            j += 1
    return FMeasure(num_matched=num_matched, num_found=len(found), num_right=len(right))
