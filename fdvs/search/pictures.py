"""The pictures of a library as vectors in a space where queries can be placed too.

One unit vector a clip, made by a build from its kept pictures. Read from the store each time; a
half-built library simply has fewer. Knows no model: whoever asks brings the placed query.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fdvs.protocols import PictureMatcher
from fdvs.store.store import Store
from fdvs.types import Vectors

log = logging.getLogger(__name__)

ClipKey = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Looks:
    """`keys` are (video_id, clip index), one for each row of `vectors` [num_clips, E]."""

    keys: tuple[ClipKey, ...]
    vectors: Vectors

    @classmethod
    def load(cls, store: Store) -> Looks:
        """Read the picture vectors of all clips; rows of another length than most are left out."""
        found: dict[ClipKey, Vectors] = {}
        with store.reading():
            for video in store.videos():
                for item, artifact in store.get_all(video.video_id, "look").items():
                    if artifact.vectors is not None:
                        found[(video.video_id, item)] = artifact.vectors[0]
        sizes = Counter(len(row) for row in found.values())
        num_dims = sizes.most_common(1)[0][0] if sizes else 1
        kept = {key: row for key, row in found.items() if len(row) == num_dims}
        if len(kept) < len(found):
            log.warning("%d clips look back to another build; build again", len(found) - len(kept))
        rows = np.array(list(kept.values()), dtype=np.float32)
        return cls(tuple(kept), rows.reshape(len(kept), num_dims))

    def similar(
        self, query: Vectors, *, min_score: float, video_id: str | None = None
    ) -> dict[ClipKey, float]:
        """Return key -> cosine of every clip with cosine >= `min_score`; none if sizes differ."""
        if not self.keys or query.shape[-1] != self.vectors.shape[1]:
            return {}
        cosines = self.vectors @ query.reshape(-1)
        return {
            key: round(float(cosine), 6)
            for key, cosine in zip(self.keys, cosines, strict=True)
            if cosine >= min_score and video_id in (None, key[0])
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A library's looks together with what places a query among them."""

    looks: Looks
    matcher: PictureMatcher

    def find(self, query: str, *, video_id: str | None = None) -> dict[ClipKey, float]:
        """Return (video_id, clip) -> cosine of the clips that look like a query."""
        placed = self.matcher.place_query(query)
        return self.looks.similar(placed, min_score=self.matcher.min_score, video_id=video_id)
