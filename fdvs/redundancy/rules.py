"""Redundancy policies: drop near-duplicate frames of a clip and repetitive chapters of a video.

The default policy is `cover` (`fdvs.redundancy.cover`). The paper's (arXiv 2412.06182) drops what
is more similar than the mean: of frames to the clip's keyframe (Sec. III-C), of chapters to the
mean of a local memory of chapters (Sec. III-E). Taken literally, the item that all others are
compared with has the highest score and is always dropped, and about half of the items go however
varied they are. `random` is the control: it drops as many items as another policy.

Scores are rounded to 4 decimals and compared as whole numbers: ties and means are exact, and
float noise of another batch composition (about 1e-7) cannot decide between equal scores.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from fdvs.config import RedundancyConfig, TextualConfig
from fdvs.errors import BadModelOutput
from fdvs.redundancy.cover import STEPS_PER_UNIT, keep_cover
from fdvs.text.vocabulary import same_words
from fdvs.types import Mask, Scores, Vectors
from fdvs.vectors import unit_rows

Rule = TypeVar("Rule", bound=RedundancyConfig)

_TINY = 1e-9


def keep_frames(vectors: Vectors, config: RedundancyConfig, *, salt: str) -> Mask:
    """Return which frames [N] of one clip to keep; `salt` names the clip.

    The keyframe is always kept, except under `paper`. Under `cover` frames are compared with each
    other, not with the keyframe alone.
    """
    if config.policy == "random":
        like = keep_frames(vectors, replace(config, policy=config.like), salt=salt)
        return random_mask(like, config, keeps_first=config.like != "paper", salt=salt)
    if config.policy == "cover":
        return keep_cover(vectors, floor=config.floor)
    if config.policy == "none":
        return np.ones(len(vectors), dtype=np.bool_)
    return keep_below_mean(similarity_to_key(vectors))


def keep_chapters(
    vectors: Vectors,
    config: TextualConfig,
    *,
    salt: str,
    said: Sequence[Sequence[str]] = (),
) -> Mask:
    """Return which chapters [N] of one video to keep; `salt` names the video.

    The first chapter is always kept, except under `paper`. Under `cover` the memory reaches both
    ways: a chapter that a later one represents may be dropped, too, unless it holds a sentence of
    `said` (those of each chapter) that no earlier one holds. Pictures that are alike do not make
    different words redundant.
    """
    if config.policy == "random":
        by_rule = replace(config, policy=config.like)
        like = keep_chapters(vectors, by_rule, salt=salt, said=said)
        return random_mask(like, config, keeps_first=config.like != "paper", salt=salt)
    if config.policy == "cover":
        forced = (0, *with_new_sentences(said)) if len(vectors) else ()
        return keep_cover(vectors, floor=config.floor, reach=config.memory, forced=forced)
    if config.policy == "none":
        return np.ones(len(vectors), dtype=np.bool_)
    return keep_below_mean(similarity_to_memory(vectors, memory=config.memory, include_self=True))


def with_new_sentences(said: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of those lists that hold a sentence whose words no earlier list holds."""
    known: set[str] = set()
    found: list[int] = []
    for place, sentences in enumerate(said):
        words = {same_words(sentence) for sentence in sentences} - {""}
        if words - known:
            found.append(place)
        known |= words
    return found


def similarity_to_key(vectors: Vectors) -> Scores:
    """Return the cosine [N] of each frame's embedding to row 0, the keyframe (Eq. 2).

    A vector of zeros has similarity 0 to everything. Raises BadModelOutput if a value is not
    finite.
    """
    rows = unit_rows(vectors)
    if not len(rows):
        return np.zeros(0, dtype=np.float32)
    scores: Scores = np.clip(rows @ rows[0], -1.0, 1.0).astype(np.float32)
    return scores


def similarity_to_memory(vectors: Vectors, *, memory: int, include_self: bool = False) -> Scores:
    """Return the cosine [N] of each chapter's embedding to the mean of its memory.

    The memory of chapter i is the previous `memory` chapters, fewer where there are fewer; with
    `include_self` chapter i belongs to it (the paper's sum j = i-l ... i, of l + 1 terms). A
    chapter without memory, and one whose memory cancels out, has similarity 0.

    Cost: O(N D) by running sums. Raises BadModelOutput where a value is not finite.
    """
    if memory < 1:
        raise ValueError(f"memory is {memory}; need at least 1 chapter")
    rows_ND = unit_rows(vectors)
    num_rows = len(rows_ND)
    sums_ND = np.concatenate([np.zeros((1, rows_ND.shape[1])), np.cumsum(rows_ND, axis=0)])
    here = np.arange(num_rows)
    until = here + 1 if include_self else here
    # the direction of the sum is that of the mean: the cosine needs no division by its length
    memory_ND = sums_ND[until] - sums_ND[np.maximum(here - memory, 0)]
    norms = np.linalg.norm(memory_ND, axis=1)
    dots = np.einsum("nd,nd->n", rows_ND, memory_ND)
    cosines = np.divide(dots, norms, out=np.zeros(num_rows), where=norms > _TINY)
    scores: Scores = np.clip(cosines, -1.0, 1.0).astype(np.float32)
    return scores


def keep_below_mean(scores: Scores) -> Mask:
    """Return which items [N] have a score of at most the mean: the policy of the paper.

    `scores` are similarities [N] to what the items are compared with. Raises BadModelOutput if one
    is not finite.
    """
    if scores.ndim != 1:
        raise ValueError(f"scores have shape {scores.shape}; need [N]")
    if not np.isfinite(scores).all():
        raise BadModelOutput("a similarity score is not finite; check the embedder's number type")
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
