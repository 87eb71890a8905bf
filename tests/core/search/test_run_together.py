"""Words of scripts without spaces, and words that are run together or apart."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.search.fulltext import FullText

TEXTS = {
    "zh dog": "小狗在草地上跑",
    "zh car": "一辆红色的汽车",
    "ja": "ウサギが草を食べる",
    "ko": "토끼가 풀을 먹는다",
    "ko dog": "강아지는 귀엽다",
    "th": "สุนัขวิ่งบนหญ้า",
    "th cat": "แมวนอน",
    "hi": "कुत्ता दौड़ता है",
    "de": "Die Donaudampfschifffahrt am Gartenhäuschen",
    "de houses": "zwei Gartenhäuser",
    "de ship": "Das Schiff fährt",
    "bunny": "big buck bunny eats",
    "title": "BIGBUCKBUNNY TWICEADAY",
    "news": "breaking news of a million destinations",
    "en": "they come twice a day to the rabbit holes",
    "fall": "a waterfall",
    "mixed": "AI小狗机器人",
}


@pytest.fixture(scope="module")
def texts() -> FullText:
    return FullText((name, text) for name, text in TEXTS.items())


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("小狗", ["zh dog", "mixed"]),
        ("狗", ["zh dog", "mixed"]),
        ("猫", []),
        ("汽车", ["zh car"]),
        ("红色汽车", ["zh car"]),  # most of its pairs
        ("小狗汽车", []),  # of two texts, one pair each
        ("うさぎ", ["ja"]),  # Hiragana for Katakana
        ("ウサギ", ["ja"]),
        ("토끼", ["ko"]),  # the particle sticks to the word
        ("강아지가", ["ko dog"]),
        ("고양이", []),
        ("สุนัข", ["th"]),
        ("แมว", ["th cat"]),
        ("หมา", []),
        ("कुत्ता", ["hi"]),
        ("ai小狗", ["mixed"]),
        ("Schiff", ["de", "de ship"]),
        ("Dampfschiff", ["de"]),
        ("Haus", ["de", "de houses"]),
        ("Häuser", ["de houses"]),
        ("fall", ["fall"]),
        ("bigbuckbunny", ["bunny", "title"]),
        ("big buck bunny", ["bunny", "title"]),
        ("twice a day", ["title", "en"]),
        ("twiceaday", ["title", "en"]),
        ("rabbithole", ["en"]),
        ("rabbitholes", ["en"]),
        ("king", []),  # no part of "breaking"
        ("lion", []),  # nor of "million"
        ("nation", []),  # nor of "destinations"
        ("unicorn", []),
        ("asdfgh", []),
        ("🦄", []),
        ("the of and", []),
        ("?! ...", []),
    ],
)
def test_words_are_found_whole(texts: FullText, query: str, found: list[str]) -> None:
    full = texts.search(query).full
    assert [name for place, name in enumerate(TEXTS) if place in full] == found


def test_a_word_of_its_own_is_better_than_a_part(texts: FullText) -> None:
    scores = texts.search("schiff").scores
    names = list(TEXTS)
    assert scores[names.index("de ship")] > scores[names.index("de")] > 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from("小狗在草地上跑一辆红色的汽车"), min_size=2, max_size=3).map("".join)
)
def test_two_or_three_signs_are_found_where_they_stand_together(
    texts: FullText, query: str
) -> None:
    expected = {p for p, text in enumerate(TEXTS.values()) if query in text}
    assert set(texts.search(query).full) == expected


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_query(texts: FullText, query: str) -> None:
    hits = texts.search(query)
    assert set(hits.full.tolist()) <= set(hits.scores)


def test_of_a_very_long_query_a_bounded_part_is_looked_up(texts: FullText) -> None:
    assert texts.search("小狗在草地上跑" * 300).scores
    assert texts.search("donaudampfschifffahrt" * 90).full.tolist() == []
