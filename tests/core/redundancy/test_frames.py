"""Similarity to the key frame against plain arithmetic, and frames that a person would drop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fdvs.config import RedundancyConfig
from fdvs.errors import BadModelOutput
from fdvs.models.scripted import GridImageEmbedder
from fdvs.redundancy.rules import keep_frames, similarity_to_key

COVER = RedundancyConfig(floor=0.9)


def vectors(num_rows: int, num_dims: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(num_rows, num_dims)).astype(np.float32)


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


@pytest.mark.parametrize("num_rows", [1, 2, 8, 33])
def test_similarity_is_the_cosine_to_the_first_row(num_rows: int) -> None:
    rows = vectors(num_rows)
    want = [cosine(row, rows.tolist()[0]) for row in rows.tolist()]
    assert similarity_to_key(rows) == pytest.approx(want, abs=1e-6)


def test_similarity_does_not_depend_on_the_length_of_the_vectors() -> None:
    rows = vectors(5)
    scaled = rows * np.array([[3.0], [0.01], [7.0], [1.0], [1e4]], dtype=np.float32)
    assert similarity_to_key(scaled) == pytest.approx(similarity_to_key(rows), abs=1e-6)


def test_opposite_frames_have_similarity_minus_one_and_never_less() -> None:
    rows = vectors(1)
    got = similarity_to_key(np.concatenate([rows, -rows, rows]))
    assert got.tolist() == [1.0, -1.0, 1.0]


def test_a_vector_of_zeros_is_similar_to_nothing() -> None:
    rows = vectors(3)
    rows[1] = 0
    assert similarity_to_key(rows)[1] == 0
    rows[0] = 0
    assert similarity_to_key(rows).tolist() == [0, 0, 0]


def test_a_clip_without_frames_gives_no_scores() -> None:
    empty = np.zeros((0, 4), dtype=np.float32)
    assert similarity_to_key(empty).shape == (0,)
    assert keep_frames(empty, COVER, salt="c").shape == (0,)


def test_a_vector_that_is_not_finite_is_named() -> None:
    rows = vectors(4)
    rows[2, 3] = np.nan
    with pytest.raises(BadModelOutput, match="embedding 2 of 4"):
        similarity_to_key(rows)


def test_a_single_vector_without_its_row_is_refused() -> None:
    with pytest.raises(ValueError, match="need \\[N, D\\]"):
        similarity_to_key(np.ones(4, dtype=np.float32))


def test_still_frames_go_and_a_new_picture_stays() -> None:
    dark = np.full((48, 64, 3), 20, dtype=np.uint8)
    split = dark.copy()
    split[:, 32:] = 235
    rows = GridImageEmbedder().embed_images([dark, dark, split, dark])
    assert keep_frames(rows, COVER, salt="c").tolist() == [True, False, True, False]


def test_the_paper_rule_loses_the_keyframe_of_that_clip() -> None:
    dark = np.full((48, 64, 3), 20, dtype=np.uint8)
    rows = GridImageEmbedder().embed_images([dark, dark, 255 - dark, dark])
    keep = keep_frames(rows, RedundancyConfig(policy="paper"), salt="c")
    assert keep.tolist() == [False, False, True, False]


def test_a_fade_is_kept_by_few_of_its_frames() -> None:
    """The angles end apart by a cosine of 0.83: the keyframe alone does not cover the last."""
    angles = np.linspace(0, 0.6, 8)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    keep = keep_frames(rows, COVER, salt="c")
    assert keep[0]
    assert 2 <= keep.sum() <= 4
    assert (rows @ rows[keep].T).max(axis=1).min() >= 0.9
