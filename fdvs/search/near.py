"""Exact search for the vectors near to one, most of which levels of a byte rule out.

Of a large set, each vector v is also kept as levels l (int8) and a step s: v = s * l + e, with the
lengths of s * l and e. With a query q = t * m + f, coded alike, |v.q - s * t * (l.m)| is at most
|e| * |q| + |s * l| * |f| (Cauchy-Schwarz). What lies below the bound by more than that is no match;
the rest is compared in float32, as every vector of a small set is. So the same is found, and a
quarter of the bytes is read. SimSIMD multiplies the levels; where it is not installed, every vector
is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from fdvs.search.arrays import let_go, mapping_of
from fdvs.search.columns import Levels, Places
from fdvs.types import Vectors
from fdvs.vectors import Doubles

TOP = 127
MAX_DIMS = 2**17  # whose products of levels fit into 32 bits
CHUNK_ROWS = 2**12
PIECE_ROWS = 2**8
ROUNDING = 2.0**-23  # of float32, twice what a number may be off
DENSE = 0.2  # the share of rows from which on one product over all of them takes less time


def levels_of(vectors: Vectors) -> Levels:
    """Return the levels of vectors [R, D]; one that is not finite has an endless error."""
    num, dims = vectors.shape
    levels = np.empty((num, dims), np.int8)
    steps, lengths, errors = (np.empty(num, np.float32) for _ in range(3))
    mapping = mapping_of(vectors)
    for start in range(0, num, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        levels[rows], steps[rows], lengths[rows], errors[rows] = _coded(vectors[rows])
        let_go(mapping)
    return Levels(levels=levels, steps=steps, lengths=lengths, errors=errors)


def _coded(vectors: Vectors) -> tuple[NDArray[np.int8], Vectors, Vectors, Vectors]:
    """Return levels, steps, and the lengths of what they say and of what they leave out."""
    is_finite = np.asarray(np.isfinite(vectors).all(axis=1))
    exact = np.where(is_finite[:, None], vectors, 0.0).astype(np.float64)
    steps = _up(np.abs(exact).max(axis=1, initial=0.0) / TOP)
    coded = np.rint(exact / steps[:, None].astype(np.float64))
    said = coded * steps[:, None].astype(np.float64)
    lengths = _up(np.linalg.norm(said, axis=1))
    errors = np.where(is_finite, np.linalg.norm(exact - said, axis=1), np.inf)
    return coded.astype(np.int8), steps, lengths, _up(errors)


def _up(numbers: Doubles) -> Vectors:
    """Return numbers as float32, above what they were and above 0."""
    up: Vectors = np.nextafter(numbers.astype(np.float32), np.float32(np.inf))
    return up


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Vectors [R, D], and their levels where they are kept."""

    vectors: Vectors
    levels: Levels | None = None

    def above(
        self, query: Vectors, least: float, low: int = 0, high: int | None = None
    ) -> tuple[Places, Vectors]:
        """Return the rows in [low, high) whose product with a float32 `query` [D] is above
        `least`, rising, and the products."""
        high = len(self.vectors) if high is None else high
        chosen = self._not_ruled_out(query, least, low, high)
        if chosen is None:
            products = self.vectors[low:high] @ query
            rows = np.flatnonzero(products > least)
            return rows + low, products[rows]
        products = self._products(chosen, query)
        is_near = products > least
        return chosen[is_near], products[is_near]

    def _products(self, rows: Places, query: Vectors) -> Vectors:
        """Return the products of some rows with a query, a piece at a time: it stays in a cache."""
        products = np.empty(len(rows), np.float32)
        piece = np.empty((min(len(rows), PIECE_ROWS), self.vectors.shape[1]), np.float32)
        for start in range(0, len(rows), PIECE_ROWS):
            some = rows[start : start + PIECE_ROWS]
            taken = np.take(self.vectors, some, axis=0, out=piece[: len(some)], mode="clip")
            products[start : start + len(some)] = taken @ query
        return products

    def _not_ruled_out(self, query: Vectors, least: float, low: int, high: int) -> Places | None:
        """Return the rows that may be near, None where it is quicker to compare all."""
        kept, product = self.levels, _simsimd()
        num_dims = self.vectors.shape[1]
        if kept is None or product is None or low >= high or not 0 < num_dims <= MAX_DIMS:
            return None
        if not np.isfinite(query).all():
            return None
        coded, (step,), _, (error,) = _coded(query[None])
        sums = product.cdist(kept.levels[low:high], coded, "dot", threads=0)  # 0: all cores
        about = np.asarray(sums).reshape(-1) * kept.steps[low:high]
        about *= step
        size = float(np.linalg.norm(query.astype(np.float64))) * (1 + ROUNDING)
        stray = size * num_dims * ROUNDING  # of the float32 sum that decides, a unit of length

        def room(lengths: Vectors, errors: Vectors) -> Doubles:
            """How far above `about` a product may be."""
            left_out, said = np.asarray(errors, np.float64), np.asarray(lengths, np.float64)
            most: Doubles = left_out * (size + stray) + said * (float(error) + stray)
            return most

        lengths, errors = kept.lengths[low:high], kept.errors[low:high]
        least -= abs(least) * ROUNDING
        rows = np.flatnonzero(about > least - room(lengths.max(), errors.max()))
        rows = rows[about[rows] > least - room(lengths[rows], errors[rows])]
        return None if len(rows) > DENSE * (high - low) else rows + low


@cache
def _simsimd() -> ModuleType | None:
    try:
        import simsimd
    except ImportError:
        return None
    return simsimd
