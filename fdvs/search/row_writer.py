"""Collects the vectors of a library a few at a time: many of them in a temporary file.

A million single arrays would take twice the room of their numbers, and leave holes in the memory.
"""

from __future__ import annotations

import contextlib
import mmap
import tempfile
from array import array
from io import FileIO
from pathlib import Path

import numpy as np

from fdvs.types import Vectors
from fdvs.vectors import unit_rows

CHUNK_ROWS = 4096  # that are put together at a time
MEMORY_BYTES = 2**26  # more than these go to a file


class RowWriter:
    """Vectors of `num_dims` numbers, and the owner of each.

    Args:
        folder: where a temporary file goes; the system's folder where it cannot be written.
        of_length_one: divide each vector by its length.
    """

    def __init__(
        self, num_dims: int, folder: Path | None = None, *, of_length_one: bool = False
    ) -> None:
        self.owners = array("q")
        self._num_dims, self._folder, self._of_length_one = num_dims, folder, of_length_one
        self._pieces: list[Vectors] = []
        self._num_pending = 0
        self._chunks: list[Vectors] = []
        self._file: FileIO | None = None
        self._file_rows = 0

    def add(self, owner: int, vectors: Vectors) -> None:
        """Add vectors [rows, num_dims] of one owner."""
        self.owners.extend([owner] * len(vectors))
        self._pieces.append(vectors)
        self._num_pending += len(vectors)
        if self._num_pending >= CHUNK_ROWS:
            self._put_together()

    def joined_by(self, other: RowWriter) -> RowWriter:
        """Return this one with the vectors of another after its own; `owners` stay apart."""
        self._put_together()
        vectors = other.finish()
        for start in range(0, len(vectors), CHUNK_ROWS):
            self._chunks.append(np.array(vectors[start : start + CHUNK_ROWS]))
            self._spill()
        return self

    def finish(self) -> Vectors:
        """Return all vectors [R, num_dims] as float32, mapped from the file where there is one."""
        self._put_together()
        shape = (-1, self._num_dims)
        if self._file is None:
            return np.concatenate([np.zeros((0, self._num_dims), np.float32), *self._chunks])
        self._spill(all_of_it=True)
        with contextlib.closing(self._file) as file:
            if not self._chunks:
                view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                return np.frombuffer(view, np.float32).reshape(shape)
            file.seek(0)  # the disk is full: all of it into memory
            stored = np.frombuffer(file.readall(), np.uint8)
        whole = stored[: self._file_rows * 4 * self._num_dims].view(np.float32)
        return np.concatenate([whole.reshape(shape), *self._chunks])

    def _put_together(self) -> None:
        if not self._pieces:
            return
        rows = np.concatenate(self._pieces)
        self._pieces, self._num_pending = [], 0
        self._chunks.append((unit_rows(rows) if self._of_length_one else rows).astype(np.float32))
        self._spill()

    def _spill(self, *, all_of_it: bool = False) -> None:
        """Move chunks to the file where they are too many for the memory, or `all_of_it`."""
        num_bytes = sum(chunk.nbytes for chunk in self._chunks)
        if num_bytes <= (0 if all_of_it else MEMORY_BYTES):
            return
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = _temporary(self._folder)
            while self._chunks:
                data = self._chunks[0].tobytes()
                self._file.seek(self._file_rows * 4 * self._num_dims)
                if self._file.write(data) != len(data):
                    return
                self._file_rows += len(self._chunks.pop(0))


def _temporary(folder: Path | None) -> FileIO:
    try:
        return tempfile.TemporaryFile(dir=folder, prefix=".search-", buffering=0)
    except OSError:
        return tempfile.TemporaryFile(buffering=0)
