"""Policy `cover`: keep the items that stand for the others best, as many as are worth their place.

An item is explained by its most similar kept item; keeping one more costs 1 - `floor`. Greedily the
item that explains most is kept, as long as that is worth the cost. This is facility location, a
submodular objective, for which greedy choice is near the optimum (Lin and Bilmes, A Class of
Submodular Functions for Document Summarization, ACL 2011). What follows:

* a dropped item has a kept one not less similar than `floor`: what is unlike all stays;
* of equal items one stays, and it is a typical one of its group, not the first;
* a group of many that are less alike keeps more than one.

The other rules judge an item by the mean of others, and so drop what lies between two kept groups
although nothing kept says the same.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view
from numpy.typing import NDArray

from fdvs.redundancy.rules import STEPS_PER_UNIT, Mask
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

#: Items further apart than this never stand for each other: bounds the memory of long lists.
MAX_REACH = 500
#: So many rows are compared at once.
BLOCK = 256

Steps = NDArray[np.int16]


def keep_cover(
    vectors: Vectors, *, floor: float, reach: int = MAX_REACH, forced: Sequence[int] = (0,)
) -> Mask:
    """Return which of the items [N] to keep.

    Args:
        vectors: embeddings [N, D], in order.
        floor: similarity below which no item stands for another.
        reach: how many places apart an item and the one that stands for it may be.
        forced: items that are kept in any case.

    Similarities count in whole steps of 1e-4, so that ties are exact: the first of equals stays.
    Time O(N reach D) and O(reach) for every gain that is looked at again, memory O(N (reach + D)).
    Raises BadModelOutput where a value is not finite, ValueError for a `reach` below 1.
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
    keep[_worth(band, max(1, round((1 - floor) * STEPS_PER_UNIT)))] = True
    return keep


def _worth(band: _Band, cost: int) -> list[int]:
    """Keep the item that adds most, as long as it adds `cost`; return what was kept.

    What an item adds only falls as others are kept. So an old number is a bound: an item that is
    still first after its own is counted again is the best, and one below the cost never returns.
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

    Negative similarities explain nothing and count as 0, as do places outside of the list.
    """
    num = len(rows_ND)
    band = np.zeros((num, 2 * reach + 1), dtype=np.int16)
    for start in range(0, num, BLOCK):
        block = rows_ND[start : start + BLOCK]
        onward = rows_ND[start : start + len(block) + reach]
        steps = np.zeros((len(block), len(block) + reach), dtype=np.int16)
        steps[:, : len(onward)] = np.rint(np.clip(block @ onward.T, 0, 1) * STEPS_PER_UNIT)
        # row i from its own place on: the diagonals of the block
        down, along = steps.strides
        shape = (len(block), reach + 1)
        band[start : start + BLOCK, reach:] = as_strided(steps, shape, (down + along, along))
    for step in range(1, min(reach, num - 1) + 1):
        band[step:, reach - step] = band[: num - step, reach + step]
    # an item stands for itself, a vector of zeros too
    band[:, reach] = STEPS_PER_UNIT
    return band


class _Band:
    """How well every item is explained so far, and what keeping each one would add.

    `explained` has a margin of `reach` on both sides, so that a window never leaves it.
    """

    def __init__(self, similar: Steps, reach: int) -> None:
        self._similar = similar
        self._explained = np.zeros(len(similar) + 2 * reach, dtype=np.int16)

    def keep(self, item: int) -> None:
        """Explain the neighbours of an item by it."""
        near = self._near(item)
        np.maximum(near, self._similar[item], out=near)

    def gain(self, item: int) -> int:
        """Return what keeping the item would add, in steps."""
        return int(np.maximum(self._similar[item] - self._near(item), 0).sum(dtype=np.int64))

    def gains(self) -> list[int]:
        """Return what keeping each one would add."""
        windows = sliding_window_view(self._explained, self._similar.shape[1])
        found: list[int] = []
        for start in range(0, len(windows), BLOCK):
            part = slice(start, start + BLOCK)
            more = np.maximum(self._similar[part] - windows[part], 0)
            found += more.sum(axis=1, dtype=np.int64).tolist()
        return found

    def _near(self, item: int) -> Steps:
        return self._explained[item : item + self._similar.shape[1]]
