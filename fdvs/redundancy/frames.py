"""Visual redundancy: drop frames that a kept frame already represents (Sec. III-C of the paper).

The paper compares each frame with the clip's keyframe. The default policy compares all frames with
each other, so that a clip of two shots keeps a frame of each.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fdvs.config import RedundancyConfig
from fdvs.redundancy.cover import keep_cover
from fdvs.redundancy.rules import Mask, Scores, keep_mask, random_mask
from fdvs.types import Vectors
from fdvs.vectors import unit_rows


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
    return keep_mask(similarity_to_key(vectors), config)
