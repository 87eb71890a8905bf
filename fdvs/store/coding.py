"""How vectors are stored: as they are, as float16, or in levels of a byte.

A row of vectors says its shape, and by its length how it is stored: four bytes a number are
float32, as in all libraries of older versions. In levels, each vector has a scale, its largest
number is level 255 (127 where numbers are negative, too), and the levels are compressed by zlib,
dimension by dimension, since frames of a clip are alike. That is for vectors of which only cosines
count: those of a clip's frames differ by less than 0.002 from the exact ones. Of unit vectors as
float16, cosines differ by less than 0.0001.
"""

from __future__ import annotations

import zlib
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Vectors

Coding = Literal["exact", "half", "levels"]

UNSIGNED, SIGNED, HALF = 1, 2, 3
LEVELS = {UNSIGNED: 255, SIGNED: 127}
MAX_CELLS = 2**24  # of one row in levels: what a small blob could claim to unfold to
ZLIB_LEVEL = 6


def encode(matrix: Vectors, coding: Coding) -> bytes:
    """Return the bytes of vectors [rows, dims]; coded only where that is shorter, and possible."""
    exact = matrix.astype("<f4", copy=False).tobytes()
    if coding == "exact" or not 0 < matrix.size <= MAX_CELLS:
        return exact
    if coding == "half":
        with np.errstate(over="ignore"):
            half = matrix.astype("<f2")
        return bytes([HALF]) + half.tobytes() if np.isfinite(half).all() else exact
    kind, scales, numbers = _in_levels(matrix)
    packed = zlib.compress(numbers.T.tobytes(), ZLIB_LEVEL)
    coded = bytes([kind]) + scales.astype("<f4").tobytes() + packed
    return coded if len(coded) < len(exact) and np.isfinite(scales).all() else exact


def _in_levels(matrix: Vectors) -> tuple[int, Vectors, NDArray[np.int8] | NDArray[np.uint8]]:
    """Return how vectors are coded, their scales and levels.

    Signed only where a level is below 0: what rounds to 0 would be read, and coded again, as
    unsigned.
    """
    scales, levels = _rounded(matrix, SIGNED)
    if levels.min() < 0:
        return SIGNED, scales, levels.astype(np.int8)
    scales, levels = _rounded(matrix, UNSIGNED)
    return UNSIGNED, scales, np.maximum(levels, 0).astype(np.uint8)


def _rounded(matrix: Vectors, kind: int) -> tuple[Vectors, Vectors]:
    scales = _short(np.abs(matrix).max(axis=1, keepdims=True) / np.float32(LEVELS[kind]))
    return scales, np.rint(np.divide(matrix, scales, out=np.zeros_like(matrix), where=scales > 0))


def _short(scales: Vectors) -> Vectors:
    """Return scales rounded up to 16 bits: times a level they are exact, so that vectors that were
    read are stored again as they were."""
    bits = np.ascontiguousarray(scales, dtype=np.float32).view(np.uint32)
    return ((bits + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)).view(np.float32)


def decode(blob: bytes, num_rows: int, num_dims: int) -> Vectors:
    """Return vectors [rows, dims] from their bytes. Raises ValueError for any others."""
    size = num_rows * num_dims
    if num_rows < 0 or num_dims < 0:
        raise ValueError(f"{len(blob)} bytes for shape [{num_rows}, {num_dims}]")
    if len(blob) == 4 * size:
        return np.frombuffer(blob, dtype="<f4").reshape(num_rows, num_dims)
    if blob and blob[0] == HALF and len(blob) == 1 + 2 * size and 0 < size <= MAX_CELLS:
        return _from_half(blob, num_rows, num_dims)
    if not blob or blob[0] not in LEVELS or not 0 < size <= MAX_CELLS or len(blob) > 4 * size:
        raise ValueError(f"{len(blob)} bytes for shape [{num_rows}, {num_dims}]")
    first = 1 + 4 * num_rows
    scales = np.frombuffer(blob[1:first], dtype="<f4")
    unpacker = zlib.decompressobj()
    try:
        levels = unpacker.decompress(blob[first:], size + 1)
    except zlib.error as error:
        raise ValueError(f"the levels cannot be unpacked ({error})") from error
    if len(scales) != num_rows or len(levels) != size or not unpacker.eof:
        raise ValueError(f"{len(levels)} levels for shape [{num_rows}, {num_dims}]")
    numbers = np.frombuffer(levels, np.int8 if blob[0] == SIGNED else np.uint8)
    with np.errstate(over="ignore"):
        rows = numbers.reshape(num_dims, num_rows).T.astype(np.float32) * scales[:, None]
    if not np.isfinite(rows).all():
        raise ValueError("a scale is not finite")
    return np.ascontiguousarray(rows)


def _from_half(blob: bytes, num_rows: int, num_dims: int) -> Vectors:
    rows = np.frombuffer(blob, "<f2", offset=1).astype(np.float32).reshape(num_rows, num_dims)
    if not np.isfinite(rows).all():
        raise ValueError("a number is not finite")
    return rows


def as_stored(matrix: Vectors, coding: Coding) -> Vectors:
    """Return vectors as they will be read: what is decided by them is then decided the same way by
    a later build."""
    rows = np.ascontiguousarray(matrix, dtype=np.float32)
    return decode(encode(rows, coding), *rows.shape)
