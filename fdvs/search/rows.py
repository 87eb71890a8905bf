"""Unit vectors, searched exactly: by NumPy, or by FAISS where there are very many."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Vectors

# Below, one matrix product takes less time than importing FAISS; both are exact.
FAISS_FROM = 50_000

logger = logging.getLogger(__name__)


class Rows:
    """Unit rows [N, D], float32. D may be 0 where there are none."""

    def __init__(self, rows: Vectors) -> None:
        self._rows = rows
        self._index = _faiss_index(rows) if len(rows) >= FAISS_FROM else None

    def __len__(self) -> int:
        return len(self._rows)

    def part(self, low: int, high: int) -> Vectors:
        """Return rows [low, high)."""
        return self._rows[low:high]

    def above(
        self, unit: Vectors, low: int, high: int, bound: float
    ) -> tuple[NDArray[np.int64], Vectors]:
        """Return the places within [low, high) whose cosine is above a bound, and the cosines.

        Args:
            unit: a unit vector [1, D].
        """
        if self._index is not None:
            return _by_faiss(self._index, unit, low, high, bound)
        scores = self._rows[low:high] @ unit[0]
        places = np.flatnonzero(scores > bound)
        return places + low, scores[places]


def _by_faiss(
    index: Any, unit: Vectors, low: int, high: int, bound: float
) -> tuple[NDArray[np.int64], Vectors]:
    faiss: Any = importlib.import_module("faiss")
    only = faiss.SearchParameters(sel=faiss.IDSelectorRange(low, high))
    _, scores, places = index.range_search(unit, bound, params=only)
    return places, scores


def _faiss_index(rows: Vectors) -> Any:
    """Return a flat FAISS index of rows, None where FAISS is not installed."""
    if importlib.util.find_spec("faiss") is None:
        logger.info("index: %d vectors are searched by NumPy; faiss-cpu would be faster", len(rows))
        return None
    faiss: Any = importlib.import_module("faiss")
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return index
