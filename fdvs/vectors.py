"""Vectors of questions, and vectors of unit length in double precision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import BadModelOutput
from fdvs.types import Vectors

if TYPE_CHECKING:
    from fdvs.protocols import TextEmbedder

Doubles = NDArray[np.float64]

_TINY = 1e-9
SCORE_DECIMALS = 6  # float32 sums differ in the seventh place with the batch; ties stay ties


def embed_queries(embedder: TextEmbedder, texts: Sequence[str]) -> Vectors:
    """Return unit rows [len(texts), D] of questions.

    Some models were trained to embed a question unlike the texts that answer it: those have a
    method of this name beside `embed_texts`.
    """
    own = getattr(embedder, "embed_queries", None)
    rows: Vectors = embedder.embed_texts(texts) if own is None else own(texts)
    return rows


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


def rounded(scores: Vectors) -> Doubles:
    """Return cosines in doubles, rounded to `SCORE_DECIMALS`."""
    return cast("Doubles", np.round(scores.astype(np.float64), SCORE_DECIMALS))
