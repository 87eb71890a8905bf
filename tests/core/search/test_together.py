"""A search over several libraries gives what a search of their union gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.filters import Filters
from fdvs.search.index import Index
from fdvs.search.moments import search_moments
from fdvs.search.pictures import PictureIndex, PictureSearch
from fdvs.search.together import Part, search_together
from fdvs.store.store import Store
from fdvs.types import Moment

MakeLibrary = Callable[..., Store]
WORDS = (
    "red car rabbit king of hearts big buck bunny bigbuckbunny sea boat grass green 小狗 schiff "
    "donaudampfschiff"
).split()


class Matcher:
    """Places every query at the first direction."""

    min_score = 0.2

    def place_query(self, query: str) -> np.ndarray:
        return np.eye(4, dtype=np.float32)[:1]


def films(rng: random.Random, names: str) -> dict[str, list[str]]:
    return {
        f"{name}.mp4": [
            " ".join(rng.choices(WORDS, k=rng.randint(1, 7))) for _ in range(rng.randint(1, 6))
        ]
        for name in names
    }


def add_looks(store: Store) -> None:
    for video in store.videos():
        for item in store.get_all(video.video_id, "chapter"):
            seed = int(video.video_id[:6], 16) + item
            look = np.random.default_rng(seed).normal(size=(1, 4)).astype(np.float32)
            look /= np.linalg.norm(look)
            store.put(video.video_id, "look", item, fingerprint="f", payload={}, vectors=look)


def part(index: Index, filters: Filters, *, pictures: bool) -> Part:
    looks = PictureSearch(index=PictureIndex(index.columns), matcher=Matcher())  # type: ignore[arg-type]
    return Part(index=index, filters=filters, pictures=looks if pictures else None)


def key(moment: Moment) -> tuple[object, ...]:
    """All of a moment, in an order in which equally relevant ones may come."""
    return (-moment.relevance, moment.name, moment.start_s, moment)


@pytest.mark.parametrize("seed", range(6))
def test_several_libraries_give_what_their_union_gives(
    make_library: MakeLibrary, embedder: HashTextEmbedder, seed: int
) -> None:
    rng = random.Random(seed)
    one, two, three = films(rng, "ad"), films(rng, "bc"), films(rng, "e")
    stores = [
        make_library(some, folder=f"part{number}") for number, some in enumerate((one, two, three))
    ]
    union = make_library({**one, **two, **three}, folder="union")
    for store in (*stores, union):
        add_looks(store)
    indexes, whole = [Index.load(store) for store in stores], Index.load(union)
    num_found = 0
    for _ in range(12):
        query = " ".join(rng.choices(WORDS, k=rng.randint(1, 3)))
        config = SearchConfig(
            min_score=rng.choice([0.05, 0.2, 0.5]), word_weight=rng.choice([0.0, 0.5, 1.0]),
            num_results=100,
        )  # fmt: skip
        filters = rng.choice([Filters(), Filters(start_s=10.0), Filters(ways=("words",))])
        pictures = rng.random() < 0.5
        alone = part(whole, filters, pictures=pictures)
        wanted = search_moments(
            whole, query, embedder, config, filters=filters, pictures=alone.pictures
        )
        parts = [part(index, filters, pictures=pictures) for index in indexes]
        found = search_together(parts, query, embedder, config)
        assert sorted(found, key=key) == sorted(wanted, key=key)
        assert [m.relevance for m in found] == [m.relevance for m in wanted]
        pages = [
            search_together(parts, query, embedder, config, num=2, offset=start)
            for start in range(0, len(found), 2)
        ]
        assert [moment for one_page in pages for moment in one_page] == found
        num_found += len(found)
    assert num_found > 5


def test_a_film_that_two_libraries_hold_is_found_once(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    film = {"a.mp4": ["a red car", "a boat", "a red bus"]}
    one = Index.load(make_library(film))
    two = Index.load(make_library({**film, "b.mp4": ["a red hat"]}, folder="two"))
    parts = [Part(index=index, filters=Filters()) for index in (one, two)]
    found = search_together(parts, "red", embedder, SearchConfig(min_score=0.2))
    assert sorted((m.name, m.start_s) for m in found) == [
        ("a.mp4", 0.0), ("a.mp4", 20.0), ("b.mp4", 0.0),
    ]  # fmt: skip


def test_a_library_that_matches_nothing_does_not_disturb(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    index = Index.load(make_library({"a.mp4": ["a red car"]}))
    empty = Index.load(make_library({}, folder="empty"))
    parts = [Part(index=one, filters=Filters()) for one in (empty, index, empty)]
    (found,) = search_together(parts, "red car", embedder, SearchConfig(min_score=0.2))
    assert found.name == "a.mp4"
    limited = [replace(one, filters=Filters(start_s=20.0)) for one in parts]
    assert search_together(limited, "red car", embedder, SearchConfig(min_score=0.2)) == []
