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

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdvs.config import SearchConfig
from fdvs.protocols import TextEmbedder
from fdvs.search.fulltext import WordHits, query_words
from fdvs.search.index import Index
from fdvs.search.pictures import PictureSearch
from fdvs.text.clean import clean_query
from fdvs.types import Level, Vectors
from fdvs.vectors import embed_queries

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
) -> list[Match]:
    """Return the texts that match, in the index's order; a weight of 0 or 1 skips a ranking.

    `vector` is the query's embedding, if the caller has it already.
    """
    query = clean_query(query)
    seen = _picture_scores(index, query, config, video_id, pictures)
    vector = embed_queries(embedder, [query])[0] if vector is None else vector
    cosines: dict[int, float] = {}
    if config.word_weight < 1:
        cosines = index.similar(vector, min_score=config.min_score, level=level, video_id=video_id)
    words = WordHits(scores={}, full=frozenset())
    if config.word_weight > 0:
        words = index.full_text.search(query, video_id=video_id)
    matches = []
    for place in sorted({*cosines, *seen, *words.scores}):
        holds_all = place in words.full
        is_found = place in cosines or place in seen or holds_all
        if is_found and level in (None, index.entries[place].level):
            cosine = cosines[place] if place in cosines else index.cosine(vector, place)
            matches.append(
                Match(
                    place=place,
                    cosine=NO_VECTOR if cosine is None else cosine,
                    by_meaning=place in cosines,
                    words=words.scores.get(place),
                    holds_all=holds_all,
                    picture=seen.get(place),
                )
            )
    return matches


def _picture_scores(
    index: Index,
    query: str,
    config: SearchConfig,
    video_id: str | None,
    pictures: PictureSearch | None,
) -> dict[int, float]:
    """Return position -> cosine of the chapters whose pictures match the query."""
    if pictures is None or config.picture_weight == 0 or not query_words(query):
        return {}
    found = pictures.find(query, video_id=video_id)
    places = {
        index.place((video, "chapter", clip)): score for (video, clip), score in found.items()
    }
    return {place: score for place, score in places.items() if place is not None}


def add_words(
    meaning: Sequence[float], words: Sequence[float | None], word_weight: float
) -> list[float]:
    """Return one score of texts per item: (1 - w) * meaning + w * 0.15 * BM25 / the best BM25.

    `words` is None for an item without a word of the query; then only meaning counts.
    """
    best = max((score for score in words if score is not None), default=0.0)
    share = word_weight * WORDS_SHARE / best if best > 0 else 0.0
    return [
        (1 - word_weight) * cosine + share * (found or 0.0)
        for cosine, found in zip(meaning, words, strict=True)
    ]


def rank(matches: Sequence[Match], config: SearchConfig) -> list[Match]:
    """Return matches by falling relevance, which is filled in; ties stay in the order given."""
    scored = add_words([m.cosine for m in matches], [m.words for m in matches], config.word_weight)
    texts = [score if m.by_text else None for m, score in zip(matches, scored, strict=True)]
    found = relevance(texts, [m.picture for m in matches], config.picture_weight)
    ranked = [replace(m, relevance=one) for m, one in zip(matches, found, strict=True)]
    return sorted(ranked, key=lambda match: -match.relevance)


def relevance(
    texts: Sequence[float | None], pictures: Sequence[float | None], picture_weight: float
) -> list[float]:
    """Return the one number that hits are ordered by, above 0 and at most 1.

    It is the fused rank (see `fuse`) as a share of the best there could be: 1.0 for what is first
    by texts and by pictures, or by the one of them that has any match. Rank r of a ranking is
    worth 61 / (60 + r).
    """
    weights = (1.0, picture_weight)
    matched = [any(score is not None for score in ranking) for ranking in (texts, pictures)]
    best = sum(
        w / (RANK_OFFSET + 1) for w, any_match in zip(weights, matched, strict=True) if any_match
    )
    fused = order_scores(texts, pictures, picture_weight)
    return [round(one / best, RELEVANCE_DECIMALS) if best else 0.0 for one in fused]


def order_scores(
    texts: Sequence[float | None], pictures: Sequence[float | None], picture_weight: float
) -> list[float]:
    """Return the fused ranks of text and picture scores, to order by; None is no match."""
    return fuse(list(zip(texts, pictures, strict=True)), (1.0, picture_weight))


def fuse(scores: Sequence[Sequence[float | None]], weights: Sequence[float]) -> list[float]:
    """Return one fused score per item from its score in each ranking; None is no match.

    sum over the rankings of weight / (60 + rank), rank 1 being the best; equal scores share
    the best of their ranks.
    """
    ranks = [_reciprocal_ranks([row[way] for row in scores]) for way in range(len(weights))]
    return [
        sum(weight * column[item] for weight, column in zip(weights, ranks, strict=True))
        for item in range(len(scores))
    ]


def _reciprocal_ranks(scores: Sequence[float | None]) -> list[float]:
    order = sorted(-score for score in scores if score is not None)
    return [
        0.0 if score is None else 1.0 / (RANK_OFFSET + 1 + bisect_left(order, -score))
        for score in scores
    ]
