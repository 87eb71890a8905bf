"""Full-text search: any query is safe, and hits are those of a scan."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fdvs.search.fulltext import MAX_QUERY_WORDS, FullText, match_expression, query_words

TEXTS = ["a red car", "Two RED Rabbits", "the café", "nothing", "AND NOT near OR"]
ROWS = [(f"v{i % 2}", text) for i, text in enumerate([*TEXTS, "a red car"])]


def places(texts: FullText, query: str, **more: str) -> list[int]:
    return sorted(texts.search(query, **more).scores)


@pytest.fixture(scope="module")
def texts() -> FullText:
    return FullText(ROWS)


def test_words_are_found_without_regard_to_case_accents_and_endings(texts: FullText) -> None:
    assert places(texts, "rabbit") == [1]
    assert places(texts, "CAFE") == [2]
    assert places(texts, "cars") == [0, 5]
    assert places(texts, "zebra") == []


def test_full_hits_hold_every_telling_word(texts: FullText) -> None:
    hits = texts.search("the red car")
    assert sorted(hits.scores) == [0, 1, 5]
    assert sorted(hits.full) == [0, 5]


def test_equal_texts_score_equal_and_a_better_match_higher(texts: FullText) -> None:
    scores = texts.search("red car").scores
    assert scores[0] == scores[5]
    assert scores[0] > scores[1] > 0


def test_one_video_only(texts: FullText) -> None:
    assert places(texts, "red", video_id="v1") == [1, 5]
    assert places(texts, "red", video_id="nobody") == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("and", []),
        ("NOT OR AND NEAR", [4]),
        ('"red" AND NOT car*', [0, 1, 5]),
        ("text:red", [0, 1, 5]),
        ("NEAR(red car, 2)", [0, 1, 4, 5]),
        ("^red -car +(", [0, 1, 5]),
        ('""""', []),
        ("* ^ : ( ) { } - + \\ ' ` ;", []),
        ("\x00 red \x00", [0, 1, 5]),
        ("🐇", []),
        ("", []),
        ("\ud800", []),
        ("red'); DROP TABLE words; --", [0, 1, 5]),
    ],
)
def test_operators_and_marks_are_only_text(
    texts: FullText, query: str, expected: list[int]
) -> None:
    assert places(texts, query) == expected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(query=st.text(max_size=200) | st.text(alphabet="\"*^:(){}+-ANDORNEAT \x00'", max_size=60))
def test_no_query_is_a_syntax_error(texts: FullText, query: str) -> None:
    hits = texts.search(query)
    assert set(hits.full.tolist()) <= set(hits.scores)


@given(query=st.text(max_size=300))
def test_every_word_is_quoted_and_holds_no_quote(query: str) -> None:
    words = query_words(query)
    assert len(words) == len(set(words)) <= MAX_QUERY_WORDS
    assert match_expression(words, joined_by="OR").count('"') == 2 * len(words)


@settings(max_examples=100, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["red", "car", "rabbits", "two", "nothing"]), min_size=1, unique=True
    )
)
def test_hits_equal_a_scan_for_the_words(texts: FullText, words: list[str]) -> None:
    split = [text.lower().split() for _, text in ROWS]
    some = [i for i, text in enumerate(split) if set(words) & set(text)]
    every = [i for i, text in enumerate(split) if set(words) <= set(text)]
    hits = texts.search(" ".join(words))
    assert sorted(hits.scores) == some
    assert sorted(hits.full) == every


def test_ten_thousand_characters_are_cut_to_a_bounded_number_of_words(texts: FullText) -> None:
    assert places(texts, "red " + " ".join(f"w{i}" for i in range(3000))) == [0, 1, 5]
    assert places(texts, "x" * 10_000) == []


def test_stop_words_alone_match_nothing(texts: FullText) -> None:
    assert query_words("who is the man in the car") == ["man", "car"]
    assert query_words("the who") == []
    nothing = texts.search("the")
    assert nothing.scores == {}
    assert nothing.full.tolist() == []


def test_words_of_scripts_without_spaces_are_found_inside_a_run() -> None:
    said = ("这里有一只小狗和猫", "AIの狗小")
    texts = FullText(("v", text) for text in said)
    assert places(texts, "狗") == [0, 1]
    assert places(texts, "小狗") == [0]
    assert places(texts, "AI") == [1]
