"""Visual search: the pictures of a library as vectors that a text query can be compared with.

One unit vector per clip, computed by a build from its kept frames and read from the store each
time; a half-built library has fewer. The model that embeds the query is a `PictureMatcher`.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fdvs.errors import CorruptLibrary
from fdvs.protocols import PictureMatcher
from fdvs.store.store import Artifact, Store, VideoRecord
from fdvs.types import Vectors

logger = logging.getLogger(__name__)

ClipKey = tuple[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class PictureIndex:
    """Vectors [num_clips, E] of clips; `keys` has the (video_id, clip index) of each row."""

    keys: tuple[ClipKey, ...]
    vectors: Vectors

    @classmethod
    def load(cls, store: Store) -> PictureIndex:
        """Read the vectors of all clips; those that differ in length from most are left out."""
        found: dict[ClipKey, Vectors] = {}
        with store.reading():
            for video in store.videos():
                for item, artifact in _stored(store, video).items():
                    if artifact.vectors is not None:
                        found[(video.video_id, item)] = artifact.vectors[0]
        sizes = Counter(len(row) for row in found.values())
        num_dims = sizes.most_common(1)[0][0] if sizes else 1
        kept = {key: row for key, row in found.items() if len(row) == num_dims}
        if len(kept) < len(found):
            logger.warning(
                "the pictures of %d clips were embedded by another model and are left out; "
                "build again: fdvs build PATH",
                len(found) - len(kept),
            )
        rows = np.array(list(kept.values()), dtype=np.float32)
        return cls(tuple(kept), rows.reshape(len(kept), num_dims))

    def similar(
        self, query: Vectors, *, min_score: float, video_id: str | None = None
    ) -> dict[ClipKey, float]:
        """Return key -> cosine of every clip with cosine >= `min_score`.

        No clip matches a `query` [E] of another length.
        """
        if not self.keys or query.shape[-1] != self.vectors.shape[1]:
            return {}
        cosines = self.vectors @ query.reshape(-1)
        return {
            key: round(float(cosine), 6)
            for key, cosine in zip(self.keys, cosines, strict=True)
            if cosine >= min_score and video_id in (None, key[0])
        }


def _stored(store: Store, video: VideoRecord) -> dict[int, Artifact]:
    """Return the stored vectors of a video's clips, none if one of them is damaged."""
    try:
        return store.get_all(video.video_id, "look")
    except CorruptLibrary as error:
        logger.warning("%s is left out of visual search: %s", video.name, error)
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSearch:
    """A library's pictures together with the model that embeds a query among them."""

    index: PictureIndex
    matcher: PictureMatcher

    def find(self, query: str, *, video_id: str | None = None) -> dict[ClipKey, float]:
        """Return (video_id, clip index) -> cosine of the clips whose pictures match a query."""
        placed = self.matcher.place_query(query)
        return self.index.similar(placed, min_score=self.matcher.min_score, video_id=video_id)
