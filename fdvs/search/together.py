"""Search several libraries as if they were one: equal scores, one ranking.

Cosines compare across libraries of one embedder. What a word tells is counted over the texts of all
of them, so that a search over two libraries gives what a search of their union would. A video that
two of them hold is searched in the first; its words count in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from fdvs.config import SearchConfig
from fdvs.protocols import TextEmbedder
from fdvs.search.columns import Entry
from fdvs.search.filters import Filters, SourceTexts, filtered
from fdvs.search.index import Index
from fdvs.search.moments import fitting, merge_neighbours, page
from fdvs.search.pictures import PictureSearch
from fdvs.search.ranking import Matches, find_matches, rank
from fdvs.search.word_table import WordTable, count_words
from fdvs.text.clean import clean_query
from fdvs.types import Moment, Vectors
from fdvs.vectors import embed_queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One of the libraries: its index, what it is limited to, its pictures, what is said in it."""

    index: Index
    filters: Filters
    pictures: PictureSearch | None = None
    texts_of: SourceTexts | None = None


def search_together(
    parts: Sequence[Part],
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    num: int | None = None,
    offset: int = 0,
    nearest: bool = False,
) -> list[Moment]:
    """Return moments of several libraries, most relevant first; ties by library, name, time.

    Arguments as for `fdvs.search.moments.search_moments`.
    """
    first, stop = page(num, offset, config)
    config = replace(config, min_score=-1.0) if nearest else fitting(query, embedder, config)
    vector = embed_queries(embedder, [clean_query(query)])[0]
    indexes = with_shared_words([part.index for part in parts])
    found: list[Matches] = []
    known: set[str] = set()
    for part, index in zip(parts, indexes, strict=True):
        found.append(_matches(part, index, query, embedder, config, vector, known))
        known |= set(index.columns.video_ids)
    ranked = rank(_joined(found, [len(index.entries) for index in indexes]), config)
    return merge_neighbours(_Entries(indexes), ranked, num=stop)[first:]


def with_shared_words(indexes: Sequence[Index]) -> list[Index]:
    """Return indexes that count words over the texts of all of them."""
    words = [
        index.full_text.words
        if isinstance(index.full_text, WordTable)
        else count_words(map(index.columns.text, range(len(index.entries))), len(index.entries))
        for index in indexes
    ]
    return [
        index.with_words(
            WordTable(
                words[number],
                index.columns.videos,
                index.columns.video_ids,
                [one for other, one in enumerate(words) if other != number],
            )
        )
        for number, index in enumerate(indexes)
    ]


def _matches(
    part: Part,
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    vector: Vectors,
    known: set[str],
) -> Matches:
    """Return the matches of one library, without the videos that another one has shown."""
    matches = find_matches(
        index, query, embedder, config, level="chapter", video_id=part.filters.only_video,
        pictures=part.pictures, vector=vector,
    )  # fmt: skip
    again = [number for number, one in enumerate(index.columns.video_ids) if one in known]
    matches = matches.only(~np.isin(index.columns.videos[matches.places], again))
    return filtered(
        index, matches, part.filters, query=query, vector=vector, min_score=config.min_score,
        texts_of=part.texts_of,
    )  # fmt: skip


def _joined(found: Sequence[Matches], sizes: Sequence[int]) -> Matches:
    """Return the matches of all libraries, places counted on from one to the next."""
    starts = np.cumsum([0, *sizes[:-1]])
    moved = [
        replace(one, places=one.places + start, order=np.arange(len(one)))
        for one, start in zip(found, starts, strict=True)
    ]
    columns = {
        field.name: np.concatenate([getattr(one, field.name) for one in moved])
        for field in fields(Matches)
    }
    return Matches(**{**columns, "order": np.arange(len(columns["places"]))})


class _Entries(Sequence[Entry]):
    """The entries of several indexes, one after another."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self._each = [index.entries for index in indexes]
        self._ends = np.cumsum([len(one) for one in self._each])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getitem__(self, place: int) -> Entry:  # type: ignore[override]
        number = int(np.searchsorted(self._ends, place, side="right"))
        return self._each[number][place - (int(self._ends[number - 1]) if number else 0)]
