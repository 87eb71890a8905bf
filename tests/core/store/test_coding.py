"""Vectors in levels: short, near to the exact ones, stable, and safe to read from anywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from fdvs.errors import CorruptLibrary
from fdvs.store.artifacts import NewArtifact
from fdvs.store.coding import as_stored, decode, encode
from fdvs.store.store import Store, video_id_from
from fdvs.vectors import unit_rows

SHA = "ab" * 32
SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=12)
NUMBERS = st.floats(-1e3, 1e3, width=32)


def frames(seed: int = 0, *, num_dims: int = 1280) -> np.ndarray:
    """Frames of a clip as a network with ReLU sees them: alike, many zeros, nothing below."""
    random = np.random.default_rng(seed)
    common = np.maximum(random.normal(size=num_dims), 0)
    return np.maximum(common + 0.2 * random.normal(size=(8, num_dims)), 0).astype(np.float32)


@settings(max_examples=200, deadline=None)
@given(
    matrix=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=NUMBERS)
)
def test_what_was_read_is_stored_again_as_it_was(matrix: np.ndarray) -> None:
    once = as_stored(matrix, "levels")
    assert once.shape == matrix.shape
    assert np.array_equal(as_stored(once, "levels"), once)
    largest = np.abs(matrix).max(axis=1, keepdims=True)
    assert (np.abs(once - matrix) <= largest / 127 / 2 * 1.01 + 1e-30).all()
    assert np.array_equal(as_stored(matrix, "exact"), matrix)


@pytest.mark.parametrize("least", [-0.5, -0.01, -0.003, -0.001, -1e-9, 0.0])
def test_a_number_just_below_zero_does_not_change_how_the_rest_is_read_again(least: float) -> None:
    matrix = np.array([[1.0, 0.3, least, 0.0, 0.7, 0.2]] * 40, np.float32)
    once = as_stored(matrix, "levels")
    assert encode(once, "levels") == encode(as_stored(once, "levels"), "levels")
    assert np.array_equal(as_stored(once, "levels"), once)
    assert np.abs(once - matrix).max() <= 1 / 127 / 2 * 1.01


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_cosines_of_frames_stay_and_the_room_shrinks(shift: float) -> None:
    for seed in range(5):
        exact = frames(seed) - np.float32(shift)
        stored = as_stored(exact, "levels")
        one, other = unit_rows(exact), unit_rows(stored)
        assert np.abs(one @ one.T - other @ other.T).max() < 2e-3
        assert len(encode(exact, "levels")) < exact.nbytes / 3.5


def test_a_row_keeps_its_digest_however_its_numbers_are_stored(tmp_path: Path) -> None:
    rows = as_stored(frames(), "levels")
    with Store.open(tmp_path / "library", create=True) as store:
        video = video_id_from(SHA)
        store.add_video(video_id=video, sha256=SHA, path=tmp_path / "a.mp4")
        digests, sizes = [], []
        for coding in ("exact", "levels"):
            (made,) = store.put_many(
                [NewArtifact(video_id=video, stage="frames", fingerprint="f", payload={},
                             vectors=rows, coding=coding)]
            )  # fmt: skip
            read = store.get(video, "frames")
            assert read is not None
            assert read.vectors is not None
            assert np.array_equal(read.vectors, rows)
            digests += [made.digest, read.digest]
            with store.reading() as connection:
                (size,) = connection.execute("SELECT length(vectors) FROM artifacts").fetchone()
            sizes.append(size)
    assert len(set(digests)) == 1
    assert sizes[0] == rows.nbytes > 3 * sizes[1]


def test_rows_of_zeros_and_of_no_numbers_are_stored() -> None:
    for shape in ((0, 5), (3, 0), (2, 4)):
        zeros = np.zeros(shape, np.float32)
        assert np.array_equal(decode(encode(zeros, "levels"), *shape), zeros)


@settings(max_examples=300, deadline=None)
@given(blob=st.binary(max_size=80), rows=st.integers(-2, 9), dims=st.integers(-2, 9))
def test_any_bytes_are_vectors_of_the_shape_or_refused(blob: bytes, rows: int, dims: int) -> None:
    try:
        found = decode(blob, rows, dims)
    except ValueError:
        return
    assert found.shape == (rows, dims)


def test_a_small_blob_cannot_unfold_to_more_than_it_says() -> None:
    blob = encode(np.zeros((8, 4000), np.float32), "levels")
    assert len(blob) < 200
    for shape in ((8, 3999), (8, 4001), (9, 4000), (2**14, 2**20)):
        with pytest.raises(ValueError, match=r"levels|bytes"):
            decode(blob, *shape)


def test_a_flipped_bit_never_gives_other_numbers(tmp_path: Path) -> None:
    with Store.open(tmp_path / "library", create=True) as store:
        video = video_id_from(SHA)
        store.add_video(video_id=video, sha256=SHA, path=tmp_path / "a.mp4")
        new = NewArtifact(
            video_id=video, stage="frames", fingerprint="f", payload={},
            vectors=frames(num_dims=32), coding="levels",
        )  # fmt: skip
        (made,) = store.put_many([new])
        with store.reading() as connection:
            (blob,) = connection.execute("SELECT vectors FROM artifacts").fetchone()
        num_refused = 0
        for at in range(0, 8 * len(blob), 29):
            damaged = bytearray(blob)
            damaged[at // 8] ^= 1 << at % 8
            with store.writing() as connection:
                connection.execute("UPDATE artifacts SET vectors = ?", (bytes(damaged),))
            try:
                read = store.get(video, "frames")
            except CorruptLibrary:
                num_refused += 1
                continue
            assert read is not None
            assert np.array_equal(read.vectors, made.vectors)  # zlib writes some numbers two ways
        assert num_refused > 20


@settings(max_examples=200, deadline=None)
@given(
    matrix=arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=NUMBERS)
)
def test_halves_are_read_as_numpy_rounds_them_or_as_they_were(matrix: np.ndarray) -> None:
    with np.errstate(over="ignore"):
        half = matrix.astype(np.float16).astype(np.float32)
    fits = bool(np.isfinite(half).all())
    assert np.array_equal(as_stored(matrix, "half"), half if fits else matrix)
    blob = encode(matrix, "half")
    assert len(blob) == (1 + 2 * matrix.size if fits else 4 * matrix.size)
    once = as_stored(matrix, "half")
    assert np.array_equal(as_stored(once, "half"), once)


def test_cosines_of_unit_vectors_stay_as_halves() -> None:
    random = np.random.default_rng(3)
    exact = unit_rows(random.normal(size=(300, 384)))
    half = unit_rows(as_stored(exact.astype(np.float32), "half"))
    assert np.abs(exact @ exact.T - half @ half.T).max() < 1e-4


@pytest.mark.parametrize("change", ["longer", "shorter", "infinite"])
def test_halves_that_are_damaged_are_refused(change: str) -> None:
    blob = encode(np.ones((2, 3), np.float32), "half")
    damaged = {
        "longer": blob + b"\0",
        "shorter": blob[:-1],
        "infinite": blob[:1] + np.full(6, np.inf, "<f2").tobytes(),
    }[change]
    with pytest.raises(ValueError, match=r"bytes for shape|not finite"):
        decode(damaged, 2, 3)
