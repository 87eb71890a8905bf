"""Scenes cover all chapters once, keep their bounds, and break where the subject changes."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import BadModelOutput
from fdvs.story.scenes import (
    best_division,
    boundary_gains,
    depth_scores,
    feasible_min,
    gap_similarities,
    scene_ranges,
)

bounds = st.tuples(st.integers(1, 6), st.integers(0, 8)).map(lambda b: (b[0], b[0] + b[1]))


def topics(*lengths: int, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Runs of chapters about unrelated subjects: the true scenes."""
    generator = np.random.default_rng(seed)
    rows = []
    for subject, length in enumerate(lengths):
        centre = np.zeros(16)
        centre[subject] = 1.0
        rows.append(centre + noise * generator.normal(size=(length, 16)))
    return np.concatenate(rows).astype(np.float32)


def lengths_of(ranges: list[range]) -> list[int]:
    return [len(r) for r in ranges]


@settings(deadline=None)
@given(num_chapters=st.integers(0, 40), limits=bounds, seed=st.integers(0, 999))
def test_every_chapter_is_in_exactly_one_scene_of_bounded_length(
    num_chapters: int, limits: tuple[int, int], seed: int
) -> None:
    low, high = limits
    rows = np.random.default_rng(seed).normal(size=(num_chapters, 5)).astype(np.float32)
    ranges = scene_ranges(rows, min_chapters=low, max_chapters=high)
    assert [i for r in ranges for i in r] == list(range(num_chapters))
    assert all(0 < len(r) <= high for r in ranges)
    divisible = any(k * low <= num_chapters <= k * high for k in range(1, num_chapters + 1))
    if divisible:
        assert all(len(r) >= low for r in ranges)


@settings(deadline=None)
@given(
    gains=st.lists(st.integers(-50, 50), max_size=8),
    limits=bounds,
)
def test_the_division_is_the_best_of_all_that_there_are(
    gains: list[int], limits: tuple[int, int]
) -> None:
    num_chapters = len(gains) + 1
    low = feasible_min(num_chapters, *limits)
    got = best_division(np.array(gains, dtype=np.int64), num_chapters, low, limits[1])

    def value(cuts: tuple[int, ...]) -> int:
        return sum(gains[cut - 1] for cut in cuts)

    def allowed(cuts: tuple[int, ...]) -> bool:
        edges = [0, *cuts, num_chapters]
        return all(low <= b - a <= limits[1] for a, b in pairwise(edges))

    inner = range(1, num_chapters)
    divisions = [c for n in range(num_chapters) for c in combinations(inner, n) if allowed(c)]
    best = max(map(value, divisions))
    chosen = tuple(r.start for r in got[1:])
    assert allowed(chosen)
    assert value(chosen) == best


@pytest.mark.parametrize("lengths", [(4, 4), (5, 3, 6), (3, 3, 3, 3), (8, 4)])
def test_scenes_break_where_the_subject_changes(lengths: tuple[int, ...]) -> None:
    ranges = scene_ranges(topics(*lengths), min_chapters=1, max_chapters=12)
    assert lengths_of(ranges) == list(lengths)


def test_chapters_that_stay_together_are_one_scene() -> None:
    assert lengths_of(scene_ranges(topics(9), min_chapters=1, max_chapters=12)) == [9]


def test_identical_chapters_are_one_scene_until_the_bound() -> None:
    same = np.ones((25, 4), dtype=np.float32)
    ranges = scene_ranges(same, min_chapters=1, max_chapters=12)
    assert sum(map(len, ranges)) == 25
    assert len(ranges) == 3


def test_a_forced_split_falls_on_the_deepest_gap() -> None:
    rows = topics(5, 7)
    ranges = scene_ranges(rows, min_chapters=1, max_chapters=8, min_depth=10.0)
    assert lengths_of(ranges) == [5, 7]


def test_a_minimum_merges_what_would_be_a_scene_of_its_own() -> None:
    rows = topics(4, 1, 4)
    assert min(lengths_of(scene_ranges(rows, min_chapters=3, max_chapters=12))) >= 3


def test_few_chapters_are_one_scene_although_below_the_minimum() -> None:
    assert scene_ranges(topics(2), min_chapters=5, max_chapters=12) == [range(0, 2)]


def test_an_impossible_minimum_is_lowered_as_little_as_possible() -> None:
    # five chapters in scenes of three to four: only 2 + 3 comes near
    ranges = scene_ranges(topics(5), min_chapters=3, max_chapters=4)
    assert sorted(lengths_of(ranges)) == [2, 3]


def test_no_chapters_make_no_scene_and_one_makes_one() -> None:
    assert scene_ranges(np.zeros((0, 3), dtype=np.float32), min_chapters=1, max_chapters=2) == []
    assert scene_ranges(topics(1), min_chapters=1, max_chapters=2) == [range(0, 1)]


def test_float_noise_does_not_move_a_boundary() -> None:
    rows = topics(5, 3, 6, noise=0.2)
    want = scene_ranges(rows, min_chapters=1, max_chapters=6)
    generator = np.random.default_rng(1)
    for _ in range(20):
        noisy = rows + generator.uniform(-1e-7, 1e-7, rows.shape).astype(np.float32)
        assert scene_ranges(noisy, min_chapters=1, max_chapters=6) == want


def test_gap_similarity_compares_the_means_of_the_windows() -> None:
    a, b = np.eye(2, dtype=np.float32)
    got = gap_similarities(np.stack([a, a, b, b]), window=2)
    # a|ab, aa|bb, ab|b
    assert got == pytest.approx([1 / np.sqrt(2), 0.0, 1 / np.sqrt(2)])


def test_depth_climbs_to_the_next_peak_on_both_sides_and_no_further() -> None:
    dips = np.array([0.9, 0.5, 0.7, 0.2, 0.8, 1.0, 0.95])
    assert depth_scores(dips) == pytest.approx([0.0, 0.6, 0.0, 1.3, 0.2, 0.0, 0.05])


def test_a_shallow_dip_gains_nothing() -> None:
    gains = boundary_gains(topics(6, noise=0.01), window=3, min_depth=0.1)
    assert (gains < 0).all()


@pytest.mark.parametrize("limits", [(0, 3), (4, 3)])
def test_bounds_that_contradict_each_other_are_refused(limits: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="min_chapters <= max_chapters"):
        scene_ranges(topics(3), min_chapters=limits[0], max_chapters=limits[1])


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BadModelOutput):
        scene_ranges(np.full((3, 2), np.nan, dtype=np.float32), min_chapters=1, max_chapters=3)


def test_only_the_bottom_of_a_dip_gains() -> None:
    """Windows that overlap the change make slopes on both sides of it; those are no boundaries."""
    gains = boundary_gains(topics(6, 6, noise=0.0), window=3, min_depth=0.1)
    assert np.flatnonzero(gains > 0).tolist() == [5]


def test_of_a_flat_bottom_the_first_gap_is_the_boundary() -> None:
    a, b, c = np.eye(3, dtype=np.float32)
    rows = np.stack([a, a, b, c, c])
    gains = boundary_gains(rows, window=1, min_depth=0.1)
    assert np.flatnonzero(gains > 0).tolist() == [1]
