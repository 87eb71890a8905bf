"""Moment retrieval: overlap of time spans, R1@IoU and average precision of ranked moments.

Spans are half-open (start_s, end_s). R1@IoU is the measure of Charades-STA (Gao et al., TALL, ICCV
2017); average precision is that of temporal detection on one query (ActivityNet challenge,
used by QVHighlights, Lei et al. 2021): precision made monotone, area under all recall steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue

R1_THRESHOLDS = (0.3, 0.5, 0.7)
MAP_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
MAX_MOMENTS = 10

Span = tuple[float, float]
Spans = Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentScore:
    """Fractions from 0 to 1. `recall_at_1` and `average_precision` by threshold of IoU."""

    recall_at_1: dict[float, float]
    average_precision: dict[float, float]
    mean_iou: float
    num_queries: int

    @property
    def mean_average_precision(self) -> float:
        """Mean over the thresholds of `average_precision`."""
        return float(np.mean(list(self.average_precision.values())))


def iou_matrix(found: Spans, right: Spans) -> NDArray[np.float64]:
    """Return overlap over union [F, R] of spans; 0 where the union is empty.

    Raises InvalidValue for a span that ends before it starts, or is not finite.
    """
    one, other = _as_array(found), _as_array(right)
    starts = np.maximum(one[:, None, 0], other[None, :, 0])
    ends = np.minimum(one[:, None, 1], other[None, :, 1])
    overlap = np.clip(ends - starts, 0, None)
    lengths = (one[:, 1] - one[:, 0])[:, None] + (other[:, 1] - other[:, 0])[None, :]
    union = lengths - overlap
    iou: NDArray[np.float64] = np.divide(
        overlap, union, out=np.zeros_like(overlap), where=union > 0
    )
    return iou


def top_iou(ranked: Spans, right: Spans) -> float:
    """Return the best overlap of the first moment with any right span; 0 where one is missing."""
    return float(iou_matrix(ranked[:1], right).max()) if len(ranked) and len(right) else 0.0


def average_precision(ranked: Spans, right: Spans, *, threshold: float) -> float:
    """Return the average precision of moments, best first, at one threshold of IoU.

    A moment is right where it overlaps a right span, not taken by an earlier moment, by
    `threshold` or more; it takes the one that it overlaps most (the first of equals). No right
    span: 0, as in the ActivityNet script.
    """
    if not len(ranked) or not len(right):
        return 0.0
    hits = _matched(iou_matrix(ranked, right), threshold)
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    # monotone from the right: the precision at a recall is the best at that recall or beyond
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(envelope[hits].sum() / len(right))


def moment_score(
    ranked: Mapping[str, Spans],
    right: Mapping[str, Spans],
    *,
    r1_thresholds: Sequence[float] = R1_THRESHOLDS,
    map_thresholds: Sequence[float] = MAP_THRESHOLDS,
    max_moments: int = MAX_MOMENTS,
) -> MomentScore:
    """Score the moments of each query, best first, against the right spans of every query.

    A query without moments counts as wrong. Only the first `max_moments` are read.

    Raises InvalidValue where there is no query, or moments answer a query that is not asked.
    """
    if not right:
        raise InvalidValue("number of queries", 0, "at least 1")
    unknown = sorted(set(ranked) - set(right))
    if unknown:
        raise InvalidValue("a query with moments", unknown[0], "one of the queries asked")
    kept = {query: ranked.get(query, ())[:max_moments] for query in right}
    ious = np.array([top_iou(kept[query], right[query]) for query in right])
    return MomentScore(
        recall_at_1={t: float((ious >= t).mean()) for t in r1_thresholds},
        average_precision={
            t: float(np.mean([average_precision(kept[q], right[q], threshold=t) for q in right]))
            for t in map_thresholds
        },
        mean_iou=float(ious.mean()),
        num_queries=len(right),
    )


def _matched(iou: NDArray[np.float64], threshold: float) -> NDArray[np.bool_]:
    """Return which moments [F] take a right span, going through them in rank order."""
    free = np.ones(iou.shape[1], dtype=np.bool_)
    hits = np.zeros(len(iou), dtype=np.bool_)
    for rank, row in enumerate(iou):
        overlap = np.where(free, row, -1.0)
        taken = int(overlap.argmax())
        hits[rank] = overlap[taken] >= threshold
        free[taken] &= not hits[rank]
    return hits


def _as_array(spans: Spans) -> NDArray[np.float64]:
    array = np.asarray(list(spans), dtype=np.float64).reshape(-1, 2)
    wrong = ~np.isfinite(array).all(axis=1) | (array[:, 1] < array[:, 0])
    if wrong.any():
        raise InvalidValue("a span", tuple(array[wrong][0].tolist()), "start_s <= end_s, finite")
    return array
