"""The texts of all levels of a library, with their vectors and words, ready to be searched.

A small library is read from the store each time; the index of a large one lies in a file beside it
(`fdvs.search.snapshot`). Vectors are searched exactly, over the rows of the level and video in
question (`fdvs.search.near`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import cast

import numpy as np

from fdvs.errors import CorruptLibrary, StoreError
from fdvs.fingerprint import digest
from fdvs.search import snapshot
from fdvs.search.columns import LEVELS, Columns, Entries, Entry, Key, Places
from fdvs.search.fulltext import FullText, WordSearch
from fdvs.search.near import Rows
from fdvs.search.texts import read_columns, read_story
from fdvs.search.word_table import WordTable
from fdvs.store.store import Artifact, Store
from fdvs.types import Level, Story, Vectors
from fdvs.vectors import SCORE_DECIMALS, Doubles, rounded, unit_rows

__all__ = ["Entry", "Index", "Key"]

logger = logging.getLogger(__name__)

Read = Callable[[str, str, int], Artifact | None]

SENTENCES = "sentence_vector"  # the stage of the vectors of a chapter's sentences
NUM_STORIES = 64  # that stay in memory


class Index:
    """All texts of a library, as they were when the index was loaded.

    `entries` are ordered by level (chapter, scene, story), then video name, then item, which is
    time: a lower position wins a tie. They include the chapters that textual redundancy dropped,
    since what happens again can be searched for, too; `is_kept` tells them apart. `stories` are
    read when they are needed. `read` reads a stored row from the thread that asks.
    """

    def __init__(self, columns: Columns, full_text: WordSearch, read: Read) -> None:
        self._read = read
        self.columns = columns
        self.entries = Entries(columns)
        self.full_text = full_text
        self.num_dims = columns.vectors.shape[1]
        self._rows = Rows(columns.vectors, columns.levels)
        self._number_of = {video_id: n for n, video_id in enumerate(columns.video_ids)}
        self.stories: Mapping[str, Story] = _Stories(columns, read)

    @classmethod
    def load(cls, store: Store, read: Read | None = None) -> Index:
        """Read all texts and vectors of a library.

        `read` returns a row (video_id, stage, item) later, from any thread; by default the store.
        A video with a damaged row is left out, with a warning. Raises StoreError where the
        database cannot be read.
        """
        state = snapshot.state_of(store)
        stored = snapshot.read_snapshot(store.folder, state)
        if stored is None:
            with store.reading():
                columns = read_columns(store)
            is_large = len(columns.items) >= snapshot.MIN_TEXTS
            if is_large and snapshot.write_snapshot(store.folder, state, columns):
                stored = snapshot.read_snapshot(store.folder, state)
        if stored is not None:
            columns = stored[0]
            words: WordSearch = WordTable(stored[1], columns.videos, columns.video_ids)
        else:
            ids = columns.video_ids
            owned = enumerate(columns.videos.tolist())
            words = FullText((ids[video], columns.text(place)) for place, video in owned)
        logger.info("index: %d texts, %d vectors", len(columns.items), len(columns.vectors))
        return cls(columns, words, read or store.get)

    def with_words(self, full_text: WordSearch) -> Index:
        """Return this index with another search for words."""
        return Index(self.columns, full_text, self._read)

    def sentence_vectors(self, entry: Entry, texts: Sequence[str]) -> Vectors | None:
        """Return the stored vectors [len(texts), D] of a chapter's sentences.

        None where there are none, as in libraries of older versions, or none of just these texts.
        """
        if entry.level != "chapter":
            return None
        try:
            stored = self._read(entry.video_id, SENTENCES, entry.item)
        except CorruptLibrary as error:
            logger.warning("%s; the sentences are embedded again", error)
            return None
        if stored is None or stored.vectors is None or stored.payload.get("of") != digest(texts):
            return None
        if stored.vectors.shape != (len(texts), self.num_dims):
            return None
        units: Vectors = unit_rows(stored.vectors).astype(np.float32)  # as float16 they were nearly
        return units

    def said(self, video_id: str, clip: int) -> list[tuple[str, tuple[float, float]]]:
        """Return the sentences that are said in a clip, with start and end in seconds.

        None of them where they are damaged, or not known, as in libraries of older versions.
        """
        try:
            stored = self._read(video_id, "chapter", clip)
            known = {} if stored is None else stored.payload
            pairs = zip(known.get("said", ()), known.get("said_s", ()), strict=True)
            return [(str(t), (float(start_s), float(end_s))) for t, (start_s, end_s) in pairs]
        except (CorruptLibrary, TypeError, ValueError):
            return []

    def place(self, key: Key) -> int | None:
        """Return the position of an entry, or None if there is none of that key."""
        video_id, level, item = key
        low, high = self.span(cast("Level", level), video_id)
        at = low + int(np.searchsorted(self.columns.items[low:high], item))
        return at if at < high and self.columns.items[at] == item else None

    def span(self, level: Level, video_id: str | None = None) -> tuple[int, int]:
        """Return the half-open range of positions of a level, of one video or of all."""
        if video_id is None:
            return self.columns.level_range(level)
        number = self._number_of.get(video_id)
        return (0, 0) if number is None else self.columns.video_range(level, number)

    def number_of(self, video_id: str) -> int:
        """Return the place of a video in `columns.video_ids`, -1 if there is none of that id."""
        return self._number_of.get(video_id, -1)

    def is_kept(self, place: int) -> bool:
        """Return False for a chapter that textual redundancy dropped; True before that is known."""
        return bool(self.columns.kept[place])

    def near(
        self, query: Vectors, *, min_score: float, level: Level | None, video_id: str | None
    ) -> tuple[Places, Doubles]:
        """Return the position, rising, and the cosine of every entry with cosine >= `min_score`.

        Args:
            query: one vector [D] of the embedder of the stored ones.
            level: only this level; None for all.
            video_id: only this video.
        """
        unit = self._unit(query)
        positions, cosines = [np.zeros(0, np.int64)], [np.zeros(0)]
        for low, high in self._row_ranges(level, video_id):
            # a rounding step below lets ties in
            least = min_score - 10.0**-SCORE_DECIMALS
            rows, scores = self._rows.above(unit, least, low, high)
            positions.append(self.columns.positions[rows])
            cosines.append(rounded(scores))
        places, best = _best_of_each(np.concatenate(positions), np.concatenate(cosines))
        enough = best >= min_score
        return places[enough], best[enough]

    def similar(
        self, query: Vectors, *, min_score: float, level: Level | None, video_id: str | None
    ) -> dict[int, float]:
        """Return position -> cosine of every entry with cosine >= `min_score`, see `near`."""
        places, cosines = self.near(query, min_score=min_score, level=level, video_id=video_id)
        return dict(zip(places.tolist(), cosines.tolist(), strict=True))

    def nearest_kept(self, query: Vectors, *, num: int, video_id: str | None) -> dict[int, float]:
        """Return position -> cosine of the `num` kept chapters nearest to a vector, best first."""
        places, cosines = self.near(query, min_score=-1.0, level="chapter", video_id=video_id)
        kept = self.columns.kept[places] != 0
        places, cosines = places[kept], cosines[kept]
        if num < len(places):  # with all that are as good as the last
            least = np.partition(cosines, -num)[-num]
            places, cosines = places[cosines >= least], cosines[cosines >= least]
        best = np.argsort(-cosines, kind="stable")[:num]
        return dict(zip(places[best].tolist(), cosines[best].tolist(), strict=True))

    def cosines(self, query: Vectors, places: Places) -> Doubles:
        """Return the best cosine of some entries, by rising position; NaN without a vector."""
        unit = self._unit(query)
        found = np.full(len(places), np.nan)
        lows = np.searchsorted(self.columns.positions, places)
        nums = np.searchsorted(self.columns.positions, places, side="right") - lows
        owners = np.repeat(np.arange(len(places)), nums)
        within = np.arange(len(owners)) - np.repeat(np.cumsum(nums) - nums, nums)
        scores = self.columns.vectors[np.repeat(lows, nums) + within] @ unit
        rows, best = _best_of_each(owners, rounded(scores))
        found[rows] = best
        return found

    def cosine(self, query: Vectors, place: int) -> float | None:
        """Return the best cosine of one entry, None if it has no vector."""
        (found,) = self.cosines(query, np.array([place])).tolist()
        return None if np.isnan(found) else found

    def vectors(self, place: int) -> Vectors:
        """Return the unit vectors [rows, D] of one entry, which may have none."""
        low, high = np.searchsorted(self.columns.positions, [place, place + 1])
        return self.columns.vectors[low:high]

    def _unit(self, query: Vectors) -> Vectors:
        vector = np.asarray(query, dtype=np.float32).reshape(1, -1)
        if not len(self.columns.vectors):
            return np.zeros(self.num_dims, np.float32)
        if vector.shape[1] != self.num_dims:
            raise StoreError(
                f"the library's vectors have {self.num_dims} numbers, the query's "
                f"{vector.shape[1]}: use the text embedder that it was built with, or build again"
            )
        unit: Vectors = unit_rows(vector)[0].astype(np.float32)
        return unit

    def _row_ranges(self, level: Level | None, video_id: str | None) -> Iterator[tuple[int, int]]:
        """Yield half-open ranges of vector rows: those of a level and video are contiguous."""
        for one in LEVELS if level is None else (level,):
            places = self.span(one, video_id)
            low, high = np.searchsorted(self.columns.positions, places)
            if low < high:
                yield int(low), int(high)


class _Stories(Mapping[str, Story]):
    """The stories of a library by video id, read when they are asked for."""

    def __init__(self, columns: Columns, read: Read) -> None:
        told = zip(columns.video_ids, columns.names, columns.told, strict=True)
        self._names = {video_id: name for video_id, name, is_told in told if is_told}
        self._read = read
        self._story = lru_cache(maxsize=NUM_STORIES)(self._read_one)

    def _read_one(self, video_id: str) -> Story:
        stored = self._read(video_id, "story", 0)
        if stored is None:
            raise StoreError(
                f"the story of {self._names[video_id]} was removed meanwhile; ask again"
            )
        return read_story(self._names[video_id], video_id, stored)

    def __getitem__(self, video_id: str) -> Story:
        if video_id not in self._names:
            raise KeyError(video_id)
        return self._story(video_id)

    def __contains__(self, video_id: object) -> bool:
        return video_id in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _best_of_each(owners: Places, scores: Doubles) -> tuple[Places, Doubles]:
    """Return the different ones of rising owners, with the best score of each."""
    if not len(owners):
        return owners, scores
    starts = np.flatnonzero(np.concatenate([[True], owners[1:] != owners[:-1]]))
    return owners[starts], np.maximum.reduceat(scores, starts)
