"""Retrieve videos of a gallery by texts: story, chapters and words in one score.

    gallery = Gallery.embed(videos, embedder)
    scores_QV = gallery.scores(embed_queries(texts, embedder), Fusion())

The score of query q and video v is

               cos(q, story of v)                     the whole texts
  + chapters * mean of the best chapter's cosine      over the sentences of q
  + words    * BM25(q, story of v) / its highest      over all videos
  - crowding * mean cosine of v's story to the nearest stories of others

The last term corrects for hubness, stories that are near to every query: it is the gallery's half
of CSLS (Conneau et al., arXiv 1710.04087), measured among the gallery's own stories, so that it
needs no query. The vector of a whole text is blended with the mean of its parts, since an embedder
reads only the beginning of a long text. Weights and alternatives: docs/decisions/014-retrieval.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.text.bm25 import Bm25
from fdvs.text.sentences import split_sentences
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

MAX_CELLS = 2**25  # of one matrix product: 134 MB
MAX_QUERY_SENTENCES = 64  # of a query; later ones count only in the vector of the whole
NUM_NEAR = 10  # nearest stories that measure crowding
PARTS_SHARE = 0.25  # weight of the mean of the parts in the vector of a whole text


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """The texts of one video; chapters in time order, at least one."""

    video_id: str
    story: str
    chapters: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """Weights beside the story's cosine; crowding is measured among `num_near` stories.

    Chosen on 2,885 videos of ActivityNet, measured on 2,000 others.
    """

    chapters: float = 0.35
    words: float = 0.15
    crowding: float = 0.6
    num_near: int = NUM_NEAR

    def __post_init__(self) -> None:
        for name in ("chapters", "words", "crowding"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise InvalidValue(f"fusion.{name}", getattr(self, name), "0 or more")
        if self.num_near < 1:
            raise InvalidValue("fusion.num_near", self.num_near, "1 or more")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Queries:
    """Query texts as unit vectors: `whole` [Q, D] and `sentences` [S, D].

    The sentences of query q are rows `starts[q]` to `starts[q + 1]`; each query has at least one.
    """

    texts: tuple[str, ...]
    whole: Vectors
    sentences: Vectors
    starts: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.texts)

    def part(self, rows: slice) -> Queries:
        """Return a contiguous part of the queries."""
        low, high, _ = rows.indices(len(self))
        first, last = self.starts[low], self.starts[high]
        return Queries(
            texts=self.texts[low:high],
            whole=self.whole[low:high],
            sentences=self.sentences[first:last],
            starts=self.starts[low : high + 1] - first,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreParts:
    """The parts of the scores of Q queries and V videos, each [Q, V]; `crowding` is [V]."""

    story: Vectors
    chapters: Vectors
    words: Vectors
    crowding: Vectors


def embed_queries(texts: Sequence[str], embedder: TextEmbedder) -> Queries:
    """Embed texts whole and sentence by sentence; equal texts are embedded once.

    Raises InvalidValue for a text without a visible character.
    """
    split = [split_sentences(text)[:MAX_QUERY_SENTENCES] for text in texts]
    for text, found in zip(texts, split, strict=True):
        if not found:
            raise InvalidValue("query", text[:40], "text with at least one visible character")
    rows = _embed_once([*texts, *(one for found in split for one in found)], embedder)
    starts = np.cumsum([0, *(len(found) for found in split)])
    whole, sentences = rows[: len(texts)], rows[len(texts) :]
    return Queries(
        texts=tuple(texts),
        whole=blend(whole, sentences, starts),
        sentences=sentences,
        starts=starts,
    )


def blend(whole: Vectors, parts: Vectors, starts: NDArray[np.intp]) -> Vectors:
    """Return unit rows [N, D]: vectors of whole texts blended with the mean of their parts.

    The parts of text n are rows `starts[n]` to `starts[n + 1]`, at least one each.
    """
    means = np.add.reduceat(parts, starts[:-1], axis=0) if len(whole) else whole
    return unit_rows(unit_rows(whole) + PARTS_SHARE * unit_rows(means)).astype(np.float32)


class Gallery:
    """V videos: unit vectors of their stories [V, D] and chapters [C, D], and their words."""

    def __init__(self, videos: Sequence[Described], stories: Vectors, chapters: Vectors) -> None:
        """Take one vector per story, and one per chapter, video by video in order.

        Raises InvalidValue without videos, for a repeated video, one without chapters, or if the
        numbers of texts and vectors differ.
        """
        _check(videos, stories, chapters)
        self.video_ids = tuple(video.video_id for video in videos)
        self.starts = np.cumsum([0, *(len(video.chapters) for video in videos)])
        self._stories = blend(stories, chapters, self.starts)
        self._chapters = unit_rows(chapters).astype(np.float32)
        self._words = Bm25([video.story for video in videos])
        self._crowding: dict[int, Vectors] = {}

    @classmethod
    def embed(cls, videos: Sequence[Described], embedder: TextEmbedder) -> Gallery:
        """Create a gallery from texts; equal texts are embedded once."""
        chapters = [chapter for video in videos for chapter in video.chapters]
        rows = _embed_once([*(video.story for video in videos), *chapters], embedder)
        return cls(videos, rows[: len(videos)], rows[len(videos) :])

    def parts(self, queries: Queries, *, num_near: int = NUM_NEAR) -> ScoreParts:
        """Return the terms of the scores."""
        words = self._words.scores(queries.texts)
        best = words.max(axis=1, keepdims=True)
        return ScoreParts(
            story=queries.whole @ self._stories.T,
            chapters=self.best_chapters(queries),
            words=np.divide(words, best, out=np.zeros_like(words), where=best > 0),
            crowding=self.crowding(num_near),
        )

    def scores(self, queries: Queries, fusion: Fusion | None = None) -> Vectors:
        """Return float32 [Q, V], higher is better; comparable within a query."""
        fusion = fusion or Fusion()
        return fuse(self.parts(queries, num_near=fusion.num_near), fusion)

    def crowding(self, num_near: int) -> Vectors:
        """Return the mean cosine [V] of each video's story to its nearest others'; 0 if alone."""
        if num_near not in self._crowding:
            self._crowding[num_near] = _crowding(self._stories, num_near)
        return self._crowding[num_near]

    def best_chapters(self, queries: Queries) -> Vectors:
        """Return the mean cosine [Q, V] of a query's sentences to each video's best chapter."""
        found = np.empty((len(queries), len(self.video_ids)), dtype=np.float32)
        for rows in _blocks(queries.starts, max(1, MAX_CELLS // len(self._chapters))):
            first, last = queries.starts[rows.start], queries.starts[rows.stop]
            cosines = queries.sentences[first:last] @ self._chapters.T
            best = np.maximum.reduceat(cosines, self.starts[:-1], axis=1)
            counts = np.diff(queries.starts[rows.start : rows.stop + 1])
            sums = np.add.reduceat(best, queries.starts[rows] - first, axis=0)
            found[rows] = sums / counts[:, None]
        return found


def fuse(parts: ScoreParts, fusion: Fusion) -> Vectors:
    """Return the scores [Q, V]: the weighted sum of their terms."""
    found: Vectors = (
        parts.story
        + np.float32(fusion.chapters) * parts.chapters
        + np.float32(fusion.words) * parts.words
    )
    found -= np.float32(fusion.crowding) * parts.crowding
    return found


def _blocks(starts: NDArray[np.intp], num_sentences: int) -> Iterable[slice]:
    """Yield slices of queries with at most `num_sentences` together, at least one query each."""
    low, num = 0, len(starts) - 1
    while low < num:
        high = int(np.searchsorted(starts, starts[low] + num_sentences, side="right")) - 1
        high = min(max(high, low + 1), num)
        yield slice(low, high)
        low = high


def _crowding(stories: Vectors, num_near: int) -> Vectors:
    num = min(num_near, len(stories) - 1)
    found = np.zeros(len(stories), dtype=np.float32)
    block = max(1, MAX_CELLS // len(stories))
    for low in range(0, len(stories) if num else 0, block):
        cosines = stories[low : low + block] @ stories.T
        cosines[np.arange(len(cosines)), low + np.arange(len(cosines))] = -np.inf
        nearest = np.partition(cosines, -num, axis=1)[:, -num:]
        found[low : low + block] = np.sort(nearest, axis=1).mean(axis=1)
    return found


def _embed_once(texts: Sequence[str], embedder: TextEmbedder) -> Vectors:
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    rows = embedder.embed_texts(list(place))
    return rows[[place[text] for text in texts]]


def _check(videos: Sequence[Described], stories: Vectors, chapters: Vectors) -> None:
    if not videos:
        raise InvalidValue("number of videos in a gallery", 0, "1 or more")
    ids = [video.video_id for video in videos]
    if len(set(ids)) < len(ids):
        twice = next(one for one in ids if ids.count(one) > 1)
        raise InvalidValue("video of a gallery", twice, "each id once")
    for video in videos:
        if not video.chapters:
            raise InvalidValue(f"number of chapters of {video.video_id}", 0, "1 or more")
    due = (len(videos), sum(len(video.chapters) for video in videos))
    if (len(stories), len(chapters)) != due:
        raise InvalidValue("rows of stories and chapters", (len(stories), len(chapters)), str(due))
