"""What a search is limited to: videos, a stretch of time, ways to match, and who says it.

A filter only ever removes hits: what remains keeps its order. A source carries a hit if its own
words hold every word of the query, if one of its sentences is near enough in meaning, or, for
`pictures`, if the pictures match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue, UnknownName
from fdvs.prompting.marks import unmarked
from fdvs.search.fulltext import FullText
from fdvs.search.index import Entry, Index
from fdvs.search.ranking import WAYS, Matches
from fdvs.text.sentences import sentences_of
from fdvs.text.vocabulary import same_words
from fdvs.types import Vectors

#: The sources that a search can be limited to, and those of observations that each covers.
SOURCES: dict[str, tuple[str, ...]] = {
    "speech": ("speech",),
    "subtitles": ("subtitles",),
    "screen": ("screen text", "heading"),
    "pictures": ("caption", "action", "objects", "tags", "motion"),
}
_LABEL = re.compile(r"^[^:]{1,20}:\s")  # "On screen: ...", as chapters are written
HELD = 0.6  # the share of a sentence's words that a source must have said to be its speaker

SourceTexts = Callable[[Entry], Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Limits of a search; the defaults limit nothing.

    Attributes:
        video_ids: only these videos; None for all.
        start_s, end_s: only chapters that overlap [start_s, end_s) of their video, in seconds.
        ways: only what matches in one of these ways (see `WAYS`); empty for any.
        sources: only what one of these carries (see `SOURCES`); empty for any.

    Raises InvalidValue, UnknownName.
    """

    video_ids: frozenset[str] | None = None
    start_s: float = 0.0
    end_s: float = float("inf")
    ways: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s:
            span = (self.start_s, self.end_s)
            raise InvalidValue("start_s and end_s", span, "0 <= start_s < end_s, in seconds")
        _check_names("way to match", self.ways, WAYS)
        _check_names("source", self.sources, tuple(SOURCES))

    @property
    def only_video(self) -> str | None:
        """The one video that is searched, None for all or several."""
        ids = self.video_ids
        return next(iter(ids)) if ids is not None and len(ids) == 1 else None

    def keeps(self, index: Index, matches: Matches) -> NDArray[np.bool_]:
        """Return which matches are within the limits of video, time and way."""
        columns, places = index.columns, matches.places
        kept = (columns.starts_s[places] < self.end_s) & (columns.ends_s[places] > self.start_s)
        if self.video_ids is not None:
            numbers = [index.number_of(one) for one in self.video_ids]
            kept &= np.isin(columns.videos[places], numbers)
        if self.ways:
            by_way = dict(zip(WAYS, matches.ways, strict=True))
            kept &= np.any([by_way[way] for way in self.ways], axis=0)
        return kept


def _check_names(what: str, names: Sequence[str], allowed: Sequence[str]) -> None:
    for name in names:
        if name not in allowed:
            raise UnknownName(what, name, allowed)


def filtered(
    index: Index,
    matches: Matches,
    filters: Filters,
    *,
    query: str,
    vector: Vectors,
    min_score: float,
    texts_of: SourceTexts | None,
) -> Matches:
    """Return the matches within the limits, in their order.

    Args:
        vector: the query's embedding [D].
        texts_of: returns what each source says in a chapter, by the names of observations; needed
            for `filters.sources`.
    """
    kept = matches.only(filters.keeps(index, matches))
    if not filters.sources or not len(kept):
        return kept
    if texts_of is None:
        raise InvalidValue("sources", filters.sources, "none: this index knows no sources")
    carried = _carried(index, kept, filters.sources, query, vector, min_score, texts_of)
    return kept.only(np.isin(kept.places, list(carried)))


def _carried(
    index: Index,
    matches: Matches,
    sources: Collection[str],
    query: str,
    vector: Vectors,
    min_score: float,
    texts_of: SourceTexts,
) -> set[int]:
    """Return the places of the chapters in which one of the sources carries the match."""
    kinds = [kind for source in sources for kind in SOURCES[source]]
    carried = {m.place for m in matches if "pictures" in sources and m.picture is not None}
    said: list[tuple[int, str]] = []
    for match in matches:
        if match.place in carried:
            continue
        texts = texts_of(index.entries[match.place])
        said += [(match.place, texts[kind]) for kind in kinds if texts.get(kind)]
    by_words = FullText(("", text) for _, text in said).search(query).full
    carried |= {said[row][0] for row in by_words.tolist()}
    for place, text in said:
        if place not in carried and _means(index, place, text, vector, min_score):
            carried.add(place)
    return carried


def _means(index: Index, place: int, said: str, vector: Vectors, min_score: float) -> bool:
    """Return whether a sentence of the chapter that the source said is near to the query."""
    entry = index.entries[place]
    sentences = sentences_of(unmarked(entry.text))
    rows = index.sentence_vectors(entry, sentences)
    if rows is None or not len(rows):
        return False
    near = np.flatnonzero(rows @ vector.reshape(-1) >= min_score)
    words = set(same_words(said).split())
    return any(_is_held(sentences[i], words) for i in near)


def _is_held(sentence: str, words: Collection[str]) -> bool:
    wanted = same_words(_LABEL.sub("", sentence)).split()
    return bool(wanted) and sum(word in words for word in wanted) >= HELD * len(wanted)
