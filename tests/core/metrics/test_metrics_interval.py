"""Bootstrap over videos against scipy's bootstrap and against what must hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics import interval
from fdvs.metrics.interval import interval_of_difference, interval_of_mean


def scipy_bounds(sums: Any, counts: Any) -> tuple[float, float]:
    from scipy.stats import bootstrap

    found = bootstrap(
        (sums, counts),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20_000,
        rng=np.random.default_rng(9),
    )
    return found.confidence_interval.low, found.confidence_interval.high


@pytest.mark.slow  # scipy's bootstrap takes seconds
def test_one_question_a_video_gives_scipys_interval_of_a_mean() -> None:
    values = (np.random.default_rng(1).random(150) < 0.6).astype(float)
    found = interval_of_mean(values, range(150), num_resamples=20_000)
    assert found.value == pytest.approx(values.mean())
    assert found.bounds == pytest.approx(scipy_bounds(values, np.ones(150)), abs=0.008)


@pytest.mark.slow  # scipy's bootstrap takes seconds
def test_videos_are_drawn_with_all_their_questions_as_in_scipy() -> None:
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(40), rng.integers(1, 12, size=40))
    values = (rng.random(len(groups)) < rng.random(40)[groups]).astype(float)
    sums, counts = np.bincount(groups, weights=values), np.bincount(groups).astype(float)
    found = interval_of_mean(values, [f"v{group}" for group in groups], num_resamples=20_000)
    assert found.value == pytest.approx(values.mean())
    assert found.bounds == pytest.approx(scipy_bounds(sums, counts), abs=0.008)
    assert (found.num_items, found.num_groups) == (len(groups), 40)


def test_questions_that_go_together_widen_the_interval() -> None:
    rng = np.random.default_rng(3)
    by_video = (rng.random(50) < 0.5).astype(float)
    values, groups = np.repeat(by_video, 10), np.repeat(np.arange(50), 10).tolist()
    together = interval_of_mean(values, groups).bounds
    apart = interval_of_mean(values, range(500)).bounds
    assert together is not None
    assert apart is not None
    assert together[1] - together[0] > 2.5 * (apart[1] - apart[0])  # sqrt(10) in theory


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for draw in range(200):
        found = interval_of_mean(rng.random(60) < 0.4, range(60), num_resamples=400, seed=draw)
        assert found.bounds is not None
        covered += found.bounds[0] <= 0.4 <= found.bounds[1]
    assert 178 <= covered <= 199  # 95 % of 200, less the known shortness of percentiles


def test_the_same_seed_gives_the_same_interval_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(5).random(30)
    whole = interval_of_mean(values, range(30))
    assert interval_of_mean(values, range(30)) == whole
    assert interval_of_mean(values, range(30), seed=1) != whole
    monkeypatch.setattr(interval, "DRAWS_AT_ONCE", 100)
    assert interval_of_mean(values, range(30)) == whole


def test_a_difference_is_measured_on_the_same_draws() -> None:
    rng = np.random.default_rng(6)
    hard = rng.normal(size=80)  # what makes a video hard is the same for both
    ours, theirs = hard + 0.1 + rng.normal(scale=0.01, size=80), hard
    found = interval_of_difference(ours, theirs, range(80))
    assert found.value == pytest.approx(0.1, abs=0.01)
    assert found.bounds is not None
    assert found.bounds[1] - found.bounds[0] < 0.01
    alone = interval_of_mean(ours, range(80)).bounds
    assert alone is not None
    assert alone[1] - alone[0] > 0.2


def test_one_video_has_no_interval() -> None:
    found = interval_of_mean([1, 0, 1], ["a", "a", "a"])
    assert (found.value, found.bounds) == (pytest.approx(2 / 3), None)


def test_equal_values_have_an_interval_without_width() -> None:
    assert interval_of_mean([1, 1, 1], "abc").bounds == (1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "groups", "more", "why"),
    [
        ([], [], {}, "number of values is 0"),
        ([1.0], ["a", "b"], {}, "one a group"),
        ([[1.0]], ["a"], {}, "shape of the values"),
        ([np.nan, 1], "ab", {}, "not finite"),
        ([1.0, 0.0], "ab", {"num_resamples": 0}, "num_resamples"),
        ([1.0, 0.0], "ab", {"level": 1.0}, "level is 1.0"),
    ],
)
def test_values_without_a_mean_are_refused(
    values: Any, groups: Any, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(InvalidValue, match=why):
        interval_of_mean(values, groups, **more)


def test_two_methods_need_the_same_items() -> None:
    with pytest.raises(InvalidValue, match=r"\(2, 1\)"):
        interval_of_difference([1, 0], [1], "ab")
