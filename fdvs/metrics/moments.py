"""Moment retrieval: overlap of time spans, R1@IoU and mean IoU of the first moment.

Spans are half-open (start_s, end_s). R1@IoU is the measure of Charades-STA (Gao et al., TALL, ICCV
2017).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue

R1_THRESHOLDS = (0.3, 0.5, 0.7)

Span = tuple[float, float]
Spans = Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class MomentScore:
    """Fractions from 0 to 1; `recall_at_1` by threshold of IoU."""

    recall_at_1: dict[float, float]
    mean_iou: float
    num_queries: int


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


def moment_score(ranked: Mapping[str, Spans], right: Mapping[str, Spans]) -> MomentScore:
    """Score the moments of each query, best first, against the right spans of every query.

    A query without moments counts as wrong.

    Raises InvalidValue where there is no query, or moments answer a query that is not asked.
    """
    if not right:
        raise InvalidValue("number of queries", 0, "at least 1")
    unknown = sorted(set(ranked) - set(right))
    if unknown:
        raise InvalidValue("a query with moments", unknown[0], "one of the queries asked")
    ious = np.array([top_iou(ranked.get(query, ()), right[query]) for query in right])
    return MomentScore(
        recall_at_1={t: float((ious >= t).mean()) for t in R1_THRESHOLDS},
        mean_iou=float(ious.mean()),
        num_queries=len(right),
    )


def _as_array(spans: Spans) -> NDArray[np.float64]:
    array = np.asarray(list(spans), dtype=np.float64).reshape(-1, 2)
    wrong = ~np.isfinite(array).all(axis=1) | (array[:, 1] < array[:, 0])
    if wrong.any():
        raise InvalidValue("a span", tuple(array[wrong][0].tolist()), "start_s <= end_s, finite")
    return array
