"""Redundancy policies that need one similarity score per item, and the random control.

The paper (arXiv 2412.06182, Sec. III-C and III-E) drops what is more similar than the mean. Taken
literally, the item that all others are compared with has the highest score and is always dropped,
and about half of the items go however varied they are. So the default is `cover`
(`fdvs.redundancy.cover`), which compares items with each other.

Scores are rounded to 4 decimals and compared as whole numbers: ties and means are exact, and
float noise of another batch composition (about 1e-7) cannot decide between equal scores.
"""

from __future__ import annotations

import hashlib
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.config import RedundancyConfig
from fdvs.errors import BadModelOutput

STEPS_PER_UNIT = 10_000

Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]
Rule = TypeVar("Rule", bound=RedundancyConfig)


def keep_mask(scores: Scores, config: RedundancyConfig) -> Mask:
    """Return which items [N] policy `paper` (score <= mean of all scores) or `none` (all) keeps.

    Args:
        scores: similarity [N] of each item to what it is compared with.
        config: its policy; `cover` and `random` need more than scores.

    Raises BadModelOutput if a score is not finite, ValueError for the other policies.
    """
    if scores.ndim != 1:
        raise ValueError(f"scores have shape {scores.shape}; need [N]")
    if not np.isfinite(scores).all():
        raise BadModelOutput("a similarity score is not finite; check the embedder's number type")
    if config.policy == "none":
        return np.ones(len(scores), dtype=np.bool_)
    if config.policy != "paper":
        raise ValueError(
            f"policy {config.policy} needs more than one score an item; use keep_frames of "
            "fdvs.redundancy.frames, keep_chapters of fdvs.redundancy.chapters, or "
            "fdvs.redundancy.cover.keep_cover"
        )
    steps = np.rint(scores.astype(np.float64) * STEPS_PER_UNIT).astype(np.int64)
    keep: Mask = steps * len(steps) <= steps.sum()
    return keep


def rule_label(config: RedundancyConfig) -> str:
    """Return a rule in words, with the bound that it uses: "cover, floor 0.95"."""
    label = f"cover, floor {config.floor:g}" if config.rule == "cover" else config.rule
    return f"random, as many as {label}" if config.policy == "random" else label


def random_mask(like: Mask, config: RedundancyConfig, *, keeps_first: bool, salt: str) -> Mask:
    """Return a random mask [N] that keeps as many items as `like`: the control of any rule.

    `salt` names the list (a clip, a video), so that the choice differs between lists. Items are
    drawn by keyed hashes instead of a generator: the same with every version of every library.
    """

    def rank(item: int) -> bytes:
        return hashlib.sha256(f"{config.seed}|{salt}|{item}".encode()).digest()

    free = range(1 if keeps_first else 0, len(like))
    keep = np.ones(len(like), dtype=np.bool_)
    keep[sorted(free, key=rank)[: int((~like).sum())]] = False
    return keep
