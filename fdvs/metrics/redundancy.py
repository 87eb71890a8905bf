"""Does a redundancy rule lose less than chance: its masks against random ones of equal size.

A rule that drops half of everything seems good until as much is dropped at random. So a rule is
always compared with random masks that keep as many items in each list, and keep what the rule
must keep (the first chapter, the keyframe). Measured is the share of facts that a kept item still
holds: labels of frames, words of chapters, or scenes of a film whose recipe is known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue
from fdvs.metrics.interval import NUM_RESAMPLES, Interval, interval_of_ratio_difference

NUM_DRAWS = 1000
SEED = 0
LEVEL = 0.95
# draws x items x units looked at together: bounds memory at about 100 MB
CELLS_AT_ONCE = 25_000_000

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptList:
    """One list that a rule worked on (the frames of a clip, the chapters of a video).

    `facts` are what each item [N] shows or says; `kept` [N] is the rule's mask. `forced` are places
    that the rule keeps whatever they hold, so a random choice keeps them too. `group` is the video,
    the unit of the bootstrap.
    """

    facts: Sequence[frozenset[str]]
    kept: Mask
    group: str
    forced: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.kept.shape != (len(self.facts),) or self.kept.dtype != np.bool_:
            raise InvalidValue("shape of a mask", self.kept.shape, f"({len(self.facts)},) of bool")
        if not all(0 <= place < len(self.facts) and self.kept[place] for place in self.forced):
            raise InvalidValue("forced places", self.forced, "places that the mask keeps")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A score beside the same score of random choices.

    Attributes:
        value: of the rule.
        mean, low, high: of the random choices: their mean and the middle 95 %.
        p_value: how often chance does as well or better, (1 + count) / (1 + draws); never 0.
        num_draws: random choices.
    """

    value: float
    mean: float
    low: float
    high: float
    p_value: float
    num_draws: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RedundancyScore:
    """What a rule keeps, and the share of facts that is left, beside chance.

    `gain` is left minus the mean of chance, with its interval over videos.
    """

    left: Chance
    gain: Interval
    num_items: int
    num_kept: int
    num_lists: int
    num_facts: int

    @property
    def kept_share(self) -> float:
        """Fraction of the items kept."""
        return self.num_kept / self.num_items if self.num_items else 1.0


def against_chance(value: float, draws: Sequence[float] | NDArray[np.floating]) -> Chance:
    """Compare one score, higher is better, with the same score of random choices.

    Also for scores downstream (answers right with the kept chapters, with as many random ones).
    With few draws the p-value is coarse: 5 draws cannot go below 1/6. The p-value is that of
    Phipson and Smyth (2010). Raises InvalidValue for no draw.
    """
    found = np.asarray(draws, dtype=np.float64)
    if not found.size:
        raise InvalidValue("number of random choices", 0, "at least 1")
    # the same sum in another order may differ in the last bits: that is a tie, and against us
    num_as_good = int((found >= value - 1e-12).sum())
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Chance(
        value=float(value),
        mean=float(found.mean()),
        low=float(low),
        high=float(high),
        p_value=(1 + num_as_good) / (1 + found.size),
        num_draws=int(found.size),
    )


def random_masks(
    kept: Mask, *, forced: Sequence[int] = (), num_draws: int, rng: np.random.Generator
) -> Mask:
    """Return random masks [draws, N] that keep as many items as `kept`, `forced` among them."""
    keys = rng.random((num_draws, len(kept)))
    keys[:, list(forced)] = -1.0
    order = np.argsort(keys, axis=1, kind="stable")
    masks = np.zeros((num_draws, len(kept)), dtype=np.bool_)
    np.put_along_axis(masks, order[:, : int(kept.sum())], True, axis=1)
    return masks


def redundancy_score(
    lists: Sequence[KeptList],
    *,
    num_draws: int = NUM_DRAWS,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = SEED,
) -> RedundancyScore:
    """Measure the share of facts that the masks leave, pooled over lists, against random masks.

    A fact counts once per list, however many of its items hold it: it is left where a kept item
    still holds it. Raises InvalidValue where no list has a fact.
    """
    num_facts = np.array([len(frozenset().union(*one.facts)) for one in lists], dtype=np.float64)
    if not num_facts.sum():
        raise InvalidValue("number of facts", 0, "at least 1; are the labels empty?")
    left = np.array([_num_left(one, one.kept[None])[0] for one in lists], dtype=np.float64)
    drawn = np.stack([_drawn(one, i, num_draws, seed) for i, one in enumerate(lists)])
    with_facts = np.flatnonzero(num_facts)  # a list without facts has no share to lose
    groups: list[Hashable] = [lists[i].group for i in with_facts.tolist()]
    return RedundancyScore(
        left=against_chance(left.sum() / num_facts.sum(), drawn.sum(axis=0) / num_facts.sum()),
        gain=interval_of_ratio_difference(
            left[with_facts],
            drawn.mean(axis=1)[with_facts],
            num_facts[with_facts],
            groups,
            num_resamples=num_resamples,
            seed=seed,
        ),
        num_items=sum(len(one.facts) for one in lists),
        num_kept=sum(int(one.kept.sum()) for one in lists),
        num_lists=len(lists),
        num_facts=int(num_facts.sum()),
    )


def _drawn(one: KeptList, number: int, num_draws: int, seed: int) -> NDArray[np.float64]:
    """Return how many facts are left [draws] after random choices, seeded by the list's number."""
    rng = np.random.default_rng([seed, number])
    cells = max(1, len(one.facts) * len(frozenset().union(*one.facts)))
    found, step = [], max(1, CELLS_AT_ONCE // cells)
    for start in range(0, num_draws, step):
        num = min(step, num_draws - start)
        masks = random_masks(one.kept, forced=one.forced, num_draws=num, rng=rng)
        found.append(_num_left(one, masks))
    return np.concatenate(found)


def _num_left(one: KeptList, masks: Mask) -> NDArray[np.float64]:
    """Return how many facts the kept items of each mask [M, N] hold, as [M]."""
    place = {name: i for i, name in enumerate(sorted(frozenset().union(*one.facts)))}
    shows = np.zeros((len(one.facts), len(place)), dtype=np.float32)
    for item, names in enumerate(one.facts):
        shows[item, [place[name] for name in names]] = 1.0
    still = (masks.astype(np.float32) @ shows) > 0
    num_left: NDArray[np.float64] = still.sum(axis=1).astype(np.float64)
    return num_left
