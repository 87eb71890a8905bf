"""Ranking, merging and thresholds against brute force and against what a person would expect."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.filters import Filters
from fdvs.search.index import Entry, Index
from fdvs.search.moments import NEAR_BEST, merge_neighbours, search_moments, search_videos
from fdvs.search.ranking import RANK_OFFSET, Match, find_matches, fuse
from fdvs.store.store import Store

MakeLibrary = Callable[..., Store]
CONFIG = SearchConfig(min_score=0.15)
FILMS = {
    "forest.mp4": [
        "one rabbit sits in grass",
        "one rabbit sits in green grass",
        "tall trees without animals",
        "one rabbit runs away",
    ],
    "road.mp4": ["red car on asphalt", "blue truck", "quiet night"],
}


@pytest.fixture
def index(make_library: MakeLibrary) -> Index:
    return Index.load(make_library(FILMS))


def spans(moments: list) -> list[tuple[str, float, float]]:
    return [(m.name, m.start_s, m.end_s) for m in moments]


# -- moments -----------------------------------------------------------------------------------


def test_neighbouring_chapters_become_one_moment(index: Index, embedder: HashTextEmbedder) -> None:
    moments = search_moments(index, "rabbit in grass", embedder, CONFIG)
    assert spans(moments)[0] == ("forest.mp4", 0.0, 20.0)
    assert moments[0].clips == (0, 1)
    assert moments[0].text == "one rabbit sits in grass"
    assert moments[0].matched_by == ("meaning", "words")
    assert spans(moments)[1] == ("forest.mp4", 30.0, 40.0)


def test_the_score_is_the_cosine_of_the_best_chapter(
    index: Index, embedder: HashTextEmbedder
) -> None:
    moment = search_moments(index, "rabbit in grass", embedder, CONFIG)[0]
    query, one, two = embedder.embed_texts(["rabbit in grass", *FILMS["forest.mp4"][:2]])
    assert moment.score == pytest.approx(max(float(query @ one), float(query @ two)), abs=1e-6)


def test_nothing_is_found_where_nothing_matches(index: Index, embedder: HashTextEmbedder) -> None:
    assert search_moments(index, "zebra", embedder, CONFIG) == []
    assert search_videos(index, "zebra", embedder, CONFIG) == []


def test_a_higher_threshold_drops_what_matches_by_meaning_alone(
    index: Index, embedder: HashTextEmbedder
) -> None:
    strict = replace(CONFIG, min_score=0.99)
    assert search_moments(index, "rabbit zebra", embedder, strict) == []
    loose = search_moments(index, "rabbit zebra", embedder, CONFIG)
    assert {m.name for m in loose} == {"forest.mp4"}


def test_a_chapter_with_every_word_stays_below_the_threshold_and_shows_its_cosine(
    index: Index, embedder: HashTextEmbedder
) -> None:
    strict = replace(CONFIG, min_score=0.99)
    (moment,) = search_moments(index, "truck", embedder, strict)
    assert (moment.name, moment.start_s) == ("road.mp4", 10.0)
    assert moment.matched_by == ("words",)
    assert moment.score == pytest.approx(2**-0.5, abs=1e-6)


def test_without_weight_words_are_not_looked_at(index: Index, embedder: HashTextEmbedder) -> None:
    strict = replace(CONFIG, min_score=0.99, word_weight=0.0)
    assert search_moments(index, "truck", embedder, strict) == []
    loose = search_moments(index, "truck", embedder, replace(strict, min_score=0.1))
    assert loose[0].matched_by == ("meaning",)


def test_with_all_weight_only_words_count(index: Index, embedder: HashTextEmbedder) -> None:
    only = replace(CONFIG, word_weight=1.0)
    moments = search_moments(index, "red rabbit", embedder, only)
    assert moments == []
    (moment,) = search_moments(index, "red asphalt", embedder, only)
    assert (moment.name, moment.matched_by) == ("road.mp4", ("words",))


def test_one_video_only(index: Index, embedder: HashTextEmbedder) -> None:
    everywhere = replace(CONFIG, min_score=-1.0)
    road = next(e.video_id for e in index.entries if e.name == "road.mp4")
    moments = search_moments(
        index, "rabbit", embedder, everywhere, filters=Filters(video_ids=frozenset([road]))
    )
    assert {m.name for m in moments} == {"road.mp4"}


def test_the_number_of_results_is_bounded(index: Index, embedder: HashTextEmbedder) -> None:
    everything = replace(CONFIG, min_score=-1.0, num_results=2)
    assert len(search_moments(index, "rabbit", embedder, everything)) == 2
    assert len(search_moments(index, "rabbit", embedder, everything, num=1)) == 1
    assert len(search_videos(index, "rabbit", embedder, everything, num=1)) == 1
    with pytest.raises(InvalidValue, match="num is 0"):
        search_moments(index, "rabbit", embedder, everything, num=0)


@pytest.mark.parametrize("query", ["", "   \n", "\x00\u200b"])
def test_a_query_without_anything_visible_is_an_error(
    index: Index, embedder: HashTextEmbedder, query: str
) -> None:
    with pytest.raises(InvalidValue, match="query"):
        search_moments(index, query, embedder, CONFIG)


@pytest.mark.parametrize("query", ["🐇", "rabbit " * 2000, 'NEAR("rabbit', "\ud800rabbit"])
def test_odd_queries_are_answered(index: Index, embedder: HashTextEmbedder, query: str) -> None:
    found = search_moments(index, query, embedder, replace(CONFIG, min_score=0.3))
    assert bool(found) == ("rabbit" in query)


def test_equal_texts_come_by_name_and_time(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    films = {name: ["a red car", "zzz", "a red car"] for name in ("c.mp4", "a.mp4", "b.mp4")}
    index = Index.load(make_library(films))
    found = search_moments(index, "red car", embedder, CONFIG, num=9)
    expected = [
        (name, start, start + 10) for name in ("a.mp4", "b.mp4", "c.mp4") for start in (0.0, 20.0)
    ]
    assert spans(found) == expected
    videos = search_videos(index, "red car", embedder, CONFIG)
    assert [hit.name for hit in videos] == ["a.mp4", "b.mp4", "c.mp4"]


def test_rank_and_score_equal_brute_force_on_many_random_texts(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    rng = np.random.default_rng(3)
    vocabulary = [f"word{i}" for i in range(30)]
    films = {f"{n}.mp4": [" ".join(rng.choice(vocabulary, 6)) for _ in range(40)] for n in range(3)}
    index = Index.load(make_library(films))
    query = "word1 word2 word3"
    config = replace(CONFIG, word_weight=0.0, min_score=0.2)
    found = find_matches(index, query, embedder, config, level="chapter")
    vector = embedder.embed_texts([query])[0].astype(np.float64)
    expected = {}
    for name, texts in films.items():
        for item, row in enumerate(embedder.embed_texts(texts).astype(np.float64)):
            if round(float(row @ vector), 6) >= 0.2:
                expected[name, item] = float(row @ vector)
    by_entry = {(index.entries[m.place].name, index.entries[m.place].item): m for m in found}
    assert by_entry.keys() == expected.keys()
    for key, match in by_entry.items():
        assert match.cosine == pytest.approx(expected[key], abs=2e-6)


# -- fusion ------------------------------------------------------------------------------------

SCORES = st.lists(
    st.tuples(
        st.none() | st.sampled_from([0.1, 0.2, 0.3, 0.9]),
        st.none() | st.sampled_from([1.0, 2.0, 5.0]),
    ),
    max_size=12,
)


@settings(deadline=None)
@given(scores=SCORES, weight=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
def test_fusion_equals_reciprocal_ranks_counted_by_hand(
    scores: list[tuple[float | None, float | None]], weight: float
) -> None:
    def rank(column: int, row: int) -> float:
        mine = scores[row][column]
        if mine is None:
            return 0.0
        better = sum(1 for other in scores if other[column] is not None and other[column] > mine)
        return 1 / (RANK_OFFSET + 1 + better)

    expected = [(1 - weight) * rank(0, i) + weight * rank(1, i) for i in range(len(scores))]
    assert fuse(scores, (1 - weight, weight)) == pytest.approx(expected)


def test_found_in_both_ways_beats_found_best_in_one() -> None:
    both, meaning, words = fuse([(0.5, 3.0), (0.9, None), (None, 9.0)], (0.5, 0.5))
    assert both > meaning == words


# -- merging -----------------------------------------------------------------------------------


def entry(item: int, video: str = "v") -> Entry:
    return Entry(
        video_id=video,
        name=video,
        level="chapter",
        item=item,
        start_s=10.0 * item,
        end_s=10.0 * item + 10,
        text=f"{video}{item}",
    )


def match(place: int, cosine: float, *, holds_all: bool = False) -> Match:
    return Match(
        place=place,
        cosine=cosine,
        by_meaning=not holds_all,
        words=1.0 if holds_all else None,
        holds_all=holds_all,
    )


def brute_merge(entries: list[Entry], ranked: list[Match]) -> list[tuple[str, tuple[int, ...]]]:
    """The rule by sets: grow the best unused chapter by any touching one until none joins."""
    left = list(ranked)
    groups = []
    while left:
        seed = left.pop(0)
        group = [seed]
        while True:
            joining = [
                m
                for m in left
                if entries[m.place].video_id == entries[seed.place].video_id
                and any(abs(entries[m.place].item - entries[g.place].item) == 1 for g in group)
                and (
                    (m.holds_all and seed.holds_all)
                    or (m.by_meaning and m.cosine >= NEAR_BEST * seed.cosine)
                )
            ]
            if not joining:
                break
            group += joining
            left = [m for m in left if m not in joining]
        clips = tuple(sorted(entries[m.place].item for m in group))
        groups.append((entries[seed.place].video_id, clips))
    return groups


@settings(max_examples=200, deadline=None)
@given(
    chosen=st.lists(st.integers(0, 15), unique=True),
    cosines=st.lists(st.sampled_from([-0.2, 0.1, 0.5, 0.6, 0.7]), min_size=16, max_size=16),
    words=st.lists(st.booleans(), min_size=16, max_size=16),
)
def test_merging_equals_growing_by_sets(
    chosen: list[int], cosines: list[float], words: list[bool]
) -> None:
    entries = [entry(i, video) for video, i in itertools.product("ab", range(8))]
    ranked = [match(i, cosines[i], holds_all=words[i]) for i in chosen]
    moments = merge_neighbours(entries, ranked)
    assert [(m.video_id, m.clips) for m in moments] == brute_merge(entries, ranked)
    for moment in moments:
        assert moment.start_s == 10.0 * moment.clips[0]
        assert moment.end_s == 10.0 * moment.clips[-1] + 10
        base = 8 * "ab".index(moment.video_id)
        assert moment.score == max(cosines[base + clip] for clip in moment.clips)


def test_a_much_weaker_neighbour_stays_a_moment_of_its_own() -> None:
    entries = [entry(i) for i in range(3)]
    ranked = [match(1, 0.9), match(0, 0.75), match(2, 0.5)]
    assert [m.clips for m in merge_neighbours(entries, ranked)] == [(0, 1), (2,)]


# -- videos ------------------------------------------------------------------------------------


def test_a_video_s_score_is_the_best_of_its_story_scenes_and_chapters(
    index: Index, embedder: HashTextEmbedder
) -> None:
    everything = replace(CONFIG, min_score=-1.0)
    for query in ("rabbit in grass", "red car blue truck", "one rabbit", "quiet night trees"):
        hits = {h.name: h for h in search_videos(index, query, embedder, everything)}
        vector = embedder.embed_texts([query])[0]
        for name in FILMS:
            texts = [e for e in index.entries if e.name == name]
            cosines = embedder.embed_texts([e.text for e in texts]) @ vector
            assert hits[name].score == pytest.approx(float(cosines.max()), abs=2e-6)
            best = texts[int(cosines.round(5).argmax())]
            assert (hits[name].level, hits[name].text) == (best.level, best.text)
            assert (hits[name].start_s, hits[name].end_s) == (best.start_s, best.end_s)


def test_a_query_over_several_chapters_finds_the_scene(
    index: Index, embedder: HashTextEmbedder
) -> None:
    hit = search_videos(index, "red car on asphalt blue truck", embedder, CONFIG)[0]
    assert (hit.name, hit.level, hit.start_s, hit.end_s) == ("road.mp4", "scene", 0.0, 20.0)


def test_a_video_found_by_its_words_alone_shows_its_cosine(
    index: Index, embedder: HashTextEmbedder
) -> None:
    strict = replace(CONFIG, min_score=0.99)
    (hit,) = search_videos(index, "asphalt", embedder, strict)
    assert hit.name == "road.mp4"
    assert 0 < hit.score < 0.99


def test_the_better_video_comes_first(index: Index, embedder: HashTextEmbedder) -> None:
    everything = replace(CONFIG, min_score=-1.0)
    for query, name in (("rabbit", "forest.mp4"), ("truck", "road.mp4")):
        assert search_videos(index, query, embedder, everything)[0].name == name


def test_a_text_without_a_vector_is_found_by_words_and_shows_no_likeness(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    store = make_library({"a.mp4": ["red car"]}, with_stories=False)
    payload = {"start_s": 10.0, "end_s": 20.0, "text": "white owl"}
    store.put(store.videos()[0].video_id, "chapter", 1, fingerprint="f", payload=payload)
    (moment,) = search_moments(Index.load(store), "owl", embedder, CONFIG)
    assert (moment.start_s, moment.score, moment.matched_by) == (10.0, -1.0, ("words",))
