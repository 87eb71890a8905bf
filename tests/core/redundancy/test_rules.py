"""The rules against a plain reference, and the degenerate cases of the paper's rule."""

from __future__ import annotations

import random
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import Config, RedundancyConfig, TextualConfig
from fdvs.errors import BadModelOutput, InvalidValue
from fdvs.redundancy.rules import keep_below_mean, random_mask, rule_label

PAPER = RedundancyConfig(policy="paper")

score_lists = st.lists(st.integers(-10_000, 10_000).map(lambda n: n / 10_000), max_size=12)
near_ones = st.lists(st.integers(7000, 10_000).map(lambda n: n / 10_000), min_size=1, max_size=12)


def scores_of(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@settings(deadline=None)
@given(values=score_lists | near_ones)
def test_paper_drops_exactly_what_is_above_the_mean(values: list[float]) -> None:
    exact = [Fraction(round(v * 10_000), 10_000) for v in values]
    want = [not score > sum(exact) / len(exact) for score in exact]
    assert keep_below_mean(scores_of(values)).tolist() == want


def test_paper_always_drops_the_keyframe_when_anything_differs() -> None:
    keep = keep_below_mean(scores_of([1.0, 0.99, 0.98, 0.10]))
    assert keep.tolist() == [False, False, False, True]


@pytest.mark.parametrize("value", [1.0, 0.1, 0.3333, 0.7, -0.2])
@pytest.mark.parametrize("num_items", [1, 3, 7, 8, 10])
def test_paper_drops_nothing_when_all_are_identical(value: float, num_items: int) -> None:
    assert keep_below_mean(scores_of([value] * num_items)).all()


@settings(deadline=None)
@given(values=score_lists.filter(bool))
def test_paper_never_drops_everything(values: list[float]) -> None:
    assert keep_below_mean(scores_of(values)).any()


@settings(deadline=None)
@given(keep=st.lists(st.booleans(), max_size=12), salt=st.text(max_size=5))
def test_random_keeps_as_many_and_never_drops_the_first(keep: list[bool], salt: str) -> None:
    mask = np.array([True, *keep])
    control = random_mask(mask, RedundancyConfig(), keeps_first=True, salt=salt)
    assert control.sum() == mask.sum()
    assert control[0]


def test_random_may_drop_the_first_where_the_rule_may() -> None:
    mask = np.array([False, True])
    drawn = [random_mask(mask, PAPER, keeps_first=False, salt=str(i)).tolist() for i in range(20)]
    assert sorted({tuple(one) for one in drawn}) == [(False, True), (True, False)]


def test_random_depends_on_seed_and_salt_and_on_nothing_else() -> None:
    mask = np.arange(41) % 2 == 0

    def drawn(seed: int, salt: str) -> tuple[bool, ...]:
        config = RedundancyConfig(seed=seed)
        return tuple(random_mask(mask, config, keeps_first=True, salt=salt).tolist())

    assert drawn(0, "a") == drawn(0, "a")
    assert len({drawn(0, "a"), drawn(1, "a"), drawn(0, "b"), drawn(1, "b")}) == 4


def test_random_gives_every_free_item_about_the_same_chance() -> None:
    mask = np.arange(11) % 2 == 0
    drawn = [
        random_mask(mask, RedundancyConfig(), keeps_first=True, salt=str(i)) for i in range(400)
    ]
    kept = sum(one.astype(int) for one in drawn)
    assert kept[0] == 400
    assert all(150 < k < 250 for k in kept[1:])


def test_float_noise_of_another_batch_does_not_flip_a_decision() -> None:
    noise = random.Random(3)
    # four decimals, ties at the mean included
    values = [1.0, 0.9, 0.9, 0.8, 0.995, 0.7, 0.9, 0.85, 0.85]
    want = keep_below_mean(scores_of(values))
    for _ in range(200):
        noisy = scores_of([v + noise.uniform(-2e-7, 2e-7) for v in values])
        assert (keep_below_mean(noisy) == want).all()


def test_no_items_give_an_empty_mask() -> None:
    mask = keep_below_mean(scores_of([]))
    assert mask.shape == (0,)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(BadModelOutput, match="not finite"):
        keep_below_mean(scores_of([1.0, bad]))


def test_a_table_of_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="need \\[N\\]"):
        keep_below_mean(np.ones((2, 2), dtype=np.float32))


# --- settings


def test_the_default_rule_is_cover_for_frames_and_for_chapters() -> None:
    for rule in (RedundancyConfig(), TextualConfig(), Config().visual, Config().textual):
        assert (rule.policy, rule.floor, rule.like) == ("cover", 0.95, "cover")


def test_a_floor_that_is_no_cosine_is_refused() -> None:
    with pytest.raises(InvalidValue, match="floor"):
        RedundancyConfig(floor=1.5)


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (RedundancyConfig(), "cover, floor 0.95"),
        (TextualConfig(floor=0.9), "cover, floor 0.9"),
        (RedundancyConfig(policy="random"), "random, as many as cover, floor 0.95"),
        (RedundancyConfig(policy="random", like="paper"), "random, as many as paper"),
        (RedundancyConfig(policy="paper"), "paper"),
        (RedundancyConfig(policy="none"), "none"),
    ],
)
def test_a_rule_is_named_with_the_bounds_that_count(config: RedundancyConfig, label: str) -> None:
    assert rule_label(config) == label
