"""The words of a large library as arrays give the hits of FTS5 itself."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.errors import CorruptLibrary
from fdvs.search.fulltext import FullText, match_expression
from fdvs.search.word_table import Words, WordTable, count_words

WORDS = (
    "red car rabbits running king of hearts the striking breaking big buck bunny bigbuckbunny "
    "donaudampfschiff schiff häuser gartenhäusern café Cafe naïve x1 running123 小狗 红色汽车 "
    "ai小狗 これは ペン ประเทศไทย ٣ ² Ⅷ e\u0301cole"
).split()
VIDEOS = ("v0", "v1", "v2")
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=10).map(" ".join), max_size=20)
QUERIES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=5).map(" ".join)


def table_of(texts: list[str]) -> WordTable:
    videos = np.arange(len(texts), dtype=np.int32) % len(VIDEOS)
    return WordTable(count_words(texts, len(texts)), videos, VIDEOS)


@settings(max_examples=150, deadline=None)
@given(texts=TEXTS, query=QUERIES, video=st.sampled_from([None, "v1", "nobody"]))
def test_hits_and_scores_equal_those_of_fts5(
    texts: list[str], query: str, video: str | None
) -> None:
    by_fts5 = FullText((VIDEOS[i % len(VIDEOS)], text) for i, text in enumerate(texts))
    wanted, found = (one.search(query, video_id=video) for one in (by_fts5, table_of(texts)))
    assert found.scores == pytest.approx(wanted.scores, abs=1.1e-6)
    assert found.full.tolist() == wanted.full.tolist()


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, phrase=st.lists(st.sampled_from(WORDS), min_size=2, max_size=4).map(" ".join))
def test_phrases_are_found_as_by_fts5(texts: list[str], phrase: str) -> None:
    by_fts5 = FullText(("v", text) for text in texts)
    wanted = by_fts5.match([phrase], every=True, video_id=None)
    found = table_of(texts).match([phrase], every=True, video_id=None)
    assert found.places.tolist() == wanted.places.tolist()
    assert found.scores == pytest.approx(wanted.scores, abs=1.1e-6)


def test_a_word_that_overlaps_itself_is_counted_as_by_fts5() -> None:
    texts = ["na na na na batman", "na", "na na"]
    wanted = FullText(("v", text) for text in texts).match(["na na"], every=True, video_id=None)
    found = table_of(texts).match(["na na"], every=True, video_id=None)
    assert found.places.tolist() == wanted.places.tolist() == [0, 2]
    assert found.scores == pytest.approx(wanted.scores, abs=1e-6)


def test_more_phrases_than_a_byte_counts_are_all_counted() -> None:
    found = table_of(["a1 " * 3, "b2"]).match(["a1"] * 300, every=True, video_id=None)
    assert found.places.tolist() == [0]


def test_the_first_word_of_a_text_is_no_neighbour_of_the_last_of_the_one_before() -> None:
    assert (
        table_of(["red car", "bus red"])
        .match(["car bus"], every=True, video_id=None)
        .places.tolist()
        == []
    )


def test_a_stem_that_one_text_repeats_beyond_the_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="70000 times"):
        count_words(["no " * 70_000], 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda words: replace(words, pair_texts=words.pair_texts + np.int32(50)),
        lambda words: replace(words, pair_texts=words.pair_texts - np.int32(50)),
        lambda words: replace(words, pair_counts=words.pair_counts + np.uint16(9)),
    ],
)
def test_lists_that_lead_elsewhere_are_damage_not_a_crash(damage: object) -> None:
    words: Words = damage(count_words(["red car", "blue car"], 2))  # type: ignore[operator]
    table = WordTable(words, np.zeros(2, np.int32), VIDEOS)
    with pytest.raises(CorruptLibrary, match="delete it"):
        table.match(["red car"], every=True, video_id=None)


def test_bm25_is_that_of_fts5_over_texts_of_different_lengths() -> None:
    texts = ["car " * n + "road " * (7 - n) for n in range(8)] + ["tree"] * 20
    database = sqlite3.connect(":memory:")
    database.execute("CREATE VIRTUAL TABLE t USING fts5(text)")
    database.executemany("INSERT INTO t (rowid, text) VALUES (?, ?)", list(enumerate(texts)))
    wanted = dict(
        database.execute(
            "SELECT rowid, -bm25(t) FROM t WHERE t MATCH ?",
            (match_expression(["car", "road"], joined_by="OR"),),
        )
    )
    database.close()
    assert table_of(texts).search("car road").scores == pytest.approx(wanted, abs=1e-6)
