"""Which supported sentences of a model answer the question."""

from __future__ import annotations

import pytest

from fdvs.answers.answering import answering
from fdvs.answers.question import Question
from fdvs.types import AnswerSentence


def kept(question: str, *texts: str) -> list[str]:
    sentences = [AnswerSentence(text=text, support=0.9) for text in texts]
    return [s.text for s in answering(Question.parse(question), sentences)]


def test_each_answer_is_kept_once() -> None:
    told = kept("What stops at the gate?", "A red car stops.", "A red car  stops.", "It leaves.")
    assert told == ["A red car stops.", "It leaves."]


@pytest.mark.parametrize(
    "text",
    [
        "The story and the moments that you read about are about ice.",
        "The answer is: “Moraine”.",
        "Based on the material, a car stops.",
        "As an AI language model I see a car.",
    ],
)
def test_sentences_about_the_material_are_no_answer(text: str) -> None:
    assert kept("What stops at the gate?", text) == []


def test_a_sentence_that_repeats_the_question_is_no_answer() -> None:
    assert kept("Where does the red car stop?", "The red car does stop.") == []


def test_a_number_that_is_asked_for_must_be_told() -> None:
    assert kept("How many sheep are there?", "Sheep eat grass.") == []
    told = kept("How many sheep are there?", "Sheep eat grass.", "Ninety graze here.")
    assert told == ["Sheep eat grass.", "Ninety graze here."]
