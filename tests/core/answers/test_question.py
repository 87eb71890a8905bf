"""Questions taken apart by their words: statement, relation in time, anchor, position."""

from __future__ import annotations

import pytest

from fdvs.answers.prompt import fenced_history
from fdvs.answers.question import Question, Turn
from fdvs.errors import InvalidValue


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
    asked = Question.of(question)
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
    assert Question.of(question).position == position


def test_a_question_that_opens_with_a_time_word_has_no_anchor() -> None:
    assert Question.of("When does he sleep?").anchor == ""


def test_a_statement_ends_with_the_option() -> None:
    asked = Question.of("What does the cat do after it jumps?", ["sleeps", "eats"])
    assert asked.statements == ["the cat sleeps", "the cat eats"]
    assert asked.fit_statements == ["the cat after it jumps sleeps", "the cat after it jumps eats"]
    assert Question.of("What?", ["sleeps"]).statements == ["sleeps"]


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("why did the boy run", "the boy run"),
        ("What does the dog do after it jumps?", "the dog after it jumps"),
        ("how many rabbits are there", "rabbits are there"),
        ("Is the car red?", "the car red"),
        ("What?", "What"),
        ("the red car", "the red car"),
    ],
)
def test_the_statement_of_the_fit_keeps_the_clause_about_time(
    question: str, statement: str
) -> None:
    assert Question.of(question).fit_statement == statement


def test_a_question_is_cleaned_where_it_is_parsed_and_nowhere_else() -> None:
    asked = Question.parse("  Is\u200b it\t red? ", options=[" yes\x1b[31m ", "no"])
    assert (asked.text, asked.options) == ("Is it red?", ("yes", "no"))
    assert Question.of("a  b", ["c ", "c "]).options == ("c ", "c ")


@pytest.mark.parametrize(
    "options", [["one"], ["a", "a"], ["a", " \u200b"], [str(i) for i in range(40)]], ids=str
)
def test_options_that_cannot_be_chosen_from_are_an_error(options: list[str]) -> None:
    with pytest.raises(InvalidValue, match="options"):
        Question.parse("Which?", options=options)


# -- a chat ------------------------------------------------------------------------------------


def test_a_question_that_refers_back_is_searched_with_the_one_before() -> None:
    history = [Turn(question="Where is the hare?", answer="In the grass.")]
    for question in ("And then?", "What colour is it?", "Why?"):
        asked = Question.parse(question, history=history)
        assert asked.search_text == f"Where is the hare? {question}"
        assert asked.text == question
    for question in ("Where does the red car stop?", "Which birds fly over houses?"):
        assert Question.parse(question, history=history).search_text == question
    assert Question.parse("And then?").search_text == "And then?"


def test_a_question_with_options_stands_for_itself() -> None:
    history = [Turn(question="Where is the hare?", answer="In the grass.")]
    asked = Question.parse("Why?", history=history, options=["a", "b"])
    assert (asked.search_text, asked.history) == ("Why?", ())


def test_only_the_last_turns_are_in_the_prompt_and_each_is_bounded() -> None:
    turns = [Turn(question=f"Question {i}", answer="x" * 5000) for i in range(9)]
    text = fenced_history(turns, num_turns=2)
    assert "Question 6" not in text
    assert "Question 7" in text
    assert len(text) < 2000
    assert fenced_history(turns, num_turns=0) == ""
    assert fenced_history([], num_turns=3) == ""
