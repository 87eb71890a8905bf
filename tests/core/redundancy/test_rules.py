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
from fdvs.redundancy.rules import as_repaired, keep_mask, random_mask, rule_label

PAPER = RedundancyConfig(policy="paper")
REPAIRED = RedundancyConfig(policy="repaired", floor=0.8, identical=0.995)
THRESHOLD = RedundancyConfig(policy="threshold", threshold=0.9)
NONE = RedundancyConfig(policy="none")

score_lists = st.lists(st.integers(-10_000, 10_000).map(lambda n: n / 10_000), max_size=12)
near_ones = st.lists(st.integers(7000, 10_000).map(lambda n: n / 10_000), min_size=1, max_size=12)


def scores_of(values: Sequence[float]) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def keep_naive(
    values: Sequence[float], config: RedundancyConfig, *, forced: Sequence[int] = (0,)
) -> list[bool]:
    """The rules by loops and fractions, for scores of at most four decimals."""
    exact = [Fraction(round(v * 10_000), 10_000) for v in values]
    bound = {n: Fraction(str(getattr(config, n))) for n in ("floor", "identical", "threshold")}
    keep = []
    for i, score in enumerate(exact):
        if config.policy == "none":
            keep.append(True)
        elif config.policy == "paper":
            keep.append(not score > sum(exact) / len(exact))
        elif i in forced:
            keep.append(True)
        elif config.policy == "threshold":
            keep.append(score < bound["threshold"])
        else:
            others = [s for j, s in enumerate(exact) if j not in forced]
            above = score > sum(others) / len(others)
            keep.append(not (score >= bound["identical"] or (above and score >= bound["floor"])))
    return keep


@pytest.mark.parametrize("config", [PAPER, REPAIRED, THRESHOLD, NONE], ids=lambda c: c.policy)
@settings(deadline=None)
@given(values=score_lists | near_ones)
def test_every_policy_agrees_with_the_reference(
    config: RedundancyConfig, values: list[float]
) -> None:
    assert keep_mask(scores_of(values), config).tolist() == keep_naive(values, config)


@settings(deadline=None)
@given(values=near_ones, forced=st.sets(st.integers(0, 11)))
def test_repaired_agrees_with_the_reference_for_any_forced_items(
    values: list[float], forced: set[int]
) -> None:
    inside = sorted(i for i in forced if i < len(values))
    got = keep_mask(scores_of(values), REPAIRED, forced=inside)
    assert got.tolist() == keep_naive(values, REPAIRED, forced=inside)


def test_paper_always_drops_the_key_frame_when_anything_differs() -> None:
    keep = keep_mask(scores_of([1.0, 0.99, 0.98, 0.10]), PAPER)
    assert keep.tolist() == [False, False, False, True]


@pytest.mark.parametrize("value", [1.0, 0.1, 0.3333, 0.7, -0.2])
@pytest.mark.parametrize("num_items", [1, 3, 7, 8, 10])
def test_paper_drops_nothing_when_all_are_identical(value: float, num_items: int) -> None:
    assert keep_mask(scores_of([value] * num_items), PAPER).all()


@settings(deadline=None)
@given(values=score_lists.filter(bool))
def test_paper_never_drops_everything(values: list[float]) -> None:
    assert keep_mask(scores_of(values), PAPER).any()


def test_repaired_keeps_the_first_of_identical_items_and_drops_the_others() -> None:
    assert keep_mask(scores_of([1.0] * 5), REPAIRED).tolist() == [True] + [False] * 4


def test_repaired_keeps_all_of_a_varied_clip_although_half_is_above_the_mean() -> None:
    assert keep_mask(scores_of([1.0, 0.7, 0.5, 0.3, 0.1]), REPAIRED).all()


def test_repaired_leaves_the_key_frame_out_of_the_mean() -> None:
    # with the key frame's 1.0 the mean would be 0.9 and 0.89 would stay
    keep = keep_mask(scores_of([1.0, 0.89, 0.81]), REPAIRED)
    assert keep.tolist() == [True, False, True]


def test_repaired_bounds_belong_to_the_dropped_side() -> None:
    at_floor = keep_mask(scores_of([1.0, 0.8, 0.1]), REPAIRED)
    at_identical = keep_mask(scores_of([1.0, 0.995, 0.999]), REPAIRED)
    assert at_floor.tolist() == [True, False, True]
    assert at_identical.tolist() == [True, False, False]


def test_in_mean_decides_which_items_count() -> None:
    scores = scores_of([1.0, 0.95, 0.9, 0.2])
    alone = np.array([False, True, False, False])
    assert keep_mask(scores, REPAIRED).tolist() == [True, False, False, True]
    assert keep_mask(scores, REPAIRED, in_mean=alone).all()


def test_nothing_in_the_mean_leaves_only_the_identical_to_drop() -> None:
    scores = scores_of([1.0, 0.9, 0.999])
    keep = keep_mask(scores, REPAIRED, in_mean=np.zeros(3, dtype=bool))
    assert keep.tolist() == [True, True, False]


def test_threshold_drops_at_the_bound_and_keeps_forced_items() -> None:
    keep = keep_mask(scores_of([1.0, 0.9, 0.8999, 0.95]), THRESHOLD, forced=(0, 3))
    assert keep.tolist() == [True, False, True, True]


@settings(deadline=None)
@given(values=near_ones, salt=st.text(max_size=5))
def test_random_drops_exactly_as_many_as_repaired_and_never_a_forced_item(
    values: list[float], salt: str
) -> None:
    mask = keep_mask(scores_of(values), REPAIRED)
    control = random_mask(mask, REPAIRED, keeps_first=True, salt=salt)
    assert control.sum() == mask.sum()
    assert control[0]


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


@pytest.mark.parametrize("policy", ["paper", "repaired", "threshold"])
def test_float_noise_of_another_batch_does_not_flip_a_decision(policy: str) -> None:
    config = RedundancyConfig(policy=policy, floor=0.8, identical=0.995, threshold=0.9)  # type: ignore[arg-type]
    noise = random.Random(3)
    # four decimals, ties at mean, floor, threshold and identical included
    values = [1.0, 0.9, 0.9, 0.8, 0.995, 0.7, 0.9, 0.85, 0.85]
    want = keep_mask(scores_of(values), config)
    for _ in range(200):
        noisy = scores_of([v + noise.uniform(-2e-7, 2e-7) for v in values])
        assert (keep_mask(noisy, config) == want).all()


def test_no_items_give_an_empty_mask_under_every_policy() -> None:
    for config in (PAPER, REPAIRED, THRESHOLD, NONE):
        mask = keep_mask(scores_of([]), config)
        assert mask.shape == (0,)
        assert mask.dtype == np.bool_


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(BadModelOutput, match="not finite"):
        keep_mask(scores_of([1.0, bad]), REPAIRED)


def test_a_table_of_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="need \\[N\\]"):
        keep_mask(np.ones((2, 2), dtype=np.float32), REPAIRED)


# --- settings


def test_the_default_rule_is_cover_for_frames_and_for_chapters() -> None:
    for rule in (RedundancyConfig(), TextualConfig(), Config().visual, Config().textual):
        assert (rule.policy, rule.floor, rule.like) == ("cover", 0.95, "cover")


def test_only_the_rule_with_two_bounds_needs_them_in_order() -> None:
    """A floor above `identical` means nothing to cover, and is a mistake for repaired."""
    assert RedundancyConfig(floor=0.99).floor == 0.99
    assert RedundancyConfig(policy="random", floor=0.99).floor == 0.99
    for policy in ("repaired", "random"):
        with pytest.raises(InvalidValue, match=r"identical.*0\.99 to 1"):
            RedundancyConfig(policy=policy, like="repaired", floor=0.99)  # type: ignore[arg-type]


def test_the_other_policies_can_be_chosen_without_other_settings() -> None:
    for make in (RedundancyConfig, TextualConfig):
        for policy in ("repaired", "paper", "threshold", "random", "none"):
            assert make(policy=policy).policy == policy  # type: ignore[arg-type]


def test_repaired_has_its_own_bounds_for_frames_and_for_chapters() -> None:
    frames, chapters = as_repaired(RedundancyConfig(seed=3)), as_repaired(TextualConfig(memory=5))
    assert (frames.floor, frames.identical, frames.seed) == (0.9, 0.95, 3)
    assert (chapters.floor, chapters.identical, chapters.memory) == (0.84, 0.995, 5)
    assert frames.policy == chapters.policy == "repaired"


@pytest.mark.parametrize(
    ("config", "label"),
    [
        (RedundancyConfig(), "cover, floor 0.95"),
        (TextualConfig(floor=0.9), "cover, floor 0.9"),
        (as_repaired(RedundancyConfig()), "repaired, floor 0.9, identical 0.95"),
        (RedundancyConfig(policy="threshold", threshold=0.8), "threshold 0.8"),
        (RedundancyConfig(policy="random"), "random, as many as cover, floor 0.95"),
        (RedundancyConfig(policy="random", like="paper"), "random, as many as paper"),
        (RedundancyConfig(policy="paper"), "paper"),
        (RedundancyConfig(policy="none"), "none"),
    ],
)
def test_a_rule_is_named_with_the_bounds_that_count(config: RedundancyConfig, label: str) -> None:
    assert rule_label(config) == label


@pytest.mark.parametrize("policy", ["cover", "random"])
def test_single_scores_are_not_enough_for_every_policy(policy: str) -> None:
    with pytest.raises(ValueError, match=f"{policy} .*keep_frames"):
        keep_mask(np.ones(3, np.float32), RedundancyConfig(policy=policy))  # type: ignore[arg-type]
