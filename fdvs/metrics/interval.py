"""Intervals by bootstrap over videos: questions of one video are not independent of each other.

Videos are drawn with all their questions (cluster bootstrap: Davison and Hinkley, Bootstrap
Methods and their Application, 1997, section 3.8); the score is the mean over the questions
drawn. Percentile intervals; the same seed gives the same interval.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue

NUM_RESAMPLES = 2000
LEVEL = 0.95
SEED = 0
# resamples x videos drawn at once: bounds memory at about 40 MB
DRAWS_AT_ONCE = 2_000_000

Values = Sequence[float] | NDArray[np.floating]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean and its percentile interval [low, high] at `level`.

    Where all values are equal the interval has no width, since resampling shows no variation:
    read it beside `num_items`. `bounds` is None with fewer than two videos.
    """

    value: float
    bounds: tuple[float, float] | None
    num_items: int
    num_groups: int
    num_resamples: int = NUM_RESAMPLES
    level: float = LEVEL


def interval_of_mean(
    values: Values,
    groups: Sequence[Hashable],
    *,
    num_resamples: int = NUM_RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> Interval:
    """Return the mean of values [N] and its interval; `groups` [N] names each value's video.

    Raises InvalidValue for no value, a value that is not finite, or lengths that differ.
    """
    sums, counts = _per_group(np.asarray(values, dtype=np.float64), groups)
    return _interval(sums, counts, int(counts.sum()), num_resamples, level, seed)


def interval_of_difference(
    ours: Values,
    theirs: Values,
    groups: Sequence[Hashable],
    *,
    seed: int = SEED,
) -> Interval:
    """Return the mean of ours - theirs on the same items, in the same order, and its interval.

    Both methods are measured on the same draws, so what makes a video hard for both cancels.
    Arguments and errors as `interval_of_mean`.
    """
    ours, theirs = np.asarray(ours, dtype=np.float64), np.asarray(theirs, dtype=np.float64)
    if ours.shape != theirs.shape:
        raise InvalidValue("number of values of two methods", (len(ours), len(theirs)), "equal")
    return interval_of_mean(ours - theirs, groups, seed=seed)


def interval_of_ratio_difference(
    ours: Values,
    theirs: Values,
    totals: Values,
    groups: Sequence[Hashable],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Return sum(ours - theirs) / sum(totals) and its interval: pooled shares, on the same draws.

    For lists of different size: of `totals` [N] things, `ours` and `theirs` [N] are left.
    `num_items` counts the lists. Raises InvalidValue as `interval_of_mean`, and where all totals
    of a video are 0 (leave such a video out).
    """
    difference = np.asarray(ours, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
    sums, num_each = _per_group(difference, groups)
    whole, _ = _per_group(np.asarray(totals, dtype=np.float64), groups)
    if not (whole > 0).all():
        raise InvalidValue("total of a video", 0, "more than 0")
    return _interval(sums, whole, int(num_each.sum()), num_resamples, LEVEL, seed)


def _interval(
    sums: NDArray[np.float64],
    totals: NDArray[np.float64],
    num_items: int,
    num_resamples: int,
    level: float,
    seed: int,
) -> Interval:
    """Return sum(sums) / sum(totals), one of each a group, and its interval."""
    if num_resamples < 1:
        raise InvalidValue("num_resamples", num_resamples, "at least 1")
    if not 0 < level < 1:
        raise InvalidValue("level", level, "between 0 and 1")
    means = _resampled_means(sums, totals, num_resamples, seed) if len(sums) > 1 else None
    return Interval(
        value=float(sums.sum() / totals.sum()),
        bounds=None if means is None else _percentiles(means, level),
        num_items=num_items,
        num_groups=len(sums),
        num_resamples=num_resamples,
        level=level,
    )


def _per_group(
    values: NDArray[np.float64], groups: Sequence[Hashable]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return sum and count of each group, groups in order of first appearance."""
    if values.ndim != 1 or len(values) != len(groups):
        raise InvalidValue("shape of the values", values.shape, f"({len(groups)},): one a group")
    if not len(values):
        raise InvalidValue("number of values", 0, "at least 1")
    if not np.isfinite(values).all():
        raise InvalidValue("a value", "not finite", "finite numbers")
    place = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    where = np.fromiter((place[group] for group in groups), dtype=np.int64, count=len(groups))
    sums = np.bincount(where, weights=values, minlength=len(place)).astype(np.float64)
    counts = np.bincount(where, minlength=len(place)).astype(np.float64)
    return sums, counts


def _resampled_means(
    sums: NDArray[np.float64], counts: NDArray[np.float64], num_resamples: int, seed: int
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    num_groups, means = len(sums), []
    rows = max(1, DRAWS_AT_ONCE // num_groups)
    for start in range(0, num_resamples, rows):
        shape = (min(rows, num_resamples - start), num_groups)
        drawn = rng.integers(num_groups, size=shape)
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    return np.concatenate(means)


def _percentiles(means: NDArray[np.float64], level: float) -> tuple[float, float]:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
