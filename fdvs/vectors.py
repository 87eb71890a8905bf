"""Normalise vectors to unit length, in double precision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import BadModelOutput
from fdvs.types import Vectors

Doubles = NDArray[np.float64]

_TINY = 1e-9


def unit_rows(vectors: Vectors | Doubles) -> Doubles:
    """Return float64 [N, D] with rows of length 1; a row of (nearly) zeros becomes zeros.

    In doubles, so that the order of summation cannot change a rounded decision.
    Raises BadModelOutput if a value is not finite, ValueError if the rank is not 2.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors have shape {vectors.shape}; need [N, D]")
    rows = vectors.astype(np.float64)
    if not np.isfinite(rows).all():
        bad = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise BadModelOutput(
            f"embedding {bad} of {len(rows)} is not finite; check the embedder's number type"
        )
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Doubles = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > _TINY)
    return units
