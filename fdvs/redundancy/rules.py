"""Which items of a list are redundant, from one similarity score each: the rules, free of models.

The paper (arXiv 2412.06182, Sec. III-C and III-E) drops what is more similar than the mean. Taken
by the letter, the item that all others are compared with has the highest score and is always
dropped, and about half of everything goes however varied it is. `repaired` mends that, and does no
better than chance on some captions; our default is `cover`
(`fdvs.redundancy.cover`), which compares items with each other. All stay
selectable, beside a random control of the same size.

Scores are rounded to 4 decimals and compared as whole numbers: ties and means are exact, and
the float noise of another batch composition (about 1e-7) cannot decide between equal scores. Noise
matters only to a score that lies within it of a rounding step (one in about 500) and is then
also within one step of the bound.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.config import RedundancyConfig, TextualConfig
from fdvs.errors import BadModelOutput

STEPS_PER_UNIT = 10_000

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]
Steps = NDArray[np.int64]
Rule = TypeVar("Rule", bound=RedundancyConfig)


def keep_mask(
    scores: Scores,
    config: RedundancyConfig,
    *,
    forced: Sequence[int] = (0,),
    in_mean: Mask | None = None,
) -> Mask:
    """Return which of the items [N] to keep.

    Policies:
        repaired: drop what is identical (score >= `identical`), and what is above the mean and
            not below `floor`; what is unlike in absolute terms is never called redundant.
        paper: drop what is above the mean of all scores; `forced` and `in_mean` do not count.
        threshold: drop what is not below `threshold`.
        none: keep all.

    `cover` needs more than one score an item: see `fdvs.redundancy.cover`. `random` is drawn like
    the mask of another rule: see `random_mask`.

    Args:
        scores: similarity [N] of each item to what it is compared with.
        config: the policy and its bounds.
        forced: items that are kept and left out of the mean (not in `paper`).
        in_mean: which other items count in the mean; None means all.

    Raises BadModelOutput where a score is not finite, IndexError where `forced` is out of range,
    ValueError for the policies that need more than scores.
    """
    steps = _steps(scores)
    must = np.zeros(len(steps), dtype=np.bool_)
    if len(steps):
        must[list(forced)] = True
    if config.policy in ("cover", "random"):
        raise ValueError(
            f"policy {config.policy} needs more than one score an item; use keep_frames of "
            "fdvs.redundancy.frames, keep_chapters of fdvs.redundancy.chapters, or "
            "fdvs.redundancy.cover.keep_cover"
        )
    if config.policy == "none":
        return np.ones(len(steps), dtype=np.bool_)
    if config.policy == "paper":
        return ~_above_mean(steps, np.ones_like(must))
    if config.policy == "threshold":
        return must | (steps < _step(config.threshold))
    counted = ~must if in_mean is None else ~must & in_mean
    return must | ~_redundant(steps, counted, config)


def rule_label(config: RedundancyConfig) -> str:
    """Return a rule in words, with the bounds that count: "cover, floor 0.95"."""
    bounds = {
        "cover": f", floor {config.floor:g}",
        "repaired": f", floor {config.floor:g}, identical {config.identical:g}",
        "threshold": f" {config.threshold:g}",
    }
    label = f"{config.rule}{bounds.get(config.rule, '')}"
    return f"random, as many as {label}" if config.policy == "random" else label


def as_repaired(config: Rule) -> Rule:
    """Return the settings with policy repaired, at the bounds that it was measured with.

    Source: docs/decisions/004; they differ for frames and for chapters.
    """
    floor, identical = (0.84, 0.995) if isinstance(config, TextualConfig) else (0.9, 0.95)
    return replace(config, policy="repaired", floor=floor, identical=identical)


def random_mask(like: Mask, config: RedundancyConfig, *, keeps_first: bool, salt: str) -> Mask:
    """Return a random mask [N] that keeps as many items as `like`: the control of any rule.

    `salt` names the list (a clip, a video), so that the choice differs between lists.
    """
    free = np.ones(len(like), dtype=np.bool_)
    free[: 1 if keeps_first else 0] = False
    return ~_random_drop(free, int((~like).sum()), f"{config.seed}|{salt}")


def _step(score: float) -> int:
    return round(score * STEPS_PER_UNIT)


def _steps(scores: Scores) -> Steps:
    """Return the scores as whole numbers of 1e-4."""
    if scores.ndim != 1:
        raise ValueError(f"scores have shape {scores.shape}; need [N]")
    if not np.isfinite(scores).all():
        raise BadModelOutput("a similarity score is not finite; check the embedder's number type")
    steps: Steps = np.rint(scores.astype(np.float64) * STEPS_PER_UNIT).astype(np.int64)
    return steps


def _above_mean(steps: Steps, counted: Mask) -> Mask:
    """Return where step > mean of the counted steps, in whole numbers; none counted: nowhere."""
    above: Mask = steps * int(counted.sum()) > int(steps[counted].sum())
    return above


def _redundant(steps: Steps, counted: Mask, config: RedundancyConfig) -> Mask:
    above: Mask = _above_mean(steps, counted) & (steps >= _step(config.floor))
    return above | (steps >= _step(config.identical))


def _random_drop(free: Mask, num_drop: int, key: str) -> Mask:
    """Return `num_drop` of the free items, those whose keyed hashes come first.

    Hashes instead of a generator: the same choice with every version of every library.
    """

    def rank(item: int) -> bytes:
        return hashlib.sha256(f"{key}|{item}".encode()).digest()

    drop = np.zeros(len(free), dtype=np.bool_)
    drop[sorted(np.flatnonzero(free).tolist(), key=rank)[:num_drop]] = True
    return drop
