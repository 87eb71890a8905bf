"""Chapters found by the looks of their clip, beside meaning and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.filters import Filters
from fdvs.search.index import Index
from fdvs.search.moments import search_moments, search_videos
from fdvs.search.pictures import PictureIndex, PictureSearch
from fdvs.store.store import Store

MakeLibrary = Callable[..., Store]
FILMS = {
    "a.mp4": ["quiet street", "wide sky", "open door", "low wall"],
    "b.mp4": ["rabbit burrow", "empty room"],
}
# how much each clip looks like the query, whatever the query says
LOOKS = {"a.mp4": [0.1, 0.88, 0.9, 0.2], "b.mp4": [0.3, 0.75]}
CONFIG = SearchConfig(min_score=0.15)


class OneDirection:
    """Places every query at the first axis."""

    min_score = 0.7

    def place_query(self, text: str) -> np.ndarray:
        return np.array([1.0, 0.0], np.float32)


@pytest.fixture
def library(make_library: MakeLibrary) -> Store:
    store = make_library(FILMS)
    for video in store.videos():
        for clip, cosine in enumerate(LOOKS[video.name]):
            row = np.array([[cosine, np.sqrt(1 - cosine**2)]], np.float32)
            store.put(video.video_id, "look", clip, fingerprint="f", payload={}, vectors=row)
    return store


@pytest.fixture
def index(library: Store) -> Index:
    return Index.load(library)


@pytest.fixture
def pictures(library: Store) -> PictureSearch:
    return PictureSearch(index=PictureIndex.load(library), matcher=OneDirection())


def test_clips_that_look_like_the_query_are_found_and_touching_ones_are_one_moment(
    index: Index, pictures: PictureSearch, embedder: HashTextEmbedder
) -> None:
    found = search_moments(index, "zebra", embedder, CONFIG, pictures=pictures)
    assert [(m.name, m.clips, m.matched_by) for m in found] == [
        ("a.mp4", (1, 2), ("looks",)),
        ("b.mp4", (1,), ("looks",)),
    ]
    assert [m.picture_score for m in found] == pytest.approx([0.9, 0.75], abs=1e-5)
    assert found[0].text == "open door"
    assert all(abs(m.score) < CONFIG.min_score for m in found)


def test_a_touching_clip_that_looks_less_like_it_stays_a_moment_of_its_own(
    library: Store, index: Index, pictures: PictureSearch, embedder: HashTextEmbedder
) -> None:
    far = np.array([[0.8, 0.6]], np.float32)
    video = library.find_video("a.mp4").video_id
    library.put(video, "look", 1, fingerprint="f", payload={}, vectors=far)
    again = PictureSearch(index=PictureIndex.load(library), matcher=pictures.matcher)
    found = search_moments(index, "zebra", embedder, CONFIG, pictures=again)
    assert [(m.name, m.clips) for m in found] == [("a.mp4", (2,)), ("a.mp4", (1,)), ("b.mp4", (1,))]


def test_a_chapter_found_by_text_has_no_picture_score(
    index: Index, pictures: PictureSearch, embedder: HashTextEmbedder
) -> None:
    found = search_moments(index, "rabbit burrow", embedder, CONFIG, pictures=pictures)
    by_text = [m for m in found if "looks" not in m.matched_by]
    assert [(m.name, m.clips, m.picture_score) for m in by_text] == [("b.mp4", (0,), None)]
    # found best in two rankings, against best in one
    assert found[0] == by_text[0]


def test_without_weight_pictures_are_left_out(
    index: Index, pictures: PictureSearch, embedder: HashTextEmbedder
) -> None:
    texts_only = replace(CONFIG, picture_weight=0.0)
    assert search_moments(index, "zebra", embedder, texts_only, pictures=pictures) == []
    assert search_videos(index, "zebra", embedder, texts_only, pictures=pictures) == []


def test_one_video_only(index: Index, pictures: PictureSearch, embedder: HashTextEmbedder) -> None:
    b = next(e.video_id for e in index.entries if e.name == "b.mp4")
    found = search_moments(
        index,
        "zebra",
        embedder,
        CONFIG,
        filters=Filters(video_ids=frozenset([b])),
        pictures=pictures,
    )
    assert [(m.name, m.clips) for m in found] == [("b.mp4", (1,))]


def test_videos_are_ranked_by_their_best_looking_clip(
    index: Index, pictures: PictureSearch, embedder: HashTextEmbedder
) -> None:
    found = search_videos(index, "zebra", embedder, CONFIG, pictures=pictures)
    assert [hit.name for hit in found] == ["a.mp4", "b.mp4"]
    best_text = search_videos(index, "rabbit burrow", embedder, CONFIG, pictures=pictures)
    assert best_text[0].name == "b.mp4"


def test_looks_of_a_clip_without_a_chapter_are_ignored(
    library: Store, embedder: HashTextEmbedder
) -> None:
    video = library.find_video("b.mp4").video_id
    row = np.array([[1.0, 0.0]], np.float32)
    library.put(video, "look", 7, fingerprint="f", payload={}, vectors=row)
    pictures = PictureSearch(index=PictureIndex.load(library), matcher=OneDirection())
    found = search_moments(Index.load(library), "zebra", embedder, CONFIG, pictures=pictures)
    assert max(clip for m in found for clip in m.clips) == 2
