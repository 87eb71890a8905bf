"""Similarity to the memory against brute force, and the paper's degenerate first chapter."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import TextualConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.redundancy.rules import keep_chapters, similarity_to_memory

COVER = TextualConfig(floor=0.7)


def unit_vectors(num_rows: int, seed: int = 0, num_dims: int = 12) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(num_rows, num_dims))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def similarity_naive(rows: np.ndarray, memory: int, include_self: bool) -> list[float]:
    """Slice, mean, cosine: one chapter after the other."""
    scores = []
    for i in range(len(rows)):
        past = rows[max(0, i - memory) : i + 1 if include_self else i].astype(np.float64)
        if len(past) == 0:
            scores.append(0.0)
            continue
        mean = past.mean(axis=0)
        scores.append(float(rows[i] @ mean / np.linalg.norm(mean) / np.linalg.norm(rows[i])))
    return scores


@pytest.mark.parametrize("include_self", [False, True])
@settings(deadline=None)
@given(
    num_rows=st.integers(0, 60),
    memory=st.integers(1, 70),
    seed=st.integers(0, 10_000),
)
def test_similarity_agrees_with_brute_force(
    include_self: bool, num_rows: int, memory: int, seed: int
) -> None:
    rows = unit_vectors(num_rows, seed)
    got = similarity_to_memory(rows, memory=memory, include_self=include_self)
    assert got == pytest.approx(similarity_naive(rows, memory, include_self), abs=1e-6)


def test_only_the_last_chapters_of_the_memory_count() -> None:
    a, b = np.eye(2, dtype=np.float32)
    rows = np.stack([a, b, b, a])
    assert similarity_to_memory(rows, memory=2)[3] == 0.0
    assert similarity_to_memory(rows, memory=3)[3] == pytest.approx(1 / np.sqrt(5), abs=1e-6)


def test_the_first_chapter_has_no_memory() -> None:
    assert similarity_to_memory(unit_vectors(3), memory=35)[0] == 0.0


def test_a_memory_that_cancels_out_is_similar_to_nothing() -> None:
    row = unit_vectors(1)
    rows = np.concatenate([row, -row, row])
    assert similarity_to_memory(rows, memory=2)[2] == 0.0


def test_as_printed_the_first_chapter_equals_its_memory_and_is_dropped() -> None:
    rows = unit_vectors(10, seed=4)
    assert similarity_to_memory(rows, memory=35, include_self=True)[0] == 1.0
    assert not keep_chapters(rows, TextualConfig(policy="paper"), salt="v")[0]


def test_as_printed_a_story_of_equal_chapters_loses_none() -> None:
    rows = np.repeat(unit_vectors(1), 9, axis=0)
    assert keep_chapters(rows, TextualConfig(policy="paper"), salt="v").all()


def test_cover_keeps_one_of_equal_chapters() -> None:
    rows = np.repeat(unit_vectors(1), 9, axis=0)
    assert keep_chapters(rows, COVER, salt="v").tolist() == [True] + [False] * 8


def test_a_short_video_needs_no_warm_up() -> None:
    """Fewer chapters than the memory holds: the first is kept, later ones are compared."""
    texts = ["a hare in a meadow", "a hare in a meadow", "two squirrels throw nuts", "the end"]
    rows = HashTextEmbedder().embed_texts(texts)
    assert keep_chapters(rows, COVER, salt="v").tolist() == [True, False, True, True]


def test_different_words_over_one_unchanging_slide_are_all_kept() -> None:
    rows = np.repeat(unit_vectors(1), 5, axis=0)
    said = [["One."], ["Two."], ["one", "TWO!"], [], ["Three.", "One."]]
    assert keep_chapters(rows, COVER, salt="v", said=said).tolist() == [
        True,
        True,
        False,
        False,
        True,
    ]
    control = TextualConfig(policy="random", floor=0.7)
    assert keep_chapters(rows, control, salt="v", said=said).sum() == 3


@pytest.mark.parametrize("policy", ["cover", "paper", "random", "none"])
def test_no_chapters_give_an_empty_mask(policy: str) -> None:
    config = TextualConfig(policy=policy)  # type: ignore[arg-type]
    assert keep_chapters(np.zeros((0, 4), dtype=np.float32), config, salt="v").shape == (0,)


def test_a_single_chapter_is_kept_by_every_policy() -> None:
    for policy in ("cover", "paper", "random", "none"):
        config = TextualConfig(policy=policy)  # type: ignore[arg-type]
        assert keep_chapters(unit_vectors(1), config, salt="v").tolist() == [True]


def test_the_running_sum_stays_exact_over_a_long_video() -> None:
    rows = unit_vectors(5000, seed=1, num_dims=8)
    start_s = time.perf_counter()
    got = similarity_to_memory(rows, memory=35)
    assert time.perf_counter() - start_s < 5.0
    want = similarity_naive(rows[4900 - 35 : 5000], 35, False)[35:]
    assert got[4900:] == pytest.approx(want, abs=1e-6)


def test_a_memory_of_no_chapters_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        similarity_to_memory(unit_vectors(3), memory=0)
