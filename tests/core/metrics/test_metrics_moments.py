"""Overlap, R1@IoU and average precision against counting by hand and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.moments import (
    MAP_THRESHOLDS,
    Spans,
    average_precision,
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


def detection_ap_by_hand(ranked: Spans, right: Spans, threshold: float) -> float:
    """Note precision at each rank; at each recall take the best precision from there on."""
    taken: set[int] = set()
    curve: list[tuple[float, float]] = []
    for rank, moment in enumerate(ranked, 1):
        ious = iou_matrix([moment], right)[0].tolist()
        order = sorted(range(len(right)), key=lambda j: -ious[j])
        hit = next((j for j in order if j not in taken and ious[j] >= threshold), None)
        if hit is not None:
            taken.add(hit)
        curve.append((len(taken) / len(right), len(taken) / rank))
    area = 0.0
    for step in range(1, len(right) + 1):
        reached = [p for recall, p in curve if recall >= step / len(right) - 1e-12]
        area += max(reached, default=0.0) / len(right)
    return area


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5])
def test_average_precision_is_the_area_counted_by_hand(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    ranked, right = some_spans(rng, 10), some_spans(rng, 4)
    found = average_precision(ranked, right, threshold=threshold)
    assert found == pytest.approx(detection_ap_by_hand(ranked, right, threshold))


@pytest.mark.parametrize("seed", range(5))
def test_where_every_moment_is_right_or_far_it_is_at_least_scikit_learns(seed: int) -> None:
    """Without the monotone envelope the two are equal; with it ours is never less."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(seed)
    right = [(float(10 * i), float(10 * i + 5)) for i in range(4)]
    wrong = [(float(10 * i), float(10 * i + 5)) for i in range(50, 56)]
    places = rng.permutation(10)
    ranked = [(right + wrong)[i] for i in places]
    truth = (places < 4).astype(int)
    expected = average_precision_score(truth, -np.arange(10))
    precision = np.cumsum(truth) / np.arange(1, 11)
    found = average_precision(ranked, right, threshold=0.9)
    assert found >= expected - 1e-12
    if (np.diff(precision[truth == 1]) <= 0).all():
        assert found == pytest.approx(expected)


def test_right_moments_first_score_one_and_a_second_hit_on_the_same_span_is_wrong() -> None:
    right = [(0.0, 10.0), (20.0, 30.0)]
    assert average_precision(right, right, threshold=0.95) == 1.0
    twice = [(0.0, 10.0), (0.0, 10.0), (20.0, 30.0)]
    assert average_precision(twice, right, threshold=0.5) == pytest.approx((1 + 2 / 3) / 2)


def test_a_moment_takes_another_right_span_if_its_best_is_taken() -> None:
    right = [(0.0, 10.0), (2.0, 12.0)]
    assert average_precision([(0.0, 10.0), (0.0, 10.0)], right, threshold=0.5) == 1.0


def test_scores_over_queries_count_those_without_moments_as_wrong() -> None:
    ranked = {"a": [(0.0, 10.0)], "b": [(0.0, 4.0), (0.0, 10.0)]}
    right = {"a": [(0.0, 10.0)], "b": [(0.0, 10.0)], "c": [(5.0, 6.0)]}
    score = moment_score(ranked, right)
    assert score.recall_at_1 == {0.3: pytest.approx(2 / 3), 0.5: pytest.approx(1 / 3), 0.7: 1 / 3}
    assert score.mean_iou == pytest.approx((1 + 0.4 + 0) / 3)
    assert score.average_precision[0.5] == pytest.approx((1 + 0.5 + 0) / 3)
    assert score.mean_average_precision == pytest.approx(0.5)
    assert (score.num_queries, tuple(score.average_precision)) == (3, MAP_THRESHOLDS)


def test_the_first_moment_may_match_any_of_several_right_spans() -> None:
    assert top_iou([(20.0, 30.0), (0.0, 5.0)], [(0.0, 5.0), (20.0, 30.0)]) == 1.0
    assert top_iou([], [(0.0, 1.0)]) == 0.0
    assert top_iou([(0.0, 1.0)], []) == 0.0


def test_a_threshold_is_met_by_an_overlap_equal_to_it() -> None:
    score = moment_score({"a": [(0.0, 5.0)]}, {"a": [(0.0, 10.0)]})
    assert (score.recall_at_1[0.5], score.recall_at_1[0.7]) == (1.0, 0.0)
    assert score.average_precision[0.5] == 1.0


def test_only_the_first_moments_are_read() -> None:
    ranked = {"a": [(50.0, 60.0)] * 2 + [(0.0, 10.0)]}
    right = {"a": [(0.0, 10.0)]}
    assert moment_score(ranked, right, max_moments=2).mean_average_precision == 0.0
    assert moment_score(ranked, right, max_moments=3).mean_average_precision == pytest.approx(1 / 3)


def test_queries_must_be_known_and_some() -> None:
    with pytest.raises(InvalidValue, match="at least 1"):
        moment_score({}, {})
    with pytest.raises(InvalidValue, match="'b'"):
        moment_score({"b": [(0.0, 1.0)]}, {"a": [(0.0, 1.0)]})


def test_no_right_span_gives_nothing() -> None:
    assert average_precision([(0.0, 1.0)], [], threshold=0.5) == 0.0
