"""What many videos say: against it, what one video says is telling or not.

Takes the passages of some videos, gives in how many of them each word is said, and a sample of the
passages with their vectors. No question and no answer is looked at.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from fdvs.answering.material import Passage
from fdvs.bm25 import stems
from fdvs.protocols import TextEmbedder
from fdvs.vectors import Doubles, unit_rows

NUM_SAMPLED = 2000
# below so many passages of other videos, "the nearest of them" says nothing
MIN_SAMPLED = 200


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """Words and passages of `num_videos` videos.

    `num_with` counts the videos that say a stem; `rows` [B, D] are unit vectors of passages, and
    `video_ids` [B] say whose they are.
    """

    num_videos: int = 0
    num_with: Mapping[str, int] = field(default_factory=dict)
    rows: Doubles = field(default_factory=lambda: np.zeros((0, 0)))
    video_ids: tuple[str, ...] = ()

    def weight(self, stem: str) -> float:
        """Return a stem's idf, more than 0; every stem weighs the same where no video is known."""
        return math.log(1 + self.num_videos / (self.num_with.get(stem, 0) + 0.5)) or 1.0

    def rows_beside(self, video_ids: set[str]) -> Doubles:
        """Return the vectors of other videos' passages; none where there are too few to tell."""
        others = [place for place, owner in enumerate(self.video_ids) if owner not in video_ids]
        return self.rows[others if len(others) >= MIN_SAMPLED else []]


def make_background(passages: Sequence[Passage], embedder: TextEmbedder) -> Background:
    """Take in the passages of all videos at hand; embeds a sample of them, fixed by their hash."""
    texts: dict[str, list[str]] = {}
    for passage in passages:
        texts.setdefault(passage.video_id, []).append(passage.text)
    found = stems(" ".join(of_video) for of_video in texts.values())
    sample = sorted(passages, key=_mixed)[:NUM_SAMPLED]
    return Background(
        num_videos=len(texts),
        num_with=Counter(stem for of_video in found for stem in set(of_video)),
        rows=unit_rows(embedder.embed_texts([passage.text for passage in sample])),
        video_ids=tuple(passage.video_id for passage in sample),
    )


def _mixed(passage: Passage) -> tuple[bytes, int]:
    named = f"{passage.video_id} {passage.text}".encode()
    return hashlib.sha256(named).digest(), passage.chapter
