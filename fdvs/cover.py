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

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.redundancy import STEPS_PER_UNIT, Mask
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

#: Items further apart than this never stand for each other: bounds the memory of long lists.
MAX_REACH = 1000

Steps = NDArray[np.int32]


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
    Time O(N reach D) and O(kept reach^2), memory O(N reach). Raises BadModelOutput where a value
    is not finite, ValueError for a `reach` below 1.
    """
    if reach < 1:
        raise ValueError(f"reach is {reach}; need at least 1")
    rows_ND = unit_rows(vectors)
    keep = np.zeros(len(rows_ND), dtype=np.bool_)
    if not len(rows_ND):
        return keep
    reach = min(reach, MAX_REACH, max(1, len(rows_ND) - 1))
    band = _Band(_similarities(rows_ND, reach), reach)
    cost = max(1, round((1 - floor) * STEPS_PER_UNIT))
    for item in forced:
        keep[item] = True
        band.keep(item)
    while (item := int(np.argmax(band.gains))) >= 0 and band.gains[item] >= cost:
        keep[item] = True
        band.keep(item)
    return keep


def _similarities(rows_ND: NDArray[np.float64], reach: int) -> Steps:
    """Return steps [N, 2 reach + 1]: column d is the similarity to the item d - reach places on.

    Negative similarities explain nothing and count as 0, as do places outside of the list.
    """
    num = len(rows_ND)
    band = np.zeros((num, 2 * reach + 1), dtype=np.int32)
    # an item stands for itself, a vector of zeros too
    band[:, reach] = STEPS_PER_UNIT
    for step in range(1, reach + 1):
        cosines = np.einsum("nd,nd->n", rows_ND[:-step], rows_ND[step:])
        steps = np.rint(np.clip(cosines, 0.0, 1.0) * STEPS_PER_UNIT).astype(np.int32)
        band[: num - step, reach + step] = steps
        band[step:, reach - step] = steps
    return band


class _Band:
    """How well every item is explained so far, and what keeping each one would add.

    Arrays with a margin of `reach` on both sides, so that a window never leaves them.
    """

    def __init__(self, similar: Steps, reach: int) -> None:
        self._similar, self._reach = similar, reach
        self._explained = np.zeros(len(similar) + 2 * reach, dtype=np.int32)
        self.gains = np.zeros(len(similar), dtype=np.int64)
        self._update(0, len(similar))

    def keep(self, item: int) -> None:
        """Explain the neighbours of an item by it; only gains within two reaches can change."""
        window = slice(item, item + 2 * self._reach + 1)
        self._explained[window] = np.maximum(self._explained[window], self._similar[item])
        self._update(item - 2 * self._reach, item + 2 * self._reach + 1)

    def _update(self, start: int, end: int) -> None:
        start, end = max(0, start), min(len(self.gains), end)
        width = 2 * self._reach + 1
        explained = np.lib.stride_tricks.sliding_window_view(
            self._explained[start : end + 2 * self._reach], width
        )
        more = np.maximum(self._similar[start:end] - explained, 0)
        self.gains[start:end] = more.sum(axis=1, dtype=np.int64)
