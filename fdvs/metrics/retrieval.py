"""Ranks and recalls of retrieval, from scores [Q, G] and the right place of each query.

Ties count against us: the rank of a query is 1 + the number of wrong places that score as high as
the right one or higher. So a rank depends on the scores alone, never on the order of the gallery,
and a method that gives every place the same score ranks last.

Scores are compared in blocks of rows, so that comparing takes little memory beside the matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue

CUTOFFS = (1, 5, 10, 100)
RSUM_CUTOFFS = (1, 5, 10)
BLOCK_ROWS = 512

# Cosines of equal vectors differ in the last bits, depending on their place in a matrix product: so
# much counts as a tie. Cosines of different texts lie as close in about one of ten thousand pairs.
COSINE_TIE_WIDTH = 1e-6

Scores = NDArray[np.floating]
Places = Sequence[int] | NDArray[np.integer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ranks:
    """Rank of the right answer of each item, from 1; `places` says which items have one.

    `places` are the queries (text to video), or the gallery places that at least one query
    belongs to (video to text). `num_tied` counts the items whose rank a tie made worse.
    """

    places: NDArray[np.int64]
    ranks: NDArray[np.int64]
    num_candidates: int
    num_tied: int

    def hits(self, cutoff: int) -> NDArray[np.float64]:
        """Return 1.0 for each item with its right answer among the first `cutoff`, else 0.0."""
        return (self.ranks <= cutoff).astype(np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalScore:
    """Recalls as fractions by cutoff; ranks count from 1."""

    recall: dict[int, float]
    median_rank: float
    mean_rank: float
    num_queries: int
    num_candidates: int
    num_tied: int

    @property
    def sum_recall(self) -> float:
        """Sum of all recalls here: with R@1/5/10/100 the SumR of PRVR (MS-SL, Dong 2022)."""
        return sum(self.recall.values())

    def named(self) -> dict[str, float]:
        """Return the numbers under the names that papers use: R@1, ..., MedR, MeanR, SumR."""
        recalls = {f"R@{cutoff}": value for cutoff, value in self.recall.items()}
        return {
            **recalls,
            "MedR": self.median_rank,
            "MeanR": self.mean_rank,
            "SumR": self.sum_recall,
        }


def text_to_video(
    scores: Scores,
    right: Places,
    *,
    tie_width: float = 0.0,
    block_rows: int = BLOCK_ROWS,
) -> Ranks:
    """Rank each query's right place among the gallery.

    Args:
        scores: matrix [Q, G], higher is better.
        right: right place [Q] of each query.
        tie_width: scores that differ by no more count as equal.
        block_rows: rows compared at once.

    Raises InvalidValue for NaN, a wrong shape or a place outside the gallery.
    """
    places_of = _checked(scores, right, block_rows)
    ranks = np.empty(len(places_of), dtype=np.int64)
    num_tied = 0
    for rows, block in _blocks(scores, block_rows):
        own = block[np.arange(len(block)), places_of[rows]][:, None]
        # `own - width` not `block + width`: one small array instead of a copy of the block
        better = (block > own + tie_width).sum(axis=1)
        as_good = (block >= own - tie_width).sum(axis=1)  # counts the right place itself
        ranks[rows] = as_good
        num_tied += int((as_good > better + 1).sum())
    places = np.arange(len(ranks), dtype=np.int64)
    return Ranks(places=places, ranks=ranks, num_candidates=scores.shape[1], num_tied=num_tied)


def video_to_text(
    scores: Scores,
    right: Places,
    *,
    tie_width: float = 0.0,
    block_rows: int = BLOCK_ROWS,
) -> Ranks:
    """Rank for each gallery place the best of its queries among the queries of all others.

    Arguments and errors as `text_to_video`. Where a place has several queries the best one counts,
    and the others do not stand in its way (the usual rule of MSVD and of sentence retrieval). A
    place without a query has no rank.
    """
    places_of, num_gallery = _checked(scores, right, block_rows), scores.shape[1]
    best = np.full(num_gallery, -np.inf)
    for rows, block in _blocks(scores, block_rows):
        own = block[np.arange(len(block)), places_of[rows]]
        np.maximum.at(best, places_of[rows], own)
    better = np.zeros(num_gallery, dtype=np.int64)
    as_good = np.zeros(num_gallery, dtype=np.int64)
    for rows, block in _blocks(scores, block_rows):
        foreign = np.ones(block.shape, dtype=np.bool_)
        foreign[np.arange(len(block)), places_of[rows]] = False
        better += ((block > best + tie_width) & foreign).sum(axis=0)
        as_good += ((block >= best - tie_width) & foreign).sum(axis=0)
    places = np.unique(places_of)
    tied = as_good[places] > better[places]
    return Ranks(
        places=places,
        ranks=1 + as_good[places],
        num_candidates=len(places_of),
        num_tied=int(tied.sum()),
    )


def retrieval_score(ranks: Ranks, *, cutoffs: Sequence[int] = CUTOFFS) -> RetrievalScore:
    """Count recalls and average ranks. Raises InvalidValue where nothing was ranked."""
    if not len(ranks.ranks):
        raise InvalidValue("number of ranked queries", 0, "at least 1")
    return RetrievalScore(
        recall={cutoff: float(ranks.hits(cutoff).mean()) for cutoff in cutoffs},
        median_rank=float(np.median(ranks.ranks)),
        mean_rank=float(ranks.ranks.mean()),
        num_queries=len(ranks.ranks),
        num_candidates=ranks.num_candidates,
        num_tied=ranks.num_tied,
    )


def rsum(one_way: Ranks, other_way: Ranks) -> float:
    """Return RSum of whole-video retrieval: R@1 + R@5 + R@10 of both directions, from 0 to 6."""
    both = [ranks.hits(cutoff).mean() for ranks in (one_way, other_way) for cutoff in RSUM_CUTOFFS]
    return float(sum(both))


def _checked(scores: Scores, right: Places, block_rows: int) -> NDArray[np.int64]:
    """Return the right places [Q] of scores [Q, G]. Raises InvalidValue where they do not fit."""
    places = np.asarray(right, dtype=np.int64)
    if scores.ndim != 2 or len(scores) != len(places):
        allowed = f"[{len(places)}, G]: a row for each right place"
        raise InvalidValue("shape of the scores", scores.shape, allowed)
    outside = places[(places < 0) | (places >= scores.shape[1])]
    if len(outside):
        raise InvalidValue("a right place", int(outside[0]), f"0 to {scores.shape[1] - 1}")
    if block_rows < 1:
        raise InvalidValue("block_rows", block_rows, "at least 1")
    return places


def _blocks(scores: Scores, block_rows: int) -> Iterator[tuple[slice, Scores]]:
    for start in range(0, len(scores), block_rows):
        rows = slice(start, min(start + block_rows, len(scores)))
        block = scores[rows]
        if np.isnan(block).any():
            raise InvalidValue(f"a score of queries {start} to {rows.stop - 1}", "NaN",
                               "numbers; check the embedder")  # fmt: skip
        yield rows, block
