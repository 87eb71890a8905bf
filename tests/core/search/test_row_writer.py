"""Vectors come back as they were added: from memory, from a file, and from a full disk."""

from __future__ import annotations

import errno
import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.search import row_writer
from fdvs.search.arrays import mapping_of
from fdvs.search.row_writer import RowWriter
from fdvs.types import Vectors


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_writer, "CHUNK_ROWS", 4)
    monkeypatch.setattr(row_writer, "MEMORY_BYTES", 200)


def pieces(num: int, seed: int = 0) -> list[Vectors]:
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 4, num)
    return [random.normal(size=(size, 5)).astype(np.float32) for size in sizes]


def filled(writer: RowWriter, rows: list[Vectors]) -> RowWriter:
    for owner, one in enumerate(rows):
        writer.add(owner, one)
    return writer


@pytest.mark.parametrize("num", [0, 1, 3, 60])
def test_what_was_added_comes_back_in_order(tmp_path: Path, num: int) -> None:
    rows = pieces(num)
    writer = filled(RowWriter(5, tmp_path), rows)
    found = writer.finish()
    assert np.array_equal(found, np.concatenate([np.zeros((0, 5), np.float32), *rows]))
    assert found.dtype == np.float32
    assert list(writer.owners) == [n for n, one in enumerate(rows) for _ in one]
    assert isinstance(mapping_of(found), mmap.mmap) == (num == 60)
    assert list(tmp_path.iterdir()) == []


def test_vectors_are_divided_by_their_length_once(tmp_path: Path) -> None:
    rows, others = pieces(40), pieces(30, seed=1)
    one = filled(RowWriter(5, tmp_path, of_length_one=True), rows)
    other = filled(RowWriter(5, tmp_path, of_length_one=True), others)
    every = np.concatenate([*rows, *others]).astype(np.float64)
    wanted = every / np.linalg.norm(every, axis=1, keepdims=True)
    assert np.array_equal(one.joined_by(other).finish(), wanted.astype(np.float32))


class FullDisk:
    """A file that takes some bytes and then no more."""

    def __init__(self, real: Any, room: int, *, raises: bool) -> None:
        self._real, self._room, self._raises = real, room, raises

    def write(self, data: bytes) -> int:
        some = data[: self._room]
        self._room -= len(some)
        written = int(self._real.write(some))
        if written < len(data) and self._raises:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("room", [0, 90, 700])
def test_a_full_disk_costs_memory_and_no_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, raises: bool
) -> None:
    real, disks = row_writer._temporary, []

    def temporary(folder: Path | None) -> FullDisk:
        disks.append(FullDisk(real(folder), room, raises=raises))
        return disks[-1]

    monkeypatch.setattr(row_writer, "_temporary", temporary)
    rows = pieces(60)
    found = filled(RowWriter(5, tmp_path), rows).finish()
    assert np.array_equal(found, np.concatenate(rows))
    assert mapping_of(found) is None
    assert [disk._room for disk in disks] == [0]


def test_a_folder_that_cannot_be_written_is_not_needed(tmp_path: Path) -> None:
    rows = pieces(60)
    found = filled(RowWriter(5, tmp_path / "none"), rows).finish()
    assert np.array_equal(found, np.concatenate(rows))
