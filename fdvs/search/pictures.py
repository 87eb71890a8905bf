"""Visual search: the pictures of a library as vectors that a text query can be compared with.

One unit vector per clip, computed by a build from its kept frames; a half-built library has fewer.
The model that embeds the query is a `PictureMatcher`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fdvs.protocols import PictureMatcher
from fdvs.search.columns import Columns, Places
from fdvs.search.fulltext import Hits
from fdvs.search.near import Rows
from fdvs.search.texts import read_columns
from fdvs.store.store import Store
from fdvs.types import Vectors
from fdvs.vectors import Doubles, rounded

logger = logging.getLogger(__name__)

ClipKey = tuple[str, int]


class PictureIndex:
    """The looks of an index's columns: vectors [num_clips, E] of clips."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self.vectors = columns.looks
        self._rows = Rows(columns.looks, columns.look_levels)
        if columns.num_looks_left_out:
            logger.warning(
                "the pictures of %d clips were embedded by another model and are left out; "
                "build again: fdvs build PATH",
                columns.num_looks_left_out,
            )

    @classmethod
    def load(cls, store: Store) -> PictureIndex:
        """Read the vectors of all clips; those that differ in length from most are left out."""
        with store.reading():
            return cls(read_columns(store))

    def near(
        self, query: Vectors, *, min_score: float, video_id: str | None = None
    ) -> tuple[Places, Doubles]:
        """Return the rows of clips with cosine >= `min_score`, rising, and the cosines.

        No clip matches a `query` [E] of another length.
        """
        if not len(self.vectors) or query.shape[-1] != self.vectors.shape[1]:
            return np.zeros(0, np.int64), np.zeros(0)
        low, high = 0, len(self.vectors)
        if video_id is not None:
            ids = self._columns.video_ids
            number = ids.index(video_id) if video_id in ids else -1
            low, high = np.searchsorted(self._columns.look_videos, [number, number + 1])
        below = float(np.nextafter(np.float32(min_score), np.float32(-np.inf)))
        flat = query.reshape(-1).astype(np.float32)
        rows, cosines = self._rows.above(flat, below, int(low), int(high))
        return rows, rounded(cosines)

    def similar(
        self, query: Vectors, *, min_score: float, video_id: str | None = None
    ) -> dict[ClipKey, float]:
        """Return (video_id, clip index) -> cosine of every clip with cosine >= `min_score`."""
        rows, cosines = self.near(query, min_score=min_score, video_id=video_id)
        return {
            self.key(row): cosine
            for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True)
        }

    def key(self, row: int) -> ClipKey:
        """Return the video id and the clip index of a row of `vectors`."""
        columns = self._columns
        return columns.video_ids[columns.look_videos[row]], int(columns.look_items[row])

    @cached_property
    def places(self) -> Places:
        """The position of each row's chapter in the index, -1 where it has none."""
        columns = self._columns
        low, high = columns.level_range("chapter")
        chapters = _numbered(columns.videos[low:high], columns.items[low:high])
        looks = _numbered(columns.look_videos, columns.look_items)
        if not len(chapters):
            return np.full(len(looks), -1)
        at = np.minimum(np.searchsorted(chapters, looks), len(chapters) - 1)
        return np.where(chapters[at] == looks, at + low, -1)


def _numbered(videos: NDArray[np.int32], items: Places) -> Places:
    """Return one number per clip, rising with video and clip."""
    return (videos.astype(np.int64) << 40) + np.minimum(items, (1 << 40) - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSearch:
    """A library's pictures together with the model that embeds a query among them."""

    index: PictureIndex
    matcher: PictureMatcher

    def hits(self, query: str, *, video_id: str | None = None) -> Hits:
        """Return the chapters whose pictures match a query, with the cosine of the pictures."""
        placed = self.matcher.place_query(query)
        rows, cosines = self.index.near(placed, min_score=self.matcher.min_score, video_id=video_id)
        places = self.index.places[rows]
        known = places >= 0
        return Hits(places=places[known], scores=cosines[known])
