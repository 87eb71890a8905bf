"""Cut points against the best matching there is."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.fmeasure import NOTHING, cut_points


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("tolerance_s", [0.0, 1.0, 3.0])
def test_cuts_match_as_many_as_the_best_matching(seed: int, tolerance_s: float) -> None:
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    rng = np.random.default_rng(seed)
    found, right = (rng.integers(0, 40, size=rng.integers(1, 15)).astype(float) for _ in range(2))
    near = csr_array((np.abs(found[:, None] - right[None, :]) <= tolerance_s).astype(int))
    best = int((maximum_bipartite_matching(near, perm_type="column") >= 0).sum())
    score = cut_points(found.tolist(), right.tolist(), tolerance_s=tolerance_s)
    assert (score.num_matched, score.num_found, score.num_right) == (best, len(found), len(right))


def test_two_cuts_found_near_one_count_once() -> None:
    score = cut_points([9.9, 10.1], [10.0, 20.0], tolerance_s=0.25)
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, 0.5)


def test_the_tolerance_is_included() -> None:
    assert cut_points([10.5], [10.0], tolerance_s=0.5).num_matched == 1
    assert cut_points([10.51], [10.0], tolerance_s=0.5).num_matched == 0


def test_nothing_found_or_nothing_there_scores_nothing() -> None:
    assert cut_points([], [1.0], tolerance_s=1).f1 == 0
    assert cut_points([1.0], [], tolerance_s=1).recall == 0
    assert (NOTHING.precision, NOTHING.recall, NOTHING.f1) == (0, 0, 0)


def test_videos_pool_by_their_counts() -> None:
    pooled = cut_points([1.0], [1.0], tolerance_s=0) + cut_points([5.0], [1.0, 2.0], tolerance_s=0)
    assert (pooled.precision, pooled.recall) == (0.5, 1 / 3)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda: cut_points([1.0], [1.0], tolerance_s=-1), "tolerance_s is -1"),
        (lambda: cut_points([1.0], [1.0], tolerance_s=float("nan")), "tolerance_s"),
        (lambda: cut_points([float("nan")], [1.0], tolerance_s=1), "cut point"),
    ],
)
def test_wrong_input_is_refused(call: object, why: str) -> None:
    with pytest.raises(InvalidValue, match=why):
        call()  # type: ignore[operator]
