"""Questions taken apart by their words: statement, relation in time, anchor, position."""

from __future__ import annotations

import pytest

from fdvs.answers.question import Asked, read_question


@pytest.mark.parametrize(
    ("question", "statement", "relation", "anchor"),
    [
        ("What does the cat do after it jumps?", "the cat", "after", "it jumps"),
        ("what did he do before sitting down", "he", "before", "sitting down"),
        ("how did she react when the door fell", "she", "at", "the door fell"),
        ("why does the man wear a hat", "the man wear a hat", "", ""),
        ("where is the boat", "the boat", "", ""),
        ("what is the girl doing in the kitchen?", "the girl in the kitchen", "", ""),
        ("Describe the main activity.", "describe the main activity", "", ""),
        ("what happens once he leaves", "happens", "after", "he leaves"),
    ],
)
def test_a_question_becomes_a_statement_and_an_event(
    question: str, statement: str, relation: str, anchor: str
) -> None:
    asked = read_question(question)
    assert (asked.statement, asked.relation, asked.anchor) == (statement, relation, anchor)


@pytest.mark.parametrize(
    ("question", "position"),
    [
        ("why does he wave at the end of the video", "end"),
        ("what does he do last", "end"),
        ("why does he wave in the beginning", "start"),
        ("what does she pick up first", "start"),
        ("why did he fall in the middle of the video", "middle"),
        ("who stands in the middle of the road while singing", ""),
        ("why does he wave", ""),
    ],
)
def test_a_question_names_a_part_of_the_video(question: str, position: str) -> None:
    assert read_question(question).position == position


def test_a_question_that_opens_with_a_time_word_has_no_anchor() -> None:
    assert read_question("When does he sleep?").anchor == ""


def test_a_statement_ends_with_the_option() -> None:
    assert Asked(statement="the cat").with_option("sleeps") == "the cat sleeps"
    assert Asked(statement="").with_option("sleeps") == "sleeps"
