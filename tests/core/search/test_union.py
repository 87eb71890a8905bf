"""Several libraries in one index are what a library of all their videos is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.search.moments import search_moments, search_videos
from fdvs.search.union import united
from fdvs.store.store import Store

MakeLibrary = Callable[..., Store]
ONE = {"c.mp4": ["a red car", "a blue sky", "an owl"], "a.mp4": ["two dogs", "a red bus 小狗"]}
TWO = {"b.mp4": ["bigbuckbunny", "a green field", "a red car"]}
QUERIES = ("red car", "dogs", "小狗", "big buck bunny", "a blue field", "nothing like it")


@pytest.fixture
def stores(make_library: MakeLibrary) -> tuple[Store, Store, Store]:
    dropped = {"c.mp4": [1]}
    return (
        make_library(ONE, folder="one", dropped=dropped),
        make_library(TWO, folder="two"),
        make_library({**ONE, **TWO}, folder="all", dropped=dropped),
    )


def test_the_index_of_several_libraries_is_that_of_all_their_videos(
    stores: tuple[Store, Store, Store], embedder: HashTextEmbedder
) -> None:
    one, two, whole = (Index.load(store) for store in stores)
    found = united([one, two], [stores[0].get, stores[1].get], {})
    assert list(found.entries) == list(whole.entries)
    assert found.columns.counts == whole.columns.counts
    np.testing.assert_allclose(found.columns.vectors, whole.columns.vectors, atol=1e-7)
    assert found.columns.positions.tolist() == whole.columns.positions.tolist()
    places = range(len(whole.entries))
    kept = [whole.is_kept(place) for place in places]
    assert [found.is_kept(place) for place in places] == kept
    assert not all(kept)
    assert {one: found.stories[one] for one in found.stories} == dict(whole.stories)
    config = SearchConfig(min_score=0.1)
    for query in QUERIES:
        assert search_moments(found, query, embedder, config) == search_moments(
            whole, query, embedder, config
        )
        assert search_videos(found, query, embedder, config) == search_videos(
            whole, query, embedder, config
        )


def test_what_two_libraries_hold_counts_once_and_is_read_from_the_first(
    make_library: MakeLibrary,
) -> None:
    stores = [make_library(ONE, folder="one"), make_library({**TWO, **ONE}, folder="two")]
    indexes = [Index.load(store) for store in stores]
    asked: list[int] = []

    def reading(number: int) -> Callable[..., object]:
        def read(video_id: str, stage: str, item: int) -> object:
            asked.append(number)
            return stores[number].get(video_id, stage, item)

        return read

    found = united(indexes, [reading(0), reading(1)], {})  # type: ignore[list-item]
    assert sorted(found.columns.names) == ["a.mp4", "b.mp4", "c.mp4"]
    ids = dict(zip(found.columns.names, found.columns.video_ids, strict=True))
    assert found.stories[ids["a.mp4"]].video_id == ids["a.mp4"]
    assert found.stories[ids["b.mp4"]].video_id == ids["b.mp4"]
    assert asked == [0, 1]
    assert found._read("0" * 16, "story", 0) is None


def test_a_video_is_shown_under_the_name_that_is_given(stores: tuple[Store, Store, Store]) -> None:
    one, two, _ = stores
    video_id = two.find_video("b.mp4").video_id
    found = united([Index.load(one), Index.load(two)], [one.get, two.get], {video_id: "two/b.mp4"})
    assert found.columns.names == ["a.mp4", "c.mp4", "two/b.mp4"]
    assert {entry.name for entry in found.entries if entry.video_id == video_id} == {"two/b.mp4"}
