"""Policy `cover`: greedy facility location, the smallest set that represents the rest.

An item is covered as well as its most similar kept item resembles it; keeping one more item costs
1 - `floor`. Greedily, the item that adds most coverage is kept while it adds at least that cost.
The objective is submodular, so that the greedy choice is near the optimum (Lin and Bilmes, A Class
of Submodular Functions for Document Summarization, ACL 2011). It follows that

* every dropped item has a kept one at least `floor` similar: outliers stay;
* of a group of equal items a typical one stays, not the first;
* a large group of less similar items keeps more than one.

A rule that compares with the mean of others, in contrast, drops an item that lies between two kept
groups although no kept item represents it.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from fdvs.types import Mask, Vectors
from fdvs.vectors import unit_rows

#: Similarities are compared as whole numbers of these steps.
STEPS_PER_UNIT = 10_000
#: Items further apart than this are never compared: bounds the memory of long lists.
MAX_REACH = 500
#: Rows that are compared at once.
BLOCK = 256

Steps = NDArray[np.int16]


def keep_cover(
    vectors: Vectors, *, floor: float, reach: int = MAX_REACH, forced: Sequence[int] = (0,)
) -> Mask:
    """Return which of the items [N] to keep.

    Args:
        vectors: embeddings [N, D], in order.
        floor: similarity below which no item represents another.
        reach: how many places apart an item and the one that represents it may be.
        forced: items that are kept in any case.

    Similarities are whole steps of 1e-4, so that ties are exact; they go to the first item.
    Time O(N reach D), and O(reach) per re-evaluated gain; memory O(N (reach + D)).
    Raises BadModelOutput if a value is not finite, ValueError for a `reach` below 1.
    """
    if reach < 1:
        raise ValueError(f"reach is {reach}; need at least 1")
    rows_ND = unit_rows(vectors)
    keep = np.zeros(len(rows_ND), dtype=np.bool_)
    if not len(rows_ND):
        return keep
    reach = min(reach, MAX_REACH, max(1, len(rows_ND) - 1))
    band = _Band(_similarities(rows_ND, reach), reach)
    for item in forced:
        keep[item] = True
        band.keep(item)
    keep[_greedy(band, max(1, round((1 - floor) * STEPS_PER_UNIT)))] = True
    return keep


def _greedy(band: _Band, cost: int) -> list[int]:
    """Keep the item of the greatest gain while it is at least `cost`; return the kept items.

    Lazy greedy evaluation: gains only fall as others are kept, so an old gain is an upper bound.
    An item that is still first after its gain was computed anew is the best, and one whose gain is
    below the cost never returns.
    """
    kept: list[int] = []
    queue = [(-gain, item) for item, gain in enumerate(band.gains()) if gain >= cost]
    heapq.heapify(queue)
    while queue:
        _, item = heapq.heappop(queue)
        gain = band.gain(item)
        if gain < cost:
            continue
        if queue and (-gain, item) > queue[0]:
            heapq.heappush(queue, (-gain, item))
            continue
        kept.append(item)
        band.keep(item)
    return kept


def _similarities(rows_ND: NDArray[np.float64], reach: int) -> Steps:
    """Return steps [N, 2 reach + 1]: column d is the similarity to the item d - reach places on.

    Negative similarities cover nothing and count as 0, as do places outside the list.
    """
    num = len(rows_ND)
    band = np.zeros((num, 2 * reach + 1), dtype=np.int16)
    for start in range(0, num, BLOCK):
        block = rows_ND[start : start + BLOCK]
        onward = rows_ND[start : start + len(block) + reach]
        steps = np.zeros((len(block), len(block) + reach), dtype=np.int16)
        steps[:, : len(onward)] = np.rint(np.clip(block @ onward.T, 0, 1) * STEPS_PER_UNIT)
        # row i begins at its own place: a view of the diagonals of the block
        down, along = steps.strides
        shape = (len(block), reach + 1)
        band[start : start + BLOCK, reach:] = as_strided(steps, shape, (down + along, along))
    for step in range(1, min(reach, num - 1) + 1):
        band[step:, reach - step] = band[: num - step, reach + step]
    # an item represents itself, a vector of zeros too
    band[:, reach] = STEPS_PER_UNIT
    return band


class _Band:
    """How well every item is covered so far, and what keeping each one would add.

    `_covered` has a margin of `reach` on both sides, so that a window never leaves it.
    """

    def __init__(self, similar: Steps, reach: int) -> None:
        self._similar = similar
        self._covered = np.zeros(len(similar) + 2 * reach, dtype=np.int16)

    def keep(self, item: int) -> None:
        """Cover the neighbours of an item by it."""
        near = self._near(item)
        np.maximum(near, self._similar[item], out=near)

    def gain(self, item: int) -> int:
        """Return what keeping the item would add, in steps."""
        return int(np.maximum(self._similar[item] - self._near(item), 0).sum(dtype=np.int64))

    def gains(self) -> list[int]:
        """Return what keeping each item would add, in steps."""
        windows = sliding_window_view(self._covered, self._similar.shape[1])
        found: list[int] = []
        for start in range(0, len(windows), BLOCK):
            part = slice(start, start + BLOCK)
            more = np.maximum(self._similar[part] - windows[part], 0)
            found += more.sum(axis=1, dtype=np.int64).tolist()
        return found

    def _near(self, item: int) -> Steps:
        return self._covered[item : item + self._similar.shape[1]]
