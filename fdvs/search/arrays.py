"""Arrays in one memory-mapped file, whole or not at all.

    magic, size of the header, its SHA-256 | header: JSON | arrays, each at a multiple of 64 bytes

The header says of which state of the library the arrays are (`key`), and of each array its kind,
shape, place and checksum. The file comes from outside: nothing of it is run, every array must lie
within the file, and its bytes must match the checksum. Whoever may write it may write the library
itself, so the checksum is against damage, not against forgery.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fdvs.fingerprint import canonical_json

Array = NDArray[Any]

MAGIC = b"FDVSARR1"
ALIGN = 64
MAX_HEADER_BYTES = 2**16
CHUNK_BYTES = 2**22
MOST_SUM = 2**64 - 1
KINDS = ("<f4", "<f8", "<i4", "<i8", "<u2", "|i1", "|u1")
_PREFIX = len(MAGIC) + 8 + 32


class BadArrays(Exception):
    """Why a file is not believed, in one line."""


def write_arrays(path: Path, key: str, arrays: Mapping[str, Array]) -> None:
    """Write arrays by a temporary file beside `path`: no reader sees half of it. Raises OSError."""
    stored = {name: _plain(array) for name, array in arrays.items()}
    header: dict[str, list[Any]] = {}
    at = 0
    for name, array in stored.items():
        at = _aligned(at)
        header[name] = [array.dtype.str, list(array.shape), at, MOST_SUM]
        at += array.nbytes
    size = len(_header_text(key, header))  # at most; the rest is filled with spaces
    first = _aligned(_PREFIX + size)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    try:
        with temporary.open("wb") as file:
            for name, array in stored.items():
                file.seek(first + header[name][2])
                header[name][3] = _write(file, array)
            file.truncate(first + at)
            text = _header_text(key, header).ljust(size)
            file.seek(0)
            file.write(MAGIC + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest())
            file.write(text)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _header_text(key: str, header: Mapping[str, list[Any]]) -> bytes:
    return canonical_json({"key": key, "arrays": header}).encode()


def _write(file: BinaryIO, array: Array) -> int:
    """Write the bytes of an array and return their checksum."""
    view, mapping, sums = _bytes_of(array), mapping_of(array), []
    for start in range(0, len(view), CHUNK_BYTES):
        chunk = view[start : start + CHUNK_BYTES]
        sums.append(_sum(chunk))
        file.write(chunk)
        let_go(mapping)
    return _together(sums)


def mapping_of(array: Array) -> mmap.mmap | None:
    """Return the mapped file that an array is a view of, None where it lies in memory."""
    base: Any = array
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    return base if isinstance(base, mmap.mmap) else None


def let_go(mapping: mmap.mmap | None) -> None:
    """Tell the system that what was read of a mapped file need not stay in memory."""
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def read_arrays(path: Path, key: str, wanted: Mapping[str, tuple[str, int]]) -> dict[str, Array]:
    """Return the arrays of a file as views of it.

    Args:
        key: the state of the library that they must be of.
        wanted: the kind and the number of dimensions of each array.

    Raises BadArrays for anything else than was written, FileNotFoundError where there is none.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise BadArrays("it is not a regular file")
        header, first = _header(file.read(_PREFIX + MAX_HEADER_BYTES), key)
        places = {name: _place(name, header.get(name), *one) for name, one in wanted.items()}
        end = first + max(at + size for _, _, at, size, _ in places.values())
        if end > found.st_size:
            raise BadArrays(f"it has {found.st_size} of {end} bytes")
        for name, (_, _, at, size, checksum) in places.items():
            file.seek(first + at)
            if _checksum_of(file, size) != checksum:
                raise BadArrays(f"the bytes of {name} and their checksum do not agree")
        view = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(view, kind, size // np.dtype(kind).itemsize, first + at).reshape(shape)
        for name, (kind, shape, at, size, _) in places.items()
    }


def _header(data: bytes, key: str) -> tuple[dict[str, Any], int]:
    """Return what a file says of its arrays, and where they begin."""
    size = int.from_bytes(data[len(MAGIC) : len(MAGIC) + 8], "little")
    text = data[_PREFIX : _PREFIX + size]
    if data[: len(MAGIC)] != MAGIC or not 0 < size <= MAX_HEADER_BYTES or len(text) != size:
        raise BadArrays("it does not begin as such a file does")
    if hashlib.sha256(text).digest() != data[len(MAGIC) + 8 : _PREFIX]:
        raise BadArrays("its header and their digest do not agree")
    try:
        header = json.loads(text)
        arrays = header["arrays"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadArrays("its header is not of this kind") from error
    if not isinstance(arrays, dict):
        raise BadArrays("its header is not of this kind")
    if header.get("key") != key:
        raise BadArrays("the library has changed since")
    return arrays, _aligned(_PREFIX + size)


def _place(
    name: str, said: Any, kind: str, num_dims: int
) -> tuple[str, tuple[int, ...], int, int, int]:
    """Return kind, shape, offset, size in bytes and checksum of an array."""
    try:
        found, shape, at, checksum = said
        sizes = [*shape, at, checksum]
    except (TypeError, ValueError) as error:
        raise BadArrays(f"it has no {name}") from error
    whole = all(isinstance(one, int) and 0 <= one < 2**64 for one in sizes)
    if found != kind or len(shape) != num_dims or not whole or at % ALIGN:
        raise BadArrays(f"its {name} has another form")
    size = np.dtype(kind).itemsize
    for one in shape:
        size *= one
    return kind, tuple(shape), at, size, checksum


def _plain(array: Array) -> Array:
    """Return an array as it is stored: contiguous, little-endian."""
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if stored.dtype.str not in KINDS:
        raise ValueError(f"arrays of {stored.dtype.str} are not stored, only {', '.join(KINDS)}")
    return stored


def _bytes_of(array: Array) -> memoryview:
    return memoryview(array.reshape(-1).view(np.uint8).data)


def _checksum_of(file: Any, size: int) -> int:
    def sums() -> Any:
        left, buffer = size, bytearray(CHUNK_BYTES)
        while left:
            view = memoryview(buffer)[: min(left, CHUNK_BYTES)]
            num = file.readinto(view)
            if num != len(view):
                raise BadArrays("it ends too early")
            yield _sum(view)
            left -= num

    return _together(sums())


def _sum(view: memoryview) -> int:
    """Return the sum of a chunk's 64-bit words; any single damaged word changes it."""
    num = len(view) // 8 * 8
    words = np.frombuffer(view[:num], "<u8")
    return (int(words.sum(dtype=np.uint64)) + int.from_bytes(view[num:], "little")) % 2**64


def _together(sums: Any) -> int:
    """Return one number of the chunks' sums that their order changes."""
    found = 0
    for one in sums:
        found = (found * 31 + one + 1) % 2**64
    return found


def _aligned(at: int) -> int:
    return -(-at // ALIGN) * ALIGN
