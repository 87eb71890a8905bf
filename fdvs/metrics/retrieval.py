"""Ranks and recalls of retrieval, from scores [Q, G] and the right place of each query.

One tie rule for everything: a tie counts against us. The rank of a query is 1 + the number of
wrong places that score as high as the right one or higher. So a rank depends on the scores alone,
never on the order of the gallery, and a method that scores everything the same ranks last.

Scores are read in blocks of rows, so that 17,505 queries against 4,917 videos need no whole matrix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue

CUTOFFS = (1, 5, 10, 100)
RSUM_CUTOFFS = (1, 5, 10)
BLOCK_ROWS = 512

# Cosines of equal vectors differ in the last bits with their place in a matrix product; this much
# is a tie. Another text's cosine lies as near about once in ten thousand pairs.
COSINE_TIE_WIDTH = 1e-6

Scores = NDArray[np.floating]
ScoreRows = Callable[[slice], Scores]
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
    scores: Scores | ScoreRows,
    right: Places,
    *,
    num_gallery: int | None = None,
    tie_width: float = 0.0,
    block_rows: int = BLOCK_ROWS,
) -> Ranks:
    """Rank each query's right place among the gallery.

    Args:
        scores: matrix [Q, G], higher is better; or a function from a slice of rows to its block
            [rows, G], called once per block.
        right: right place [Q] of each query.
        num_gallery: G; needed where `scores` is a function.
        tie_width: scores that differ by no more count as equal.
        block_rows: rows of a block.

    Raises InvalidValue for NaN, a wrong shape or a place outside the gallery.
    """
    source = _Source.of(scores, right, num_gallery=num_gallery, block_rows=block_rows)
    ranks = np.empty(len(source.right), dtype=np.int64)
    num_tied = 0
    for rows, block in source.blocks():
        own = block[np.arange(len(block)), source.right[rows]][:, None]
        # `own - width` not `block + width`: one small array instead of a copy of the block
        better = (block > own + tie_width).sum(axis=1)
        as_good = (block >= own - tie_width).sum(axis=1)  # counts the right place itself
        ranks[rows] = as_good
        num_tied += int((as_good > better + 1).sum())
    places = np.arange(len(ranks), dtype=np.int64)
    return Ranks(places=places, ranks=ranks, num_candidates=source.num_gallery, num_tied=num_tied)


def video_to_text(
    scores: Scores | ScoreRows,
    right: Places,
    *,
    num_gallery: int | None = None,
    tie_width: float = 0.0,
    block_rows: int = BLOCK_ROWS,
) -> Ranks:
    """Rank for each gallery place the best of its queries among the queries of all others.

    Arguments as `text_to_video`; a function is called twice per block. Where a place has several
    queries the best one counts and the others do not stand in its way (the usual rule of MSVD and
    of sentence retrieval). A place without a query has no rank.
    """
    source = _Source.of(scores, right, num_gallery=num_gallery, block_rows=block_rows)
    best = np.full(source.num_gallery, -np.inf)
    for rows, block in source.blocks():
        own = block[np.arange(len(block)), source.right[rows]]
        np.maximum.at(best, source.right[rows], own)
    better = np.zeros(source.num_gallery, dtype=np.int64)
    as_good = np.zeros(source.num_gallery, dtype=np.int64)
    for rows, block in source.blocks():
        foreign = np.ones(block.shape, dtype=np.bool_)
        foreign[np.arange(len(block)), source.right[rows]] = False
        better += ((block > best + tie_width) & foreign).sum(axis=0)
        as_good += ((block >= best - tie_width) & foreign).sum(axis=0)
    places = np.unique(source.right)
    tied = as_good[places] > better[places]
    return Ranks(
        places=places,
        ranks=1 + as_good[places],
        num_candidates=len(source.right),
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


def cosine_rows(queries: Scores, gallery: Scores) -> ScoreRows:
    """Return the rows of queries [Q, D] times gallery [G, D] transposed, made when asked for.

    With unit rows these are cosines: rank them with `tie_width=COSINE_TIE_WIDTH`.
    """

    def rows(part: slice) -> Scores:
        product: Scores = queries[part] @ gallery.T
        return product

    return rows


def _rows_of(matrix: Scores) -> ScoreRows:
    return lambda part: matrix[part]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Source:
    """Scores in checked blocks, with the right places."""

    rows: ScoreRows
    right: NDArray[np.int64]
    num_gallery: int
    block_rows: int

    @classmethod
    def of(
        cls,
        scores: Scores | ScoreRows,
        right: Places,
        *,
        num_gallery: int | None,
        block_rows: int,
    ) -> _Source:
        places = np.asarray(right, dtype=np.int64)
        if isinstance(scores, np.ndarray):
            if scores.ndim != 2 or len(scores) != len(places):
                allowed = f"[{len(places)}, G]: a row for each right place"
                raise InvalidValue("shape of the scores", scores.shape, allowed)
            if num_gallery not in (None, scores.shape[1]):
                raise InvalidValue("num_gallery", num_gallery, f"{scores.shape[1]}, the columns")
            rows, num_gallery = _rows_of(scores), scores.shape[1]
        else:
            rows = scores
        if num_gallery is None:
            raise InvalidValue("num_gallery", None, "a number where scores come from a function")
        outside = places[(places < 0) | (places >= num_gallery)]
        if len(outside):
            raise InvalidValue("a right place", int(outside[0]), f"0 to {num_gallery - 1}")
        if block_rows < 1:
            raise InvalidValue("block_rows", block_rows, "at least 1")
        return cls(rows=rows, right=places, num_gallery=num_gallery, block_rows=block_rows)

    def blocks(self) -> Iterator[tuple[slice, Scores]]:
        for start in range(0, len(self.right), self.block_rows):
            part = slice(start, min(start + self.block_rows, len(self.right)))
            block = self.rows(part)
            if block.shape != (part.stop - part.start, self.num_gallery):
                allowed = f"({part.stop - part.start}, {self.num_gallery})"
                raise InvalidValue("shape of a block of scores", block.shape, allowed)
            if np.isnan(block).any():
                raise InvalidValue(f"a score of queries {start} to {part.stop - 1}", "NaN",
                                   "numbers; check the embedder")  # fmt: skip
            yield part, block
