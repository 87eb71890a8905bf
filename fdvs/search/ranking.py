"""Hybrid retrieval: which texts match a query by meaning, words or pictures, and their ranking.

A text matches by meaning if its cosine to the query is at least `min_score`, by words if it holds
one of the query's words. It is a result if it matches by meaning or holds every word of the query:
one word of many does not make it relevant. If the build embedded the pictures too, a chapter also
matches by the pictures of its clip.

Meaning and words make one score: the cosine and, with less weight, BM25 as a share of the query's
best. That orders better than fusing their ranks, which makes the tenth-best word match as good as
the tenth-best meaning (docs/decisions/014-retrieval.md). Picture scores share no scale with those
of texts, so their ranks are fused by reciprocal rank fusion (Cormack, Clarke, Buettcher, SIGIR
2009). Equal scores share a rank, so that the order of storage does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import overload

import numpy as np
from numpy.typing import NDArray

from fdvs.config import SearchConfig
from fdvs.protocols import TextEmbedder
from fdvs.search.columns import Places
from fdvs.search.fulltext import Hits, WordHits, query_words
from fdvs.search.index import Index
from fdvs.search.pictures import PictureSearch
from fdvs.text.clean import clean_query
from fdvs.types import Level, Vectors
from fdvs.vectors import Doubles, embed_queries

RANK_OFFSET = 60  # the k of reciprocal rank fusion, the value of its authors
WORDS_SHARE = 0.15  # the cosine that the best word match counts as much as
WAYS = ("meaning", "words", "looks")  # as `Moment.matched_by` names them
RELEVANCE_DECIMALS = 9  # neighbouring ranks stay apart up to rank 100,000
NO_VECTOR = -1.0  # the cosine shown for a text that has no vector yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One text of the index that matches; `place` is its position there.

    `words` is its BM25 (higher is better), None if it holds no word of the query; `picture` is the
    cosine of its clip's pictures, None if they do not match. `relevance` is the number that a
    ranking orders by, see `rank`.
    """

    place: int
    cosine: float
    by_meaning: bool
    words: float | None
    holds_all: bool
    picture: float | None = None
    relevance: float = 0.0

    @property
    def scores(self) -> tuple[float | None, float | None, float | None]:
        """The score in each of the three rankings, in the order of `WAYS`."""
        return self.meaning, self.words, self.picture

    @property
    def meaning(self) -> float | None:
        """The cosine, if the text matches by meaning."""
        return self.cosine if self.by_meaning else None

    @property
    def by_text(self) -> bool:
        """Whether meaning or words match; otherwise only the pictures do."""
        return self.by_meaning or self.words is not None

    @property
    def matched_by(self) -> tuple[str, ...]:
        return tuple(way for way, score in zip(WAYS, self.scores, strict=True) if score is not None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matches(Sequence[Match]):
    """Matches as arrays, in rows by rising place; a `Match` is made when it is looked at.

    A score is NaN where there is none. `order` are the rows in the order of the sequence.
    """

    places: Places
    cosines: Doubles
    by_meaning: NDArray[np.bool_]
    words: Doubles
    holds_all: NDArray[np.bool_]
    pictures: Doubles
    relevance: Doubles
    order: Places

    @staticmethod
    def of(matches: Sequence[Match]) -> Matches:
        """Return single matches as arrays, in the order given; their places must differ."""
        if isinstance(matches, Matches):
            return matches
        given = np.array([m.place for m in matches], np.int64)
        rising = np.argsort(given)
        rows = [matches[n] for n in rising]
        return Matches(
            places=given[rising],
            cosines=np.array([m.cosine for m in rows], np.float64),
            by_meaning=np.array([m.by_meaning for m in rows], np.bool_),
            words=_numbers([m.words for m in rows]),
            holds_all=np.array([m.holds_all for m in rows], np.bool_),
            pictures=_numbers([m.picture for m in rows]),
            relevance=np.array([m.relevance for m in rows], np.float64),
            order=np.argsort(rising),
        )

    def __len__(self) -> int:
        return len(self.order)

    @overload
    def __getitem__(self, rank: int) -> Match: ...
    @overload
    def __getitem__(self, rank: slice) -> list[Match]: ...
    def __getitem__(self, rank: int | slice) -> Match | list[Match]:
        if isinstance(rank, slice):
            return [self.row(row) for row in self.order[rank].tolist()]
        return self.row(int(self.order[rank]))

    def __iter__(self) -> Iterator[Match]:
        return (self.row(row) for row in self.order.tolist())

    def row(self, row: int) -> Match:
        """Return the match of one row of the arrays."""
        words, picture = float(self.words[row]), float(self.pictures[row])
        return Match(
            place=int(self.places[row]),
            cosine=float(self.cosines[row]),
            by_meaning=bool(self.by_meaning[row]),
            words=None if np.isnan(words) else words,
            holds_all=bool(self.holds_all[row]),
            picture=None if np.isnan(picture) else picture,
            relevance=float(self.relevance[row]),
        )

    def at(self, place: int) -> Match | None:
        """Return the match of a place, None if that does not match."""
        row = int(np.searchsorted(self.places, place))
        return self.row(row) if row < len(self.places) and self.places[row] == place else None

    def only(self, kept: NDArray[np.bool_]) -> Matches:
        """Return the matches of some rows, not ranked."""
        rows = np.flatnonzero(kept)
        return Matches(
            places=self.places[rows],
            cosines=self.cosines[rows],
            by_meaning=self.by_meaning[rows],
            words=self.words[rows],
            holds_all=self.holds_all[rows],
            pictures=self.pictures[rows],
            relevance=self.relevance[rows],
            order=np.arange(len(rows)),
        )

    @property
    def ways(self) -> tuple[NDArray[np.bool_], ...]:
        """Whether each row matches by meaning, by words and by looks, in the order of `WAYS`."""
        return self.by_meaning, ~np.isnan(self.words), ~np.isnan(self.pictures)

    @property
    def by_text(self) -> NDArray[np.bool_]:
        """Whether meaning or words match; otherwise only the pictures do."""
        found: NDArray[np.bool_] = self.by_meaning | ~np.isnan(self.words)
        return found


def find_matches(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    level: Level | None = None,
    video_id: str | None = None,
    pictures: PictureSearch | None = None,
    vector: Vectors | None = None,
) -> Matches:
    """Return the texts that match, in the index's order; a weight of 0 or 1 skips a ranking.

    `vector` is the query's embedding, if the caller has it already.
    """
    query = clean_query(query)
    seen = _picture_hits(query, config, video_id, pictures)
    vector = embed_queries(embedder, [query])[0] if vector is None else vector
    near = Hits.none()
    if config.word_weight < 1:
        places, cosines = index.near(
            vector, min_score=config.min_score, level=level, video_id=video_id
        )
        near = Hits(places=places, scores=cosines)
    said = WordHits(found=Hits.none(), full=Hits.none().places)
    if config.word_weight > 0:
        said = index.full_text.search(query, video_id=video_id)
    places = _union(near.places, seen.places, said.full)
    if level is not None:
        low, high = index.span(level)
        places = places[(places >= low) & (places < high)]
    by_meaning = np.isin(places, near.places, assume_unique=True)
    cosines = _spread(near, places)
    cosines[~by_meaning] = index.cosines(vector, places[~by_meaning])
    return Matches(
        places=places,
        cosines=np.where(np.isnan(cosines), NO_VECTOR, cosines),
        by_meaning=by_meaning,
        words=_spread(said.found, places),
        holds_all=np.isin(places, said.full, assume_unique=True),
        pictures=_spread(seen, places),
        relevance=np.zeros(len(places)),
        order=np.arange(len(places)),
    )


def _union(*each: Places) -> Places:
    """Return the different ones of several arrays of rising places."""
    places = np.sort(np.concatenate(each), kind="stable")  # made for runs that rise
    is_new = np.ones(len(places), np.bool_)
    is_new[1:] = places[1:] != places[:-1]
    return places[is_new]


def _spread(hits: Hits, places: Places) -> Doubles:
    """Return the score of each of some rising places, NaN for those that are no hits."""
    found = np.full(len(places), np.nan)
    if len(hits.places):
        at = np.minimum(np.searchsorted(hits.places, places), len(hits.places) - 1)
        is_hit = hits.places[at] == places
        found[is_hit] = hits.scores[at[is_hit]]
    return found


def _picture_hits(
    query: str,
    config: SearchConfig,
    video_id: str | None,
    pictures: PictureSearch | None,
) -> Hits:
    """Return the chapters whose pictures match the query, with their cosines."""
    if pictures is None or config.picture_weight == 0 or not query_words(query):
        return Hits.none()
    return pictures.hits(query, video_id=video_id)


def _numbers(scores: Sequence[float | None]) -> Doubles:
    return np.array([np.nan if one is None else one for one in scores], np.float64)


def add_words(
    meaning: Sequence[float] | Doubles,
    words: Sequence[float | None] | Doubles,
    word_weight: float,
) -> Doubles:
    """Return one score of texts per item: (1 - w) * meaning + w * 0.15 * BM25 / the best BM25.

    `words` is None or NaN for an item without a word of the query; then only meaning counts.
    """
    found = np.nan_to_num(_as_doubles(words))
    best = found.max(initial=0.0)
    share = word_weight * WORDS_SHARE / best if best > 0 else 0.0
    total: Doubles = (1 - word_weight) * np.asarray(meaning, np.float64) + share * found
    return total


def rank(matches: Sequence[Match], config: SearchConfig) -> Matches:
    """Return matches by falling relevance, which is filled in; ties stay in the order given."""
    found = Matches.of(matches)
    scored = add_words(found.cosines, found.words, config.word_weight)
    texts = np.where(found.by_text, scored, np.nan)
    best = relevance(texts, found.pictures, config.picture_weight)
    order = found.order[np.argsort(-best[found.order], kind="stable")]
    return replace(found, relevance=best, order=order)


def relevance(
    texts: Sequence[float | None] | Doubles,
    pictures: Sequence[float | None] | Doubles,
    picture_weight: float,
) -> Doubles:
    """Return the one number that hits are ordered by, above 0 and at most 1.

    It is the fused rank (see `fuse`) as a share of the best there could be: 1.0 for what is first
    by texts and by pictures, or by the one of them that has any match. Rank r of a ranking is
    worth 61 / (60 + r).
    """
    weights = (1.0, picture_weight)
    columns = np.stack([_as_doubles(texts), _as_doubles(pictures)], axis=1)
    matched = [not np.isnan(column).all() for column in columns.T]
    best = sum(
        w / (RANK_OFFSET + 1) for w, any_match in zip(weights, matched, strict=True) if any_match
    )
    fused = fuse(columns, weights)
    return np.round(fused / best, RELEVANCE_DECIMALS) if best else np.zeros(len(columns))


def fuse(scores: Sequence[Sequence[float | None]] | Doubles, weights: Sequence[float]) -> Doubles:
    """Return one fused score per item from its score in each ranking; None or NaN is no match.

    sum over the rankings of weight / (60 + rank), rank 1 being the best; equal scores share
    the best of their ranks.
    """
    columns = _as_doubles(scores).reshape(-1, len(weights))
    total = np.zeros(len(columns))
    for way, weight in enumerate(weights):
        total += weight * _reciprocal_ranks(columns[:, way])
    return total


def _as_doubles(scores: object) -> Doubles:
    """Return scores as an array, None as NaN."""
    return np.asarray(scores, dtype=np.float64)


def _reciprocal_ranks(scores: Doubles) -> Doubles:
    is_match = ~np.isnan(scores)
    found = np.zeros(len(scores))
    falling = np.argsort(-scores[is_match], kind="stable")
    ordered = scores[is_match][falling]
    is_new = np.ones(len(ordered), np.bool_)
    is_new[1:] = ordered[1:] != ordered[:-1]
    ranks = np.maximum.accumulate(np.where(is_new, np.arange(len(ordered)), 0))
    found[np.flatnonzero(is_match)[falling]] = 1.0 / (RANK_OFFSET + 1 + ranks)
    return found
