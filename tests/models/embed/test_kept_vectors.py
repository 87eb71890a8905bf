"""Vectors kept between runs: read back equal, made again where missing, damaged or elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdvs.models.embed.kept_vectors import kept_vectors

ROWS = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)


class Maker:
    def __init__(self) -> None:
        self.num_made = 0

    def __call__(self) -> np.ndarray:
        self.num_made += 1
        return ROWS


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))
    return tmp_path


def test_vectors_are_made_once_and_read_back_bit_for_bit() -> None:
    make = Maker()
    for _ in range(3):
        assert np.array_equal(kept_vectors("k", make), ROWS)
    assert make.num_made == 1
    kept_vectors("another", make)
    assert make.num_made == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-3],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: b"",
        lambda data: b"[]\n" + data,
        lambda data: data.replace(b"[7, 5]", b"[5, 5]"),
        lambda data: data.replace(b"[7, 5]", b'"7 5" '),
        lambda data: b"\xff\xfe\n" + data,
    ],
)
def test_damaged_vectors_are_made_again(cache: Path, damage: object) -> None:
    make = Maker()
    kept_vectors("k", make)
    (path,) = (cache / "vectors").iterdir()
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]
    assert np.array_equal(kept_vectors("k", make), ROWS)
    assert np.array_equal(kept_vectors("k", make), ROWS)
    assert make.num_made == 2


def test_a_cache_that_cannot_be_written_costs_only_time(cache: Path) -> None:
    (cache / "vectors").write_text("a file where a folder should be")
    make = Maker()
    assert np.array_equal(kept_vectors("k", make), ROWS)
    assert np.array_equal(kept_vectors("k", make), ROWS)
    assert make.num_made == 2
