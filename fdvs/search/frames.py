"""Search by an example picture: the clips with a stored frame that looks like it.

The picture is embedded by the encoder of the library's frames, and compared with every frame that
a build sampled (not only those that redundancy kept). The frames' vectors are read video by video
and not kept: a library of 100,000 clips has gigabytes of them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np

from fdvs.errors import CorruptLibrary, StoreError
from fdvs.search.filters import Filters
from fdvs.search.index import Index
from fdvs.search.ranking import NO_VECTOR, Match, Matches
from fdvs.stopping import check_stop
from fdvs.store.store import Store
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

FRAMES = "frames"  # the stage of the sampled frames' vectors
DECIMALS = 6
MIN_SCORE = 0.73  # the least cosine of a hit, measured in docs/decisions/028-search.md

logger = logging.getLogger(__name__)


def picture_matches(
    index: Index, store: Store, vector: Vectors, *, min_score: float, filters: Filters
) -> Matches:
    """Return the chapters whose frames are near to a picture, in the index's order.

    Args:
        vector: the picture's embedding [D], by the encoder of the stored frames.
        min_score: the least cosine of a clip's nearest frame.

    Raises StoreError where no stored frame has a vector of this length.
    """
    if filters.sources and "pictures" not in filters.sources:
        return Matches.of([])
    found: dict[int, float] = {}
    num_clips = 0
    for video_id in _videos(store, filters):
        check_stop()
        for clip, rows in _frames(store, video_id):
            if rows.shape[1] != vector.size:
                continue
            num_clips += 1
            place = index.place((video_id, "chapter", clip))
            score = round(float((unit_rows(rows) @ vector.reshape(-1)).max()), DECIMALS)
            if place is not None and score >= min_score:
                found[place] = score
    if not num_clips and len(index.entries):
        raise StoreError(
            "the library holds no vectors of frames by this picture encoder; build again with the "
            "settings in use: fdvs build PATH"
        )
    matches = Matches.of([_match(place, found[place]) for place in sorted(found)])
    return matches.only(filters.keeps(index, matches))


def _videos(store: Store, filters: Filters) -> Iterator[str]:
    for record in store.videos():
        if filters.video_ids is None or record.video_id in filters.video_ids:
            yield record.video_id


def _frames(store: Store, video_id: str) -> Iterator[tuple[int, Vectors]]:
    """Yield the clips of a video with the vectors [num_frames, D] of their frames."""
    try:
        rows = store.get_all(video_id, FRAMES)
    except CorruptLibrary as error:
        logger.warning("the pictures of a video are left out: %s", error)
        return
    for clip, artifact in rows.items():
        if artifact.vectors is not None and len(artifact.vectors):
            yield clip, artifact.vectors


def _match(place: int, score: float) -> Match:
    """Return a match by its picture alone: nothing was asked about texts."""
    return Match(
        place=place, cosine=NO_VECTOR, by_meaning=False, words=None, holds_all=False,
        picture=float(np.clip(score, -1.0, 1.0)),
    )  # fmt: skip
