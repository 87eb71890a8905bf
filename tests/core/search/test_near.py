"""Levels of a byte rule out what is not near, and nothing else: compared with brute force."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.search import near
from fdvs.search.near import Rows, levels_of
from fdvs.types import Vectors

KINDS = ("unit", "long", "tiny", "one large number", "zeros among them", "near the bound")


def rows_of(kind: str, num: int, dims: int, random: np.random.Generator) -> Vectors:
    rows = random.normal(size=(num, dims))
    if kind == "one large number":
        rows[:, 0] *= 1000
    if kind == "zeros among them":
        rows[::3] = 0
    if kind == "long":
        return (rows * 1e6).astype(np.float32)
    if kind == "tiny":
        return (rows * 1e-30).astype(np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0).astype(np.float32)


def by_brute_force(vectors: Vectors, query: Vectors, least: float, low: int, high: int) -> set[int]:
    """The rows that are above the bound by more than a float32 sum may stray."""
    exact = vectors[low:high].astype(np.float64) @ query.astype(np.float64)
    return set((low + np.flatnonzero(exact > least)).tolist())


@pytest.fixture(autouse=True)
def _never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "DENSE", 1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dims", [1, 3, 384, 1280])
def test_every_row_above_the_bound_is_found(kind: str, dims: int) -> None:
    random = np.random.default_rng(dims)
    vectors = rows_of(kind, 300, dims, random)
    rows = Rows(vectors, levels_of(vectors))
    for number in range(20):
        query = rows_of("unit", 1, dims, random)[0]
        if number % 2 and kind == "near the bound":
            query = vectors[number]
        exact = vectors.astype(np.float64) @ query.astype(np.float64)
        low, high = sorted(random.integers(0, 301, 2).tolist())
        for least in np.quantile(exact, [0.0, 0.3, 0.9, 0.99, 1.0]):
            found, products = rows.above(query, float(least), low, high)
            stray = 1e-6 * (1 + np.abs(exact).max())
            wanted = by_brute_force(vectors, query, least + stray, low, high)
            allowed = by_brute_force(vectors, query, least - stray, low, high)
            assert wanted <= set(found.tolist()) <= allowed
            assert found.tolist() == sorted(found.tolist())
            np.testing.assert_allclose(products, exact[found], atol=stray)


def test_the_bound_holds_for_the_worst_case() -> None:
    """Query and error of a row point the same way, so that Cauchy and Schwarz leave no room."""
    random = np.random.default_rng(5)
    vectors = rows_of("unit", 200, 64, random)
    kept = levels_of(vectors)
    said = kept.levels * kept.steps[:, None].astype(np.float64)
    left_out = vectors - said
    assert (np.linalg.norm(left_out, axis=1) <= kept.errors).all()
    assert (np.linalg.norm(said, axis=1) <= kept.lengths).all()
    for row in range(200):
        query = (left_out[row] / np.linalg.norm(left_out[row])).astype(np.float32)
        exact = float(vectors[row].astype(np.float64) @ query.astype(np.float64))
        found, _ = Rows(vectors, kept).above(query, exact - 1e-6)
        assert row in found.tolist()


def test_most_rows_are_ruled_out_by_their_levels() -> None:
    random = np.random.default_rng(9)
    vectors = rows_of("unit", 5000, 384, random)
    chosen = Rows(vectors, levels_of(vectors))._not_ruled_out(vectors[7], 0.3, 0, 5000)
    assert chosen is not None
    assert 7 in chosen.tolist()
    assert len(chosen) < 50


def test_levels_of_a_part_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = rows_of("unit", 25, 8, np.random.default_rng(1))
    whole = levels_of(vectors)
    monkeypatch.setattr(near, "CHUNK_ROWS", 7)
    parts = levels_of(vectors)
    for name in ("levels", "steps", "lengths", "errors"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_compared_as_it_is(bad: float) -> None:
    vectors = rows_of("unit", 40, 8, np.random.default_rng(2))
    vectors[3, 2] = bad
    query = np.full(8, 8**-0.5, np.float32)
    found, _ = Rows(vectors, levels_of(vectors)).above(query, 0.2)
    plain, _ = Rows(vectors).above(query, 0.2)
    assert found.tolist() == plain.tolist()
    nothing, _ = Rows(vectors, levels_of(vectors)).above(query * np.float32(np.nan), 0.2)
    assert nothing.tolist() == []


def test_without_simsimd_every_row_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = rows_of("unit", 400, 16, np.random.default_rng(3))
    rows = Rows(vectors, levels_of(vectors))
    found, _ = rows.above(vectors[0], 0.4)
    monkeypatch.setattr(near, "_simsimd", lambda: None)
    assert rows._not_ruled_out(vectors[0], 0.4, 0, 400) is None
    plain, _ = rows.above(vectors[0], 0.4)
    assert found.tolist() == plain.tolist()


def test_no_rows_and_no_numbers() -> None:
    for shape in ((0, 4), (3, 0)):
        vectors = np.zeros(shape, np.float32)
        rows = Rows(vectors, levels_of(vectors))
        found, products = rows.above(np.zeros(shape[1], np.float32), 0.5)
        assert (found.tolist(), products.tolist()) == ([], [])
