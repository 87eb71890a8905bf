"""Text from outside becomes one bounded visible line, told once and in a fixed order."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.story.observations import SOURCE_ORDER, arrange, kind_of, texts_of
from fdvs.story.said import said_sentences
from fdvs.text.clean import clean_text
from fdvs.text.vocabulary import same_words
from fdvs.types import Observation


def seen(
    source: str, text: str, *, at_s: float = 0.0, confidence: float | None = None
) -> Observation:
    return Observation(
        source=source, text=text, start_s=at_s, end_s=at_s + 1, confidence=confidence
    )


@settings(deadline=None)
@given(text=st.text(max_size=300), max_chars=st.integers(3, 80))
def test_cleaned_text_is_one_bounded_visible_line(text: str, max_chars: int) -> None:
    clean = clean_text(text, max_chars=max_chars)
    assert len(clean) <= max_chars
    assert clean == " ".join(clean.split())
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn"} for c in clean)


@settings(deadline=None)
@given(text=st.text(max_size=300), max_chars=st.integers(3, 80))
def test_cleaning_twice_changes_nothing(text: str, max_chars: int) -> None:
    once = clean_text(text, max_chars=max_chars)
    assert clean_text(once, max_chars=max_chars) == once


@pytest.mark.parametrize(
    ("dirty", "clean"),
    [
        ("  two\n\tlines \r\n here ", "two lines here"),
        ("pay\u202eload\u202c", "payload"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
        ("\x1b[31mred\x07", "red"),
        ("ｆｕｌｌ ｗｉｄｔｈ", "full width"),
        ("ﬁne", "fine"),
        ("\u2066isolated\u2069", "isolated"),
        ("tag\U000e0041\U000e0042", "tag"),
        ("heart\ufe0f", "heart"),
        ("blank\u2800braille \u3164filler", "blankbraille filler"),
        ("lone\ud800surrogate", "lonesurrogate"),
        ("café", "café"),
        ("猫が走る", "猫が走る"),
        ("line\u2028separator\u2029here", "line separator here"),
        ("\x00\x01", ""),
    ],
)
def test_what_a_reader_cannot_see_goes(dirty: str, clean: str) -> None:
    assert clean_text(dirty, max_chars=100) == clean


def test_a_long_text_is_cut_at_a_word_and_says_so() -> None:
    assert clean_text("one two three four", max_chars=12) == "one two..."
    assert clean_text("one two three four", max_chars=18) == "one two three four"
    assert clean_text("one two. three four", max_chars=12) == "one two..."


def test_a_long_word_is_cut_in_the_middle() -> None:
    assert clean_text("a" * 50, max_chars=10) == "aaaaaaa..."


def test_a_huge_text_of_blanks_is_marked_as_cut() -> None:
    assert clean_text(" " * 10_000 + "hidden", max_chars=20) == "..."


def test_no_room_for_the_mark_is_refused() -> None:
    with pytest.raises(ValueError, match="max_chars is 2"):
        clean_text("text", max_chars=2)


def test_sources_come_in_the_fixed_order_whatever_order_they_reported_in() -> None:
    reported = [seen(source, f"what {source} says") for source in reversed(SOURCE_ORDER)]
    assert [o.source for o in arrange(reported)] == list(SOURCE_ORDER)


def test_unknown_sources_follow_in_alphabetical_order() -> None:
    told = arrange([seen("zoo", "z"), seen("speech", "s"), seen("audio", "a")])
    assert [o.source for o in told] == ["speech", "audio", "zoo"]


def test_one_source_is_told_in_order_of_time() -> None:
    told = arrange([seen("speech", "second", at_s=2), seen("speech", "first", at_s=1)])
    assert texts_of(told, "speech") == ["first", "second"]


def test_the_same_caption_of_several_frames_is_said_once_over_both_times() -> None:
    told = arrange(
        [
            seen("caption", "A hare sits.", at_s=0, confidence=0.2),
            seen("caption", "a hare  sits", at_s=3, confidence=0.9),
            seen("caption", "A hare runs.", at_s=5),
        ]
    )
    assert [o.text for o in told] == ["A hare sits.", "A hare runs."]
    assert (told[0].start_s, told[0].end_s, told[0].confidence) == (0, 4, 0.9)


def test_merged_observations_without_confidence_have_none() -> None:
    told = arrange([seen("caption", "x"), seen("caption", "x", at_s=3)])
    assert told[0].confidence is None


def test_speech_that_repeats_the_subtitles_is_left_out_but_other_sources_are_not() -> None:
    told = arrange(
        [
            seen("speech", "Hello there!"),
            seen("subtitles", "Hello there."),
            seen("caption", "hello there"),
        ]
    )
    assert [o.source for o in told] == ["subtitles", "caption"]


def test_speech_that_was_misheard_here_and_there_repeats_the_subtitles_all_the_same() -> None:
    told = arrange(
        [
            seen("subtitles", "The glacier carries rubble to the valley."),
            seen("speech", "The glazier carries rubble to the valley."),
            seen("speech", "Nobody wrote this sentence down."),
        ]
    )
    assert texts_of(told, "speech") == ["Nobody wrote this sentence down."]


def test_text_on_screen_that_is_said_or_is_the_heading_is_left_out() -> None:
    told = arrange(
        [
            seen("heading", "From snow to ice"),
            seen("screen text", "FROM SNOW TO ICE"),
            seen("screen text", "Takes decades"),
            seen("screen text", "Density 0.55"),
            seen("speech", "It takes decades until firn becomes ice."),
        ]
    )
    assert texts_of(told, "screen text") == ["Density 0.55"]


def test_lines_become_sentences_across_cues_but_not_across_a_pause() -> None:
    lines = [
        seen("subtitles", "and then we went", at_s=0),
        seen("subtitles", "home. The fire", at_s=1),
        seen("subtitles", "was out.", at_s=2),
        seen("subtitles", "no end here", at_s=3),
        seen("subtitles", "much later", at_s=30),
    ]
    assert [one.text for one in said_sentences(arrange(lines))] == [
        "And then we went home.",
        "The fire was out.",
        "No end here.",
        "Much later.",
    ]


def test_what_has_no_visible_text_is_left_out() -> None:
    assert arrange([seen("caption", " \u200b\n"), seen("speech", "")]) == ()


def test_marks_alone_are_told_as_they_are() -> None:
    told = arrange([seen("screen text", "?!"), seen("screen text", "->")])
    assert texts_of(told, "screen text") == ["?!", "->"]


def test_texts_are_bounded() -> None:
    told = arrange([seen("speech", "word " * 100)], max_chars=30)
    assert len(told[0].text) <= 30


@pytest.mark.parametrize("name", ["screen_text", "Screen-Text", " screen text "])
def test_a_source_has_one_name(name: str) -> None:
    assert kind_of(name) == "screen text"


def test_words_decide_what_is_the_same() -> None:
    assert same_words("A hare, running!") == same_words("a HARE running")
    assert same_words("Straße") == same_words("STRASSE")
    assert same_words("a hare") != same_words("the hare")
