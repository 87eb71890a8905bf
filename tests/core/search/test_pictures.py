"""Picture vectors of a library, searched by a placed query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdvs.search.pictures import PictureIndex
from fdvs.store.store import Store, video_id_from

SHA = ["a" * 64, "b" * 64]


@pytest.fixture
def library(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    with Store.open(tmp_path / "library", create=True) as store:
        for sha, numbers in zip(SHA, ([0, 1, 2], [3, 4]), strict=True):
            video = video_id_from(sha)
            store.add_video(video_id=video, sha256=sha, path=tmp_path / f"{sha[0]}.mp4")
            for item, n in enumerate(numbers):
                store.put(video, "look", item, fingerprint="f", payload={}, vectors=rows[n : n + 1])
    return tmp_path / "library"


def test_every_clip_over_the_bound_is_found_with_its_cosine(library: Path) -> None:
    with Store.open(library) as store:
        index = PictureIndex.load(store)
    query = np.ones(8, np.float32) / np.sqrt(8)
    want = {
        index.key(n): float(row @ query)
        for n, row in enumerate(index.vectors)
        if row @ query >= 0.0
    }
    assert 0 < len(want) < 5
    assert index.similar(query, min_score=0.0) == pytest.approx(want, abs=1e-5)


def test_one_video_alone_can_be_searched(library: Path) -> None:
    with Store.open(library) as store:
        index = PictureIndex.load(store)
    only = index.similar(np.ones(8, np.float32), min_score=-10, video_id=video_id_from(SHA[1]))
    assert set(only) == {(video_id_from(SHA[1]), 0), (video_id_from(SHA[1]), 1)}


def test_rows_of_another_length_are_left_out_and_a_query_of_another_finds_nothing(
    library: Path,
) -> None:
    with Store.open(library) as store:
        odd = np.ones((1, 3), np.float32)
        store.put(video_id_from(SHA[0]), "look", 2, fingerprint="g", payload={}, vectors=odd)
        index = PictureIndex.load(store)
    assert len(index.vectors) == 4
    assert index.similar(np.ones(3, np.float32), min_score=-10) == {}


def test_a_library_without_pictures_finds_none(tmp_path: Path) -> None:
    with Store.open(tmp_path / "empty", create=True) as store:
        assert PictureIndex.load(store).similar(np.ones(4, np.float32), min_score=-1) == {}
