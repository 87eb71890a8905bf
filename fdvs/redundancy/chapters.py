"""Textual redundancy: drop chapters that repeat a nearby one (Sec. III-E of the paper).

By default a chapter is dropped if a kept one, at most `memory` places away, represents it. The
paper compares with the mean of a local memory of chapters; as printed that includes the chapter
itself, which makes the first one (similarity 1) always redundant.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fdvs.config import TextualConfig
from fdvs.redundancy.cover import keep_cover
from fdvs.redundancy.rules import Mask, Scores, keep_mask, random_mask
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

_TINY = 1e-9


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


def keep_chapters(vectors: Vectors, config: TextualConfig, *, salt: str) -> Mask:
    """Return which chapters [N] of one video to keep; `salt` names the video.

    The first chapter is always kept, except under `paper`. Under `cover` the memory reaches both
    ways: a chapter that a later one represents may be dropped, too.
    """
    if config.policy == "random":
        like = keep_chapters(vectors, replace(config, policy=config.like), salt=salt)
        return random_mask(like, config, keeps_first=config.like != "paper", salt=salt)
    if config.policy == "cover":
        return keep_cover(vectors, floor=config.floor, reach=config.memory)
    return keep_mask(similarity_to_memory(vectors, memory=config.memory, include_self=True), config)
