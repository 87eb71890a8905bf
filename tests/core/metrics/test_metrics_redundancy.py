"""What is left after dropping, against the exact expectation of chance."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.metrics.interval import interval_of_ratio_difference
from fdvs.metrics.redundancy import KeptList, against_chance, random_masks, redundancy_score


def kept_list(units: str, kept: str, *, group: str = "v", forced: tuple[int, ...] = ()) -> KeptList:
    """Items tell one letter each; `kept` has an x for each item that is kept."""
    mask = np.array([mark == "x" for mark in kept])
    told = [frozenset() if unit == "." else frozenset(unit) for unit in units]
    return KeptList(facts=told, kept=mask, group=group, forced=forced)


def test_a_rule_that_drops_repeats_keeps_everything_told_and_chance_does_not() -> None:
    score = redundancy_score([kept_list("aabbccdd", "x.x.x.x.", group=f"v{i}") for i in range(3)])
    assert score.left.value == 1.0
    # 4 of 8: a letter is lost if both of its items are among the 4 that go
    assert score.left.mean == pytest.approx(1 - comb(6, 4) / comb(8, 4), abs=0.01)
    assert score.left.p_value < 0.05
    assert score.gain.value == pytest.approx(1 - score.left.mean)
    assert (score.num_items, score.num_kept, score.num_lists, score.num_facts) == (24, 12, 3, 12)
    assert score.kept_share == 0.5


def test_a_rule_that_keeps_the_repeats_is_worse_than_chance() -> None:
    score = redundancy_score([kept_list("aabbccdd", "xxxx....", group=f"v{i}") for i in range(3)])
    assert score.left.value == 0.5
    assert score.left.value - score.left.mean < -0.2
    assert score.left.p_value > 0.95
    assert score.gain.bounds is not None
    assert score.gain.bounds[1] < 0


def test_the_mean_of_chance_is_that_of_all_choices() -> None:
    told = [frozenset("ab"), frozenset("bc"), frozenset("c"), frozenset("a"), frozenset("d")]
    kept = np.array([True, False, True, False, True])
    score = redundancy_score([KeptList(facts=told, kept=kept, group="v")], num_draws=20_000)
    choices = [frozenset().union(*some) for some in combinations(told, 3)]
    every = [len(names) / 4 for names in choices]
    assert score.left.mean == pytest.approx(np.mean(every), abs=0.005)


def test_what_the_rule_must_keep_chance_keeps_too() -> None:
    """With the first item forced, chance chooses 1 of the other 3."""
    score = redundancy_score([kept_list("abbb", "xx..", forced=(0,))], num_draws=500)
    assert (score.left.value, score.left.mean) == (1.0, 1.0)
    free = redundancy_score([kept_list("abbb", "xx..")], num_draws=20_000)
    assert free.left.mean == pytest.approx(0.5 * 1 + 0.5 * 0.5, abs=0.01)


def test_a_random_rule_has_a_p_value_like_any_other() -> None:
    rng = np.random.default_rng(0)
    values = []
    for trial in range(60):
        units = "".join(rng.choice(list("abcdefgh"), size=20))
        mask = "".join(rng.permutation(list("x" * 8 + "." * 12)))
        lists = [kept_list(units, mask)]
        values.append(redundancy_score(lists, num_draws=99, seed=trial).left.p_value)
    # ties count against us, so values are large rather than small, never too small
    assert np.mean(np.array(values) <= 0.1) <= 0.2
    assert 0.4 < np.mean(values) < 0.85


def test_random_masks_keep_as_many_and_what_is_forced() -> None:
    kept = np.array([True, False, True, True, False, False])
    masks = random_masks(kept, forced=(2,), num_draws=3000, rng=np.random.default_rng(1))
    assert (masks.sum(axis=1) == 3).all()
    assert masks[:, 2].all()
    assert masks[:, [0, 1, 3, 4, 5]].mean(axis=0) == pytest.approx([0.4] * 5, abs=0.04)


def test_the_same_seed_gives_the_same_score_however_it_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fdvs.metrics import redundancy

    lists = [kept_list("aabbcd", "x.x.x.", group=group) for group in "uvw"]
    whole = redundancy_score(lists)
    assert redundancy_score(lists) == whole
    assert redundancy_score(lists, seed=1) != whole
    monkeypatch.setattr(redundancy, "CELLS_AT_ONCE", 200)
    assert redundancy_score(lists) == whole


def test_lists_that_tell_nothing_count_as_items_only() -> None:
    lists = [kept_list("aabb", "x.x."), kept_list("..", "x.", group="w")]
    score = redundancy_score(lists)
    assert (score.left.value, score.num_items, score.num_facts) == (1.0, 6, 2)
    assert (score.gain.num_groups, score.gain.bounds) == (1, None)


def test_keeping_everything_is_no_better_than_chance() -> None:
    score = redundancy_score([kept_list("abc", "xxx", group=group) for group in "vw"])
    assert (score.left.value, score.left.mean, score.left.p_value) == (1.0, 1.0, 1.0)
    assert score.gain.bounds == (0.0, 0.0)


def test_a_score_downstream_is_compared_the_same_way() -> None:
    chance = against_chance(0.6, [0.5, 0.6, 0.4, 0.7])
    assert (chance.p_value, chance.mean, chance.num_draws) == (3 / 5, pytest.approx(0.55), 4)
    assert chance.low == pytest.approx(np.quantile([0.5, 0.6, 0.4, 0.7], 0.025))
    assert against_chance(0.9, [0.1] * 5).p_value == pytest.approx(1 / 6)


def test_sums_in_another_order_are_ties_and_against_us() -> None:
    assert against_chance(0.1 + 0.2, [0.3]).p_value == 1.0
    assert against_chance(0.3, [0.1 + 0.2]).p_value == 1.0


@pytest.mark.parametrize(
    ("kept", "forced"),
    [
        (np.array([True]), ()),
        (np.array([1, 0]), ()),
        (np.array([True, False]), (1,)),
        (np.array([True, False]), (2,)),
    ],
)
def test_masks_must_fit_their_items(kept: np.ndarray, forced: tuple[int, ...]) -> None:  # type: ignore[type-arg]
    with pytest.raises(InvalidValue, match=r"mask|forced"):
        KeptList(facts=[frozenset("a"), frozenset("b")], kept=kept, group="v", forced=forced)


def test_without_anything_told_or_drawn_there_is_no_score() -> None:
    with pytest.raises(InvalidValue, match="labels empty"):
        redundancy_score([kept_list("..", "x.")])
    with pytest.raises(InvalidValue, match="random choices"):
        against_chance(1.0, [])


def test_pooled_shares_are_drawn_by_video() -> None:
    found = interval_of_ratio_difference([3, 1, 4], [1, 1, 2], [4, 2, 4], ["a", "a", "b"])
    assert found.value == pytest.approx((3 + 1 + 4 - 1 - 1 - 2) / 10)
    assert found.bounds == (pytest.approx(2 / 6), pytest.approx(2 / 4))
    assert (found.num_items, found.num_groups) == (3, 2)
    with pytest.raises(InvalidValue, match="total of a video"):
        interval_of_ratio_difference([1, 1], [0, 0], [1, 0], ["a", "b"])
