"""The texts of all levels of a library, with their vectors and words, ready to be searched.

Vectors and words are read from the store each time, into exact rows (`fdvs.search.rows`) and a
full-text table in memory. Files of them beside the store would be second copies that can be stale
or damaged, and would save little: a library of 100,000 chapters (278 h in clips of 10 s, 384
numbers each) loads in 6.5 s on two shared cores, of which the vectors take 2 s.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import CorruptLibrary, StoreError
from fdvs.fingerprint import digest
from fdvs.search.fulltext import FullText
from fdvs.search.rows import Rows
from fdvs.stopping import check_stop
from fdvs.store.store import Artifact, Store, VideoRecord
from fdvs.story.as_json import story_from_json
from fdvs.text.plain import plain_words
from fdvs.types import Level, Span, Story, Vectors
from fdvs.vectors import unit_rows

logger = logging.getLogger(__name__)

Key = tuple[str, str, int]  # video_id, level, item
Read = Callable[[str, str, int], Artifact | None]

SENTENCES = "sentence_vector"  # the stage of the vectors of a chapter's sentences
SCORE_DECIMALS = 6  # float32 sums differ in the seventh place with the batch; ties stay ties
STACK_CHUNK = 4096
LEVELS: tuple[Level, ...] = ("chapter", "scene", "story")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Span):
    """One text: a chapter (item = clip index), a scene (item = scene index) or a story (0)."""

    level: Level
    item: int
    text: str

    @property
    def key(self) -> Key:
        return (self.video_id, self.level, self.item)


@dataclass(frozen=True, slots=True, eq=False)
class _Text:
    """An entry and its vectors [rows, D]; None if they are not computed yet."""

    entry: Entry
    vectors: Vectors | None


class Index:
    """All texts of a library, as they were when the index was loaded.

    `entries` are ordered by level (chapter, scene, story), then video name, then item, which is
    time: a lower position wins a tie. They include the chapters that textual redundancy dropped,
    since what happens again can be searched for, too; `kept_clips` has the others, of each video
    that has a story (in `stories`). `read` reads a stored row from the thread that asks.
    """

    def __init__(
        self, texts: Sequence[_Text], stories: dict[str, Story], read: Read | None = None
    ) -> None:
        self._read = read
        self.entries = [text.entry for text in texts]
        self.stories = stories
        self.kept_clips = {
            video_id: frozenset(chapter.index for chapter in story.chapters)
            for video_id, story in stories.items()
        }
        self.full_text = FullText((text.entry.video_id, text.entry.text) for text in texts)
        self.num_dims = _common_dims(texts)
        self._positions, rows = _stack(texts, self.num_dims)
        self._vectors = Rows(rows)
        self._by_key = {entry.key: place for place, entry in enumerate(self.entries)}
        self._order = [(LEVELS.index(e.level), e.name, e.video_id) for e in self.entries]

    @classmethod
    def load(cls, store: Store, read: Read | None = None) -> Index:
        """Read all texts and vectors of a library.

        `read` returns a row (video_id, stage, item) later, from any thread; by default the store.
        A video with a damaged row is left out, with a warning. Raises StoreError where the
        database cannot be read.
        """
        with store.reading():
            stories: dict[str, Story] = {}
            texts: list[_Text] = []
            for video in store.videos():
                check_stop()
                texts += _texts_or_none(store, video, stories)
        texts.sort(key=lambda t: (LEVELS.index(t.entry.level), t.entry.name, t.entry.item))
        index = cls(texts, stories, read or store.get)
        logger.info("index: %d texts, %d vectors", len(texts), len(index._vectors))
        return index

    def sentence_vectors(self, entry: Entry, texts: Sequence[str]) -> Vectors | None:
        """Return the stored vectors [len(texts), D] of a chapter's sentences.

        None where there are none, as in libraries of older versions, or none of just these texts.
        """
        if self._read is None or entry.level != "chapter":
            return None
        try:
            stored = self._read(entry.video_id, SENTENCES, entry.item)
        except CorruptLibrary as error:
            logger.warning("%s; the sentences are embedded again", error)
            return None
        if stored is None or stored.vectors is None or stored.payload.get("of") != digest(texts):
            return None
        return stored.vectors if stored.vectors.shape == (len(texts), self.num_dims) else None

    def place(self, key: Key) -> int | None:
        """Return the position of an entry, or None if there is none of that key."""
        return self._by_key.get(key)

    def similar(
        self, query: Vectors, *, min_score: float, level: Level | None, video_id: str | None
    ) -> dict[int, float]:
        """Return position -> cosine of every entry with cosine >= `min_score`.

        Args:
            query: one vector [D] of the embedder of the stored ones.
            level: only this level; None for all.
            video_id: only this video.
        """
        unit = self._unit(query)
        best: dict[int, float] = {}
        for low, high in self._ranges(level, video_id):
            rows, scores = self._range_search(unit, low, high, min_score)
            for row, score in zip(rows, scores, strict=True):
                place = int(self._positions[row])
                cosine = round(float(score), SCORE_DECIMALS)
                if cosine >= min_score:
                    best[place] = max(cosine, best.get(place, -1.0))
        return best

    def cosine(self, query: Vectors, place: int) -> float | None:
        """Return the best cosine of one entry, None if it has no vector."""
        rows = self.vectors(place)
        if not len(rows):
            return None
        return round(float((rows @ self._unit(query)[0]).max()), SCORE_DECIMALS)

    def vectors(self, place: int) -> Vectors:
        """Return the unit vectors [rows, D] of one entry, which may have none."""
        low, high = np.searchsorted(self._positions, [place, place + 1])
        return self._vectors.part(int(low), int(high))

    def _unit(self, query: Vectors) -> Vectors:
        vector = np.asarray(query, dtype=np.float32).reshape(1, -1)
        if len(self._vectors) and vector.shape[1] != self.num_dims:
            raise StoreError(
                f"the library's vectors have {self.num_dims} numbers, the query's "
                f"{vector.shape[1]}: use the text embedder that it was built with, or build again"
            )
        return unit_rows(vector).astype(np.float32)

    def _ranges(self, level: Level | None, video_id: str | None) -> Iterator[tuple[int, int]]:
        """Yield half-open ranges of vector rows: those of a level and video are contiguous."""
        names = {e.video_id: e.name for e in self.entries} if video_id is not None else {}
        for number, one in enumerate(LEVELS):
            if level not in (None, one):
                continue
            if video_id is None:
                places = (
                    bisect_left(self._order, (number,)),
                    bisect_left(self._order, (number + 1,)),
                )
            else:
                start = (number, names.get(video_id, ""), video_id)
                places = bisect_left(self._order, start), bisect_left(self._order, (*start, ""))
            low, high = np.searchsorted(self._positions, places)
            if low < high:
                yield int(low), int(high)

    def _range_search(
        self, unit: Vectors, low: int, high: int, min_score: float
    ) -> tuple[NDArray[np.int64], Vectors]:
        # half a rounding step below lets ties in
        return self._vectors.above(unit, low, high, min_score - 10.0**-SCORE_DECIMALS)


def _plain(text: str) -> str:
    """Return text that SQLite and a terminal accept: lone surrogates become question marks."""
    return text.encode("utf-8", errors="replace").decode()


def _texts_or_none(store: Store, video: VideoRecord, stories: dict[str, Story]) -> list[_Text]:
    """Return the texts of a video, none if a row of it is damaged: the others can be searched."""
    try:
        return list(_texts_of(store, video, stories))
    except CorruptLibrary as error:
        stories.pop(video.video_id, None)
        logger.warning("%s is left out of searches: %s", video.name, error)
        return []


def _texts_of(store: Store, video: VideoRecord, stories: dict[str, Story]) -> Iterator[_Text]:
    """Yield the chapters of a video, and its scenes and story if they are written."""
    vectors = store.get_all(video.video_id, "chapter_vector")
    for item, artifact in store.get_all(video.video_id, "chapter").items():
        made = vectors.get(item)
        yield _Text(_chapter(video, item, artifact), None if made is None else made.vectors)
    stored = store.get(video.video_id, "story")
    if stored is not None:
        story = _story(video, stored)
        stories[video.video_id] = story
        yield from _story_texts(video, story, store.get(video.video_id, "story_vector"))


def _chapter(video: VideoRecord, item: int, artifact: Artifact) -> Entry:
    try:
        payload = artifact.payload
        start_s, end_s = float(payload["start_s"]), float(payload["end_s"])
        text = plain_words(_plain(str(payload["text"])))
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(video, f"chapter {item}", error) from error
    return Entry(
        video_id=video.video_id,
        name=video.name,
        level="chapter",
        item=item,
        start_s=start_s,
        end_s=end_s,
        text=text,
    )


def _story(video: VideoRecord, artifact: Artifact) -> Story:
    try:
        return story_from_json(artifact.payload)
    except CorruptLibrary as error:
        raise _damaged(video, "story", error) from error


def _damaged(video: VideoRecord, what: str, error: Exception) -> CorruptLibrary:
    return CorruptLibrary(
        f"{what} of {video.name} ({video.video_id}) cannot be read ({error!r}); "
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


def _common_dims(texts: Sequence[_Text]) -> int:
    """Return the length of most vectors: a build with another embedder may be unfinished."""
    counts = Counter(t.vectors.shape[1] for t in texts if t.vectors is not None)
    return counts.most_common(1)[0][0] if counts else 0


def _stack(texts: Sequence[_Text], num_dims: int) -> tuple[NDArray[np.int64], Vectors]:
    """Return unit vectors [rows, D] and the entry's position of each row."""
    with_vectors = [
        (place, text.vectors)
        for place, text in enumerate(texts)
        if text.vectors is not None and text.vectors.shape[1] == num_dims
    ]
    positions = [place for place, rows in with_vectors for _ in rows]
    stacked = np.empty((len(positions), num_dims), dtype=np.float32)
    filled = 0
    for start in range(0, len(with_vectors), STACK_CHUNK):  # doubles for a chunk at a time
        chunk = np.concatenate([rows for _, rows in with_vectors[start : start + STACK_CHUNK]])
        stacked[filled : filled + len(chunk)] = unit_rows(chunk)
        filled += len(chunk)
    num_other = len(texts) - len(with_vectors)
    if num_other:
        logger.warning(
            "index: %d of %d texts have no vector of length %d and are found by words alone; "
            "finish them with: fdvs build PATH",
            num_other,
            len(texts),
            num_dims,
        )
    return np.asarray(positions, dtype=np.int64), stacked
