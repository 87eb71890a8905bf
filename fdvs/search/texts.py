"""Read the texts of all levels out of a store, video by video, into columns.

A video with a damaged row is left out as a whole, with a warning: the others can be searched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fdvs.errors import CorruptLibrary
from fdvs.search.columns import Columns, ColumnWriter, Entry
from fdvs.stopping import check_stop
from fdvs.store.store import Artifact, Store, VideoRecord
from fdvs.story.as_json import story_from_json
from fdvs.text.plain import plain_words
from fdvs.types import Story, Vectors

LOOK = "look"  # the stage of a clip's vector for visual search

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """An entry and its vectors [rows, D], None if they are not computed yet; whether it is kept."""

    entry: Entry
    vectors: Vectors | None
    is_kept: bool = True


def read_columns(store: Store) -> Columns:
    """Read all texts and vectors of a library, in the caller's view of it."""
    writer = ColumnWriter(store.folder)
    for video in store.videos():
        check_stop()
        story, texts = _texts_or_none(store, video)
        writer.add_video(video.video_id, video.name, has_story=story is not None)
        for text in texts:
            writer.add_text(text.entry, text.vectors, is_kept=text.is_kept)
        for item, artifact in _looks(store, video).items():
            if artifact.vectors is not None and len(artifact.vectors):
                writer.add_look(item, artifact.vectors[0])
    columns = writer.finish()
    num_bare = len(columns.items) - len(np.unique(columns.positions))
    if num_bare:
        logger.warning(
            "index: %d of %d texts have no vector of length %d and are found by words alone; "
            "finish them with: fdvs build PATH",
            num_bare,
            len(columns.items),
            columns.vectors.shape[1],
        )
    return columns


def _texts_or_none(store: Store, video: VideoRecord) -> tuple[Story | None, list[_Text]]:
    try:
        return _texts_of(store, video)
    except CorruptLibrary as error:
        logger.warning("%s is left out of searches: %s", video.name, error)
        return None, []


def _texts_of(store: Store, video: VideoRecord) -> tuple[Story | None, list[_Text]]:
    """Return the story of a video, if it is written, and its chapters, scenes and story."""
    stored = store.get(video.video_id, "story")
    story = None if stored is None else read_story(video.name, video.video_id, stored)
    kept = None if story is None else {chapter.index for chapter in story.chapters}
    vectors = store.get_all(video.video_id, "chapter_vector")
    texts = []
    for item, artifact in store.get_all(video.video_id, "chapter").items():
        made = vectors.get(item)
        rows = None if made is None else made.vectors
        is_kept = kept is None or item in kept
        texts.append(_Text(_chapter(video, item, artifact), rows, is_kept))
    if story is not None:
        of_story = _story_texts(video, story, store.get(video.video_id, "story_vector"))
        texts += sorted(of_story, key=lambda text: text.entry.item)
    return story, texts


def _chapter(video: VideoRecord, item: int, artifact: Artifact) -> Entry:
    try:
        payload = artifact.payload
        start_s, end_s = float(payload["start_s"]), float(payload["end_s"])
        text = plain_words(_plain(str(payload["text"])))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(video.name, video.video_id, f"chapter {item}", error) from error
    return Entry(
        video_id=video.video_id,
        name=video.name,
        level="chapter",
        item=item,
        start_s=start_s,
        end_s=end_s,
        text=text,
    )


def read_story(name: str, video_id: str, artifact: Artifact) -> Story:
    """Return a stored story. Raises CorruptLibrary, with the remedy."""
    try:
        return story_from_json(artifact.payload)
    except CorruptLibrary as error:
        raise _damaged(name, video_id, "story", error) from error


def _damaged(name: str, video_id: str, what: str, error: Exception) -> CorruptLibrary:
    return CorruptLibrary(
        f"{what} of {name} ({video_id}) cannot be read ({error!r}); "
        "remove the video with `fdvs remove` and build it again"
    )


def _story_texts(video: VideoRecord, story: Story, stored: Artifact | None) -> Iterator[_Text]:
    """Yield story and scenes; the stored rows are those of the story, then one per scene."""
    rows = None if stored is None else stored.vectors
    num_scenes = len(story.scenes)
    if rows is not None and len(rows) <= num_scenes:
        raise CorruptLibrary(
            f"{video.name} ({video.video_id}) has {num_scenes} scenes and a story but "
            f"{len(rows)} vectors; build it again: fdvs build PATH"
        )
    num_story = 0 if rows is None else len(rows) - num_scenes
    whole = (0, 0.0, story.duration_s, story.text)
    scenes = [(scene.index, scene.start_s, scene.end_s, scene.text) for scene in story.scenes]
    for number, (item, start_s, end_s, text) in enumerate([whole, *scenes]):
        entry = Entry(
            video_id=video.video_id,
            name=video.name,
            level="scene" if number else "story",
            item=item,
            start_s=start_s,
            end_s=end_s,
            text=_plain(text),
        )
        first = num_story + number - 1 if number else 0
        num = 1 if number else num_story
        yield _Text(entry, None if rows is None else rows[first : first + num])


def _looks(store: Store, video: VideoRecord) -> dict[int, Artifact]:
    """Return the stored vectors of a video's clips, none if one of them is damaged."""
    try:
        return store.get_all(video.video_id, LOOK)
    except CorruptLibrary as error:
        logger.warning("%s is left out of visual search: %s", video.name, error)
        return {}


def _plain(text: str) -> str:
    """Return text that SQLite and a terminal accept: lone surrogates become question marks."""
    return text.encode("utf-8", errors="replace").decode()
