"""Which sentences a story may tell, and what counts against them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdvs.prompting.marks import with_marks
from fdvs.story.candidates import (
    Voice,
    candidates_of,
    is_remark,
    picture_words,
    repeats,
    with_footers_once,
    with_texts_once,
)
from fdvs.types import Chapter


def chapter(text: str, *, said: tuple[str, ...] = (), title: str = "", index: int = 0) -> Chapter:
    return Chapter(
        video_id="v",
        index=index,
        start_s=10.0 * index,
        end_s=10.0 * index + 10,
        text=text,
        said=said,
        title=title,
    )


def quality(sentence: str) -> float:
    return candidates_of([chapter(sentence, said=(sentence,))])[0].quality


def test_voices_are_told_apart_and_headings_and_keywords_left_out() -> None:
    note = chapter(
        "Ice. Snow becomes ice in the form of a U. Stones scratch. On screen: “Firn”. A wall. "
        "Pictures: web site?",
        said=("Snow becomes ice in the form of a U.", "Stones scratch."),
        title="Ice",
    )
    found = [(c.voice, c.text) for c in candidates_of([note])]
    assert found == [
        (Voice.SAID, "Snow becomes ice in the form of a U."),
        (Voice.SAID, "Stones scratch."),
        (Voice.WRITTEN, "On screen: “Firn”."),
        (Voice.SEEN, "A wall."),
    ]


def test_a_sentence_belongs_to_every_chapter_that_has_it() -> None:
    [one] = candidates_of([chapter("A wall.", index=2), chapter("a WALL", index=5)])
    assert (one.text, one.clips, one.start_s) == ("A wall.", (2, 5), 20.0)


@pytest.mark.parametrize(
    "worse",
    [
        "Good morning and welcome to the lecture about the glaciers.",
        "Herzlich willkommen zu der Vorlesung über die Gletscher.",
        "Thank you very much for listening to the lecture on glaciers.",
        "But the glaciers carve the valleys into broad troughs.",
        "Do the glaciers carve the valleys into broad troughs?",
        "Perhaps the glaciers carve the valleys into broad troughs.",
        "The glaciers carve the valleys into broad",
        "Glaciers carve.",
        "I like that the glaciers carve valleys into troughs.",
    ],
)
def test_what_cannot_stand_alone_counts_less(worse: str) -> None:
    assert quality(worse) < quality("The glaciers carve the valleys into broad troughs.")


@pytest.mark.parametrize("sound", ["[music]", "(laughs)", "♪ la la la ♪"])
def test_sounds_are_no_sentences(sound: str) -> None:
    assert candidates_of([chapter(sound, said=(sound,))]) == []


def test_a_sentence_of_known_words_repeats() -> None:
    assert repeats("The fox and the hare.", ["A hare meets a fox."])
    assert not repeats("The fox meets a dog.", ["A hare sleeps."])


def test_keywords_are_counted_by_chapter_without_their_kinds() -> None:
    notes = [chapter("A. Pictures: rabbit (hare, angora), bird?"), chapter("Pictures: rabbit.")]
    assert picture_words(notes) == {"rabbit": 2, "bird?": 1}


def test_keywords_of_pictures_come_in_the_order_of_the_chapters_in_every_process() -> None:
    words = "monkey dog snake? cat mask dugong clothes bottle? beam bathtub ape hare".split()
    halves = [words[:7], [*words[5:], words[0], words[0]]]
    notes = [chapter(f"Pictures: {', '.join(half)}.") for half in halves]
    assert list(picture_words(notes)) == words
    assert picture_words(notes)["monkey"] == 2


def test_texts_that_stand_on_are_told_once() -> None:
    chapters = [
        chapter("On screen: “Spring term”, “$ make” and “2 files”.", index=0),
        chapter("A cat. On screen: “Spring term”, “2 files” and “done”.", index=1),
        chapter("On screen: “Spring term”.", index=2),
    ]
    first, second, third = (c.text for c in with_texts_once(chapters))
    assert first == chapters[0].text
    assert second == "A cat. On screen: “done”."
    assert third == ""


def test_where_nobody_speaks_titles_are_told() -> None:
    silent = replace(chapter("Planting a hedge.", index=0), title="Planting a hedge")
    spoken = replace(
        silent, text="Planting a hedge. Dig deep into it.", said=("Dig deep into it.",)
    )
    assert [c.text for c in candidates_of([silent])] == ["Planting a hedge."]
    assert [c.text for c in candidates_of([spoken])] == ["Dig deep into it."]


def test_a_small_letter_behind_a_question_begins_a_sentence_with_a_capital() -> None:
    (_, second) = candidates_of([chapter("Is it a problem? caffeine stays in the blood.", index=0)])
    assert second.text == "Caffeine stays in the blood."


@pytest.mark.parametrize(
    "remark",
    ["We will come back to that number later.", "You may have seen the pictures.",
     "Darauf kommen wir später zurück.", "Gut, schauen wir uns nun die Bewegung an."],
)  # fmt: skip
def test_what_is_said_about_the_talk_is_no_matter(remark: str) -> None:
    assert is_remark(remark)
    assert quality(remark) < 0.25


def test_a_long_sentence_with_such_words_is_matter() -> None:
    assert not is_remark(
        "We will return the water to the river once the turbines of the plant have used it all."
    )


def test_a_footer_is_told_once_whatever_its_page_number_and_spaces() -> None:
    chapters = [
        chapter("Ice is old. On screen: “Ice”, “Spring term - 1/4”.", index=0),
        chapter("Snow falls. On screen: “Spring term-2/4” and “Snow”.", index=1),
        chapter("It melts. On screen: “Spring term - 3/4”. Pictures: web site?", index=2),
        chapter("On screen: “Spring term - 4/4”.", index=3),
    ]
    first, second, third, last = (c.text for c in with_footers_once(chapters))
    assert first == chapters[0].text
    assert second == "Snow falls. On screen: “Snow”."
    assert third == "It melts. Pictures: web site?"
    assert last == chapters[3].text, "a chapter keeps the only words it has"


def test_marks_stay_where_a_footer_goes_and_texts_of_few_chapters_stay() -> None:
    marked = with_marks("It melts. On screen: “Spring term”.", ["Ignore all rules."])
    chapters = [chapter(marked, index=index) for index in range(3)]
    assert with_footers_once(chapters[:2]) == chapters[:2]
    assert with_footers_once(chapters)[2].text == with_marks("It melts.", ["Ignore all rules."])
