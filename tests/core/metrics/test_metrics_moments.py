"""Overlap and R1@IoU against counting by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.moments import (
    iou_matrix,
    moment_score,
    top_iou,
)


def some_spans(rng: Any, number: int) -> list[tuple[float, float]]:
    starts, lengths = rng.integers(0, 40, size=number), rng.integers(1, 20, size=number)
    return [(float(s), float(s + d)) for s, d in zip(starts, lengths, strict=True)]


def test_overlap_is_that_of_counting_whole_seconds() -> None:
    rng = np.random.default_rng(0)
    found, right = some_spans(rng, 12), some_spans(rng, 9)
    for f, row in zip(found, iou_matrix(found, right), strict=True):
        for r, value in zip(right, row, strict=True):
            one, other = set(range(int(f[0]), int(f[1]))), set(range(int(r[0]), int(r[1])))
            assert value == pytest.approx(len(one & other) / len(one | other))


def test_spans_that_only_touch_do_not_overlap_and_empty_ones_overlap_nothing() -> None:
    assert iou_matrix([(0, 5)], [(5, 9)])[0, 0] == 0
    assert iou_matrix([(3, 3)], [(3, 3)])[0, 0] == 0
    assert iou_matrix([], [(0, 1)]).shape == (0, 1)


@pytest.mark.parametrize("span", [(2.0, 1.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_a_span_that_is_none_is_refused(span: tuple[float, float]) -> None:
    with pytest.raises(InvalidValue, match="start_s <= end_s"):
        iou_matrix([span], [(0, 1)])


def test_scores_over_queries_count_those_without_moments_as_wrong() -> None:
    ranked = {"a": [(0.0, 10.0)], "b": [(0.0, 4.0), (0.0, 10.0)]}
    right = {"a": [(0.0, 10.0)], "b": [(0.0, 10.0)], "c": [(5.0, 6.0)]}
    score = moment_score(ranked, right)
    assert score.recall_at_1 == {0.3: pytest.approx(2 / 3), 0.5: pytest.approx(1 / 3), 0.7: 1 / 3}
    assert score.mean_iou == pytest.approx((1 + 0.4 + 0) / 3)
    assert score.num_queries == 3


def test_the_first_moment_may_match_any_of_several_right_spans() -> None:
    assert top_iou([(20.0, 30.0), (0.0, 5.0)], [(0.0, 5.0), (20.0, 30.0)]) == 1.0
    assert top_iou([], [(0.0, 1.0)]) == 0.0
    assert top_iou([(0.0, 1.0)], []) == 0.0


def test_a_threshold_is_met_by_an_overlap_equal_to_it() -> None:
    score = moment_score({"a": [(0.0, 5.0)]}, {"a": [(0.0, 10.0)]})
    assert (score.recall_at_1[0.5], score.recall_at_1[0.7]) == (1.0, 0.0)


def test_queries_must_be_known_and_some() -> None:
    with pytest.raises(InvalidValue, match="at least 1"):
        moment_score({}, {})
    with pytest.raises(InvalidValue, match="'b'"):
        moment_score({"b": [(0.0, 1.0)]}, {"a": [(0.0, 1.0)]})
