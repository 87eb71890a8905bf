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
    gap_similarities,
    headed_groups,
    scene_ranges,
)


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
@given(num_chapters=st.integers(0, 40), high=st.integers(1, 14), seed=st.integers(0, 999))
def test_every_chapter_is_in_exactly_one_scene_of_bounded_length(
    num_chapters: int, high: int, seed: int
) -> None:
    rows = np.random.default_rng(seed).normal(size=(num_chapters, 5)).astype(np.float32)
    ranges = scene_ranges(rows, max_chapters=high)
    assert [i for r in ranges for i in r] == list(range(num_chapters))
    assert all(0 < len(r) <= high for r in ranges)


@settings(deadline=None)
@given(gains=st.lists(st.integers(-50, 50), max_size=8), high=st.integers(1, 14))
def test_the_division_is_the_best_of_all_that_there_are(gains: list[int], high: int) -> None:
    num_chapters = len(gains) + 1
    got = best_division(np.array(gains, dtype=np.int64), high)

    def value(cuts: tuple[int, ...]) -> int:
        return sum(gains[cut - 1] for cut in cuts)

    def allowed(cuts: tuple[int, ...]) -> bool:
        return all(b - a <= high for a, b in pairwise([0, *cuts, num_chapters]))

    inner = range(1, num_chapters)
    divisions = [c for n in range(num_chapters) for c in combinations(inner, n) if allowed(c)]
    best = max(map(value, divisions))
    chosen = tuple(r.start for r in got[1:])
    assert allowed(chosen)
    assert value(chosen) == best


@pytest.mark.parametrize("lengths", [(4, 4), (5, 3, 6), (3, 3, 3, 3), (8, 4)])
def test_scenes_break_where_the_subject_changes(lengths: tuple[int, ...]) -> None:
    ranges = scene_ranges(topics(*lengths), max_chapters=12)
    assert lengths_of(ranges) == list(lengths)


def test_chapters_that_stay_together_are_one_scene() -> None:
    assert lengths_of(scene_ranges(topics(9), max_chapters=12)) == [9]


def test_identical_chapters_are_one_scene_until_the_bound() -> None:
    same = np.ones((25, 4), dtype=np.float32)
    ranges = scene_ranges(same, max_chapters=12)
    assert sum(map(len, ranges)) == 25
    assert len(ranges) == 3


def test_a_forced_split_falls_on_the_deepest_gap() -> None:
    rows = topics(5, 7)
    ranges = scene_ranges(rows, max_chapters=8, min_depth=10.0)
    assert lengths_of(ranges) == [5, 7]


def test_no_chapters_make_no_scene_and_one_makes_one() -> None:
    assert scene_ranges(np.zeros((0, 3), dtype=np.float32), max_chapters=2) == []
    assert scene_ranges(topics(1), max_chapters=2) == [range(0, 1)]


def test_float_noise_does_not_move_a_boundary() -> None:
    rows = topics(5, 3, 6, noise=0.2)
    want = scene_ranges(rows, max_chapters=6)
    generator = np.random.default_rng(1)
    for _ in range(20):
        noisy = rows + generator.uniform(-1e-7, 1e-7, rows.shape).astype(np.float32)
        assert scene_ranges(noisy, max_chapters=6) == want


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


def test_scenes_of_no_chapters_are_refused() -> None:
    with pytest.raises(ValueError, match="max_chapters is 0"):
        scene_ranges(topics(3), max_chapters=0)


def test_vectors_that_are_not_finite_are_refused() -> None:
    with pytest.raises(BadModelOutput):
        scene_ranges(np.full((3, 2), np.nan, dtype=np.float32), max_chapters=3)


def test_only_the_bottom_of_a_dip_gains() -> None:
    """Windows that overlap the change make slopes on both sides of it; those are no boundaries."""
    gains = boundary_gains(topics(6, 6, noise=0.0), window=3, min_depth=0.1)
    assert np.flatnonzero(gains > 0).tolist() == [5]


def test_of_a_flat_bottom_the_first_gap_is_the_boundary() -> None:
    a, b, c = np.eye(3, dtype=np.float32)
    rows = np.stack([a, a, b, c, c])
    gains = boundary_gains(rows, window=1, min_depth=0.1)
    assert np.flatnonzero(gains > 0).tolist() == [1]


def test_scenes_rather_begin_where_a_heading_does() -> None:
    """Three subjects that the vectors alone divide one chapter too late."""
    a, b = np.eye(2)
    rows = np.stack([a, a, a, a, 0.8 * a + 0.6 * b, b, b, b]).astype(np.float32)
    titles = ["A", "A", "A", "A", "B", "", "B", "B"]
    assert scene_ranges(rows, max_chapters=12, titles=titles) == [range(4), range(4, 8)]


def test_one_heading_for_the_whole_film_changes_nothing() -> None:
    rows = np.repeat(np.eye(3), 4, axis=0).astype(np.float32)
    titles = ["Slide", *[""] * 5, *["Slide"] * 6]
    plain = scene_ranges(rows, max_chapters=12)
    assert len(plain) > 1
    assert scene_ranges(rows, max_chapters=12, titles=titles) == plain


def test_scenes_begin_where_headings_do_where_most_chapters_have_one() -> None:
    vectors = np.ones((7, 4), np.float32)
    titles = ["A", "", "B", "B", "C", "A", ""]
    found = scene_ranges(vectors, max_chapters=12, titles=titles)
    assert [list(r) for r in found] == [[0, 1], [2, 3], [4], [5, 6]]
    long = scene_ranges(vectors, max_chapters=1, titles=titles)
    assert [list(r) for r in long] == [[n] for n in range(7)]


def test_few_headings_do_not_divide_a_film() -> None:
    vectors = np.ones((8, 4), np.float32)
    titles = ["A", "", "", "B", "", "", "C", ""]
    assert headed_groups(titles) == []
    assert scene_ranges(vectors, max_chapters=12, titles=titles) == [range(8)]


def test_many_headings_are_joined_by_what_they_are_about() -> None:
    rng = np.random.default_rng(5)
    subjects = np.repeat(np.eye(4, 16), 8, axis=0)
    vectors = (subjects + rng.normal(0, 0.05, (32, 16))).astype(np.float32)
    titles = [f"heading {n // 2}" for n in range(32)]  # 16 headings, four subjects
    found = scene_ranges(vectors, max_chapters=12, titles=titles)
    assert [r.start for r in found] == [0, 8, 16, 24]
    assert all(r.start % 2 == 0 for r in found)
