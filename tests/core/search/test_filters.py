"""Filters only remove hits; pages of results join without doubles and gaps; one number orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue, UnknownName
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.filters import Filters
from fdvs.search.index import Entry, Index
from fdvs.search.moments import search_moments, search_videos
from fdvs.store.store import Store
from fdvs.types import Moment

WORDS = ["rabbit", "grass", "car", "red", "night", "road", "tree", "sea"]
FILMS = {
    f"{name}.mp4": [
        " ".join(WORDS[(number * 5 + step * step + more) % len(WORDS)] for more in range(3))
        for step in range(9)
    ]
    for number, name in enumerate("abcd")
}
CONFIG = SearchConfig(min_score=0.2)
ALWAYS = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
queries = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
spans = st.tuples(st.integers(0, 80), st.integers(1, 40)).map(lambda one: (one[0], sum(one)))


@pytest.fixture
def index(make_library: Callable[..., Store]) -> Index:
    return Index.load(make_library(FILMS))


@pytest.fixture
def find(index: Index, embedder: HashTextEmbedder) -> Callable[..., list[Moment]]:
    def search(query: str, **more: Any) -> list[Moment]:
        return search_moments(index, query, embedder, CONFIG, **{"num": 1000, **more})

    return search


@ALWAYS
@given(query=queries, size=st.integers(1, 7))
def test_pages_join_to_the_whole_without_doubles_and_gaps(
    find: Callable[..., list[Moment]], query: str, size: int
) -> None:
    whole = find(query)
    pages = [find(query, num=size, offset=first) for first in range(0, len(whole) + size, size)]
    assert [one for page in pages for one in page] == whole
    places = [(one.video_id, clip) for one in whole for clip in one.clips]
    assert len(places) == len(set(places))


@ALWAYS
@given(query=queries)
def test_the_order_is_that_of_one_number(
    find: Callable[..., list[Moment]], index: Index, embedder: HashTextEmbedder, query: str
) -> None:
    found = find(query)
    keys = [(-(one.relevance or 0.0), one.name, one.start_s) for one in found]
    assert keys == sorted(keys)
    assert all(0 < (one.relevance or 0.0) <= 1 for one in found)
    assert not found or found[0].relevance == 1.0
    hits = search_videos(index, query, embedder, CONFIG, num=100)
    order = [(-hit.relevance, hit.name) for hit in hits]
    assert order == sorted(order)
    pages = [search_videos(index, query, embedder, CONFIG, num=1, offset=i) for i in range(4)]
    assert [hit for page in pages for hit in page] == hits


@ALWAYS
@given(query=queries, span=spans)
def test_a_stretch_of_time_keeps_what_overlaps_it(
    find: Callable[..., list[Moment]], query: str, span: tuple[int, int]
) -> None:
    inside = find(query, filters=Filters(start_s=span[0], end_s=span[1]))
    expected = {
        (one.name, clip) for one in find(query) for clip in one.clips
        if 10 * clip < span[1] and 10 * clip + 10 > span[0]
    }  # fmt: skip
    assert {(one.name, clip) for one in inside for clip in one.clips} == expected


@ALWAYS
@given(query=queries, names=st.sets(st.sampled_from("abcd"), min_size=1))
def test_several_videos_give_what_each_of_them_gives(
    find: Callable[..., list[Moment]], index: Index, query: str, names: set[str]
) -> None:
    ids = {e.name[0]: e.video_id for e in index.entries}
    found = find(query, filters=Filters(video_ids=frozenset(ids[name] for name in names)))
    chapters = {(one.name, clip) for one in found for clip in one.clips}
    everywhere = {(one.name, clip) for one in find(query) for clip in one.clips}
    assert chapters == {(name, clip) for name, clip in everywhere if name[0] in names}


def test_only_matches_of_one_way(find: Callable[..., list[Moment]]) -> None:
    by_words = find("rabbit sea", filters=Filters(ways=("words",)))
    assert by_words
    assert all("words" in one.matched_by for one in by_words)
    assert find("rabbit sea", filters=Filters(ways=("looks",))) == []


def test_a_source_carries_a_hit_by_its_own_words(find: Callable[..., list[Moment]]) -> None:
    """Chapters say both; by construction, speech says the first word and the screen the rest."""

    def texts_of(entry: Entry) -> Mapping[str, str]:
        first, *rest = entry.text.split()
        return {"speech": first, "screen text": " ".join(rest)}

    def chapters(*sources: str) -> set[tuple[str, int]]:
        found = find("rabbit", filters=Filters(sources=sources), texts_of=texts_of)
        return {(one.name, clip) for one in found for clip in one.clips}

    def those(place: slice) -> set[tuple[str, int]]:
        return {
            (name, i) for name, texts in FILMS.items() for i, text in enumerate(texts)
            if "rabbit" in text.split()[place]
        }  # fmt: skip

    assert chapters("speech") == those(slice(0, 1))
    assert chapters("screen") == those(slice(1, None))
    assert chapters("speech", "screen") == those(slice(None))
    assert chapters("subtitles") == set()
    assert chapters("pictures") == set()


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"start_s": -1.0}, InvalidValue),
        ({"start_s": 5.0, "end_s": 5.0}, InvalidValue),
        ({"start_s": float("nan")}, InvalidValue),
        ({"ways": ("luck",)}, UnknownName),
        ({"sources": ("smell",)}, UnknownName),
    ],
)
def test_what_limits_nothing_sensible_is_an_error(wrong: dict[str, Any], error: type) -> None:
    with pytest.raises(error):
        Filters(**wrong)


def test_offset_and_number_are_checked(find: Callable[..., list[Moment]]) -> None:
    with pytest.raises(InvalidValue, match="offset is -1"):
        find("rabbit", offset=-1)
    assert find("rabbit", offset=1000) == []


def test_nearest_ranks_what_is_below_the_bound(index: Index, embedder: HashTextEmbedder) -> None:
    strict = replace(CONFIG, min_score=0.99)
    assert search_moments(index, "rabbit zebra", embedder, strict) == []
    near = search_moments(index, "rabbit zebra", embedder, strict, nearest=True, num=1)
    assert "rabbit" in near[0].text
    assert search_videos(index, "zebra", embedder, strict, nearest=True, num=1)
