"""Policy cover against brute force, and what it promises about what it drops."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import Config, RedundancyConfig, TextualConfig
from fdvs.errors import BadModelOutput
from fdvs.redundancy.cover import MAX_REACH, keep_cover
from fdvs.redundancy.rules import keep_chapters, keep_frames


def vectors(num: int, seed: int, num_dims: int = 5) -> np.ndarray:
    """Rows in groups: some much alike, some apart."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(4, num_dims))
    rows = centres[rng.integers(4, size=num)] + 0.4 * rng.normal(size=(num, num_dims))
    return rows.astype(np.float32)


def similarity(rows: np.ndarray) -> np.ndarray:
    units = rows / np.linalg.norm(rows.astype(np.float64), axis=1, keepdims=True)
    steps = np.rint(np.clip(units @ units.T, 0, 1) * 10_000).astype(int)
    np.fill_diagonal(steps, 10_000)
    return steps


def cover_naive(
    rows: np.ndarray, floor: float, reach: int, forced: tuple[int, ...] = (0,)
) -> list[bool]:
    """Add the item that raises the sum of best similarities most, sum by sum."""
    table = similarity(rows)
    num = len(rows)
    kept: list[int] = list(forced) if num else []

    def value(chosen: list[int]) -> int:
        return sum(
            max((table[i, j] for j in chosen if abs(i - j) <= reach), default=0) for i in range(num)
        )

    while len(kept) < num:
        gains = [-1 if j in kept else value([*kept, j]) - value(kept) for j in range(num)]
        best = int(np.argmax(gains))
        if gains[best] < max(1, round((1 - floor) * 10_000)):
            break
        kept.append(best)
    return [i in kept for i in range(num)]


@settings(deadline=None, max_examples=30)
@given(
    num=st.integers(0, 14),
    seed=st.integers(0, 1000),
    floor=st.sampled_from([0.0, 0.5, 0.8, 0.95, 1.0]),
    reach=st.integers(1, 16),
)
def test_the_greedy_choice_agrees_with_brute_force(
    num: int, seed: int, floor: float, reach: int
) -> None:
    rows = vectors(num, seed)
    assert keep_cover(rows, floor=floor, reach=reach).tolist() == cover_naive(rows, floor, reach)


@settings(deadline=None, max_examples=30)
@given(
    num=st.integers(1, 40),
    seed=st.integers(0, 1000),
    floor=st.floats(0, 1),
    reach=st.integers(1, 40),
)
def test_whatever_is_dropped_has_a_kept_one_near_that_is_similar_enough(
    num: int, seed: int, floor: float, reach: int
) -> None:
    rows = vectors(num, seed)
    table = similarity(rows)
    keep = keep_cover(rows, floor=floor, reach=reach)
    for item in np.flatnonzero(~keep):
        near = [table[item, j] for j in np.flatnonzero(keep) if abs(item - j) <= reach]
        assert max(near) > floor * 10_000 - 1


def test_the_first_is_kept_and_others_can_be_forced() -> None:
    rows = np.repeat(vectors(1, 0), 5, axis=0)
    assert keep_cover(rows, floor=0.9).tolist() == [True, False, False, False, False]
    assert np.flatnonzero(keep_cover(rows, floor=0.9, forced=(3,))).tolist() == [3]
    assert np.flatnonzero(keep_cover(rows, floor=0.9, forced=())).tolist() == [0]


def test_a_typical_item_stands_for_its_group_not_the_first() -> None:
    angles = np.array([90, 0, 20, 40])  # the first stands apart, 20 degrees lie in the middle
    rows = np.stack([np.cos(np.radians(angles)), np.sin(np.radians(angles))], axis=1)
    keep = keep_cover(rows.astype(np.float32), floor=0.8)
    assert keep.tolist() == [True, False, True, False]


def test_what_lies_between_two_groups_is_kept_where_the_mean_rule_drops_it() -> None:
    """It is near the mean of both, and nothing says the same."""
    a, b = np.eye(2)
    rows = np.stack([a, b, a, b, (a + b) / np.sqrt(2)]).astype(np.float32)
    assert not keep_chapters(rows, TextualConfig(policy="paper"), salt="v")[4]
    cover = TextualConfig(policy="cover", floor=0.75)
    assert keep_chapters(rows, cover, salt="v").tolist() == [True, True, False, False, True]


def test_items_out_of_reach_do_not_stand_for_each_other() -> None:
    a, b = np.eye(2, dtype=np.float32)
    rows = np.stack([a, b, b, b, a])
    assert keep_cover(rows, floor=0.9, reach=4).sum() == 2
    assert keep_cover(rows, floor=0.9, reach=3).tolist() == [True, True, False, False, True]
    memory = TextualConfig(policy="cover", floor=0.9, memory=3)
    assert keep_chapters(rows, memory, salt="v").sum() == 3


def test_a_vector_of_zeros_stands_for_itself_only() -> None:
    rows = np.stack([np.ones(3), np.zeros(3), np.ones(3)]).astype(np.float32)
    assert keep_cover(rows, floor=0.9).tolist() == [True, True, False]


def test_a_single_item_and_none_at_all() -> None:
    assert keep_cover(vectors(1, 0), floor=0.5).tolist() == [True]
    assert keep_cover(np.zeros((0, 4), np.float32), floor=0.5).shape == (0,)


def test_frames_are_compared_with_each_other() -> None:
    """The last two look alike but not like the key frame: one of them is enough."""
    a, b = np.eye(2, dtype=np.float32)
    rows = np.stack([a, a, b, b])
    cover = RedundancyConfig(policy="cover", floor=0.9)
    assert keep_frames(rows, cover, salt="v/0").tolist() == [True, False, True, False]


@pytest.mark.parametrize("like", ["cover", "paper"])
def test_random_drops_as_many_as_the_rule_that_it_controls(like: str) -> None:
    rows = np.abs(vectors(40, 2, num_dims=4))
    for make, keep in ((TextualConfig, keep_chapters), (RedundancyConfig, keep_frames)):
        rule = make(policy=like, floor=0.8)
        drawn = [
            keep(rows, replace(rule, policy="random", like=like, seed=seed), salt="v")
            for seed in (0, 1)
        ]
        mask = keep(rows, rule, salt="v")
        assert 1 < mask.sum() < 40
        assert {int(one.sum()) for one in drawn} == {int(mask.sum())}
        assert drawn[0].tolist() != drawn[1].tolist() != mask.tolist()
        assert like == "paper" or (drawn[0][0] and drawn[1][0])


def test_long_lists_are_quick_and_take_little_memory() -> None:
    rows = vectors(5000, 1, num_dims=16)
    start_s = time.process_time()
    keep = keep_cover(rows, floor=0.84, reach=35)
    assert time.process_time() - start_s < 2.0
    assert 10 < keep.sum() < 5000


def test_a_clip_of_ten_thousand_frames_has_bounded_memory() -> None:
    """A table of all pairs would take 200 MB and more."""
    rows = vectors(10_000, 1, num_dims=8)
    tracemalloc.start()
    start_s = time.process_time()
    keep = keep_frames(rows, RedundancyConfig(), salt="v/0")
    peak_mib = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    assert time.process_time() - start_s < 10.0
    assert peak_mib < 60
    assert 10 < keep.sum() < 10_000


def test_a_long_walk_is_chosen_as_if_every_gain_were_counted_anew() -> None:
    """Many ties and many old numbers: longer than a block, items out of each other's reach."""
    rng = np.random.default_rng(5)
    rows = np.cumsum(rng.integers(-1, 2, size=(320, 3)), axis=0).astype(np.float32) + 8
    table, num, reach = similarity(rows), len(rows), 40
    far = abs(np.arange(num)[:, None] - np.arange(num)) > reach
    table[far] = 0
    explained, want = table[0].copy(), [0]
    while True:
        gains = np.maximum(table - explained, 0).sum(axis=1)
        best = int(np.argmax(gains))
        if gains[best] < 100:
            break
        want.append(best)
        explained = np.maximum(explained, table[best])
    keep = keep_cover(rows, floor=0.99, reach=reach)
    assert np.flatnonzero(keep).tolist() == sorted(want)
    assert 20 < len(want) < 300


def test_of_every_group_of_equal_frames_one_stays_and_chance_loses_groups() -> None:
    """The default rules, as a build calls them: 12 groups of 5 frames, mixed."""
    groups = np.repeat(np.arange(12), 5)
    np.random.default_rng(0).shuffle(groups)
    rows = np.eye(12, dtype=np.float32)[groups]
    config = Config()
    for keep, rule in ((keep_frames, config.visual), (keep_chapters, config.textual)):
        reach = {"memory": 60} if isinstance(rule, TextualConfig) else {}
        rule = replace(rule, **reach)
        mask = keep(rows, rule, salt="v")
        assert sorted(groups[mask]) == list(range(12))
        assert mask.tolist() == [g not in groups[:i] for i, g in enumerate(groups)]
        for seed in range(5):
            drawn = keep(rows, replace(rule, policy="random", seed=seed), salt="v")
            assert drawn.sum() == 12
            assert drawn[0]
            assert len(set(groups[drawn])) < 12


def test_reach_has_bounds() -> None:
    with pytest.raises(ValueError, match="reach is 0"):
        keep_cover(vectors(3, 0), floor=0.5, reach=0)
    rows = vectors(4, 0)
    assert keep_cover(rows, floor=0.5, reach=10 * MAX_REACH).tolist() == cover_naive(rows, 0.5, 3)


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(BadModelOutput, match="embedding 1 of 2"):
        keep_cover(np.array([[1.0], [np.nan]], np.float32), floor=0.5)
