"""The service behind `Library.search`: filters by name, what each source says, where files are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from fdvs.config import Config, SearchConfig
from fdvs.errors import CorruptLibrary, InvalidValue, StoreError
from fdvs.media.pictures import decode_picture, picture_bytes
from fdvs.pipelines.build.tracks import give_to_clips
from fdvs.pipelines.made_by import PICTURES
from fdvs.pipelines.model_set import ModelSet
from fdvs.protocols import TextEmbedder
from fdvs.search.filters import Filters, SourceTexts
from fdvs.search.frames import MIN_SCORE, picture_matches
from fdvs.search.index import Entry, Index
from fdvs.search.moments import moments_like, search_moments, search_videos
from fdvs.search.pictures import PictureSearch
from fdvs.store.meta import get_meta
from fdvs.store.store import Store
from fdvs.story.observations import arrange
from fdvs.types import Clip, Moment, Observation, VideoHit
from fdvs.vectors import unit_rows

IMAGE = "image_embedder"
SEEN, HEARD = "see:", "track:"  # what the stages of clips and of whole tracks begin with

logger = logging.getLogger(__name__)

Found = TypeVar("Found", Moment, VideoHit)
SaidOfVideos = dict[str, dict[int, Mapping[str, str]]]  # texts by source, by video and clip


def filters_of(
    store: Store,
    *,
    videos: Collection[str] = (),
    start_s: float = 0.0,
    end_s: float | None = None,
    matched_by: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> Filters:
    """Return filters with videos by name or id. Raises NotFound, InvalidValue, UnknownName."""
    ids = frozenset(store.find_video(one).video_id for one in videos)
    return Filters(
        video_ids=ids or None,
        start_s=start_s,
        end_s=float("inf") if end_s is None else end_s,
        ways=tuple(matched_by),
        sources=tuple(sources),
    )


def with_paths(found: Sequence[Found], store_of: Callable[[str], Store]) -> list[Found]:
    """Return hits with the paths of their files; `store_of` returns the store of a video."""
    stores = {store_of(one.video_id) for one in found}
    paths = {
        (store, record.video_id): str(record.path) for store in stores for record in store.videos()
    }
    return [
        replace(one, path=paths.get((store_of(one.video_id), one.video_id), "")) for one in found
    ]


def texts_by_source(store: Store, said: SaidOfVideos) -> SourceTexts:
    """Return what gives a chapter's texts by source; `said` keeps those of each video asked for."""

    def texts_of(entry: Entry) -> Mapping[str, str]:
        if entry.video_id not in said:
            said[entry.video_id] = said_by_source(store, entry.video_id)
        return said[entry.video_id].get(entry.item, {})

    return texts_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which hits are wanted: `num` after the first `offset`; `nearest`: whatever comes nearest."""

    num: int | None = None
    offset: int = 0
    nearest: bool = False


@dataclass(frozen=True, kw_only=True)
class Finder:
    """One library's search, as it is while its index stays loaded.

    `embedder` and `pictures` load what a query needs; `said` keeps what the sources of a video
    say, once a search was limited to one of them.
    """

    index: Index
    models: ModelSet
    config: Config
    embedder: Callable[[], TextEmbedder]
    pictures: Callable[[], PictureSearch | None]
    said: SaidOfVideos = field(default_factory=dict)

    def moments(
        self, query: str, store: Store, min_score: float | None, filters: Filters, page: Page
    ) -> list[Moment]:
        """Return moments, see `fdvs.search.moments.search_moments`."""
        found = search_moments(
            self.index, query, self.embedder(), self._bounded(min_score), filters=filters,
            num=page.num, offset=page.offset, nearest=page.nearest, pictures=self.pictures(),
            texts_of=texts_by_source(store, self.said),
        )  # fmt: skip
        return with_paths(found, lambda _: store)

    def videos(
        self, query: str, store: Store, min_score: float | None, page: Page
    ) -> list[VideoHit]:
        """Return videos, see `fdvs.search.moments.search_videos`."""
        found = search_videos(
            self.index, query, self.embedder(), self._bounded(min_score), num=page.num,
            offset=page.offset, nearest=page.nearest, pictures=self.pictures(),
        )  # fmt: skip
        return with_paths(found, lambda _: store)

    def like(
        self, image: str | Path | bytes, query: str, store: Store, min_score: float | None,
        filters: Filters, page: Page,
    ) -> list[Moment]:  # fmt: skip
        """Return moments that look like a picture, see `fdvs.search.frames`.

        Raises InvalidValue for what is no picture, and beside a query; StoreError where another
        encoder made the library's vectors.
        """
        if query:
            raise InvalidValue("query", query[:40], "none beside an example picture")
        check_encoder(store, self.models.fingerprint(IMAGE), self.models.identity(IMAGE).label())
        data = image if isinstance(image, bytes) else picture_bytes(image)
        picture = decode_picture(data, short_side_px=self.config.sample.short_side_px)
        vector = unit_rows(self.models.image_embedder.embed_images([picture]))[0]
        bound = MIN_SCORE if min_score is None else min_score
        matches = picture_matches(
            self.index, store, vector.astype(np.float32), filters=filters,
            min_score=-1.0 if page.nearest else bound,
        )  # fmt: skip
        found = moments_like(
            self.index, matches, self.config.search, num=page.num, offset=page.offset
        )
        return with_paths(found, lambda _: store)

    def _bounded(self, min_score: float | None) -> SearchConfig:
        search = self.config.search
        return search if min_score is None else replace(search, min_score=min_score)


def check_encoder(store: Store, fingerprint: str, label: str) -> None:
    """Raise StoreError unless this picture encoder made the vectors of the library's frames."""
    built = get_meta(store, PICTURES)
    if built is not None and built.get(IMAGE) != fingerprint:
        raise StoreError(
            f"the vectors of the library's frames were made by another picture encoder than "
            f"{label}; use the settings that it was built with, or build again: fdvs build PATH"
        )


def said_by_source(store: Store, video_id: str) -> dict[int, Mapping[str, str]]:
    """Return clip -> source -> what it says there, by the names of observations.

    A damaged row counts as silence, with a warning.
    """
    given: dict[int, list[Observation]] = {}
    try:
        with store.reading():
            clips = [
                Clip(video_id=video_id, index=item, start_s=one.payload["start_s"],
                     end_s=one.payload["end_s"])
                for item, one in store.get_all(video_id, "chapter").items()
            ]  # fmt: skip
            for stage in store.stages(video_id):
                for item, observations in _observed(store, video_id, stage, clips).items():
                    given.setdefault(item, []).extend(observations)
    except (CorruptLibrary, KeyError, TypeError, ValueError) as error:
        logger.warning("what the sources of %s say cannot be read: %s", video_id, error)
    return {item: _by_source(observations) for item, observations in given.items()}


def _observed(
    store: Store, video_id: str, stage: str, clips: Sequence[Clip]
) -> dict[int, list[Observation]]:
    """Return the observations of a stage by clip; none for a stage of something else."""
    if not stage.startswith((SEEN, HEARD)):
        return {}
    rows = store.get_all(video_id, stage)
    found = {
        item: [Observation(**one) for one in artifact.payload["observations"]]
        for item, artifact in rows.items()
    }
    if stage.startswith(SEEN) or not clips:
        return found
    heard = [one for observations in found.values() for one in observations]
    given = give_to_clips(heard, clips)
    return {clip.index: given[place] for place, clip in enumerate(clips)}


def _by_source(observations: Sequence[Observation]) -> Mapping[str, str]:
    """Return what each source says, in time order; nothing is left out because another says it."""
    texts: dict[str, list[str]] = {}
    for source in dict.fromkeys(one.source for one in observations):
        for one in arrange([o for o in observations if o.source == source]):
            texts.setdefault(one.source, []).append(one.text)
    return {source: " ".join(lines) for source, lines in texts.items()}
