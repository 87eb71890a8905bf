"""The reader of made questions against chapters written by hand."""

from __future__ import annotations

import pytest

from fdvs.answers.evidence import Evidence, make_evidence
from fdvs.answers.question import Question
from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.types import Chapter

TEXTS = (
    "A pattern. On screen it says “HARBOUR”.",
    "On screen it says “LANTERN” and “FIRE ALARM”.",
    "A pattern. On screen it says “SADDLE”. Someone says: “It will snow on Monday.”",
    "Nothing is recognised with confidence.",
    "On screen it says “LANTERN”. Someone says: “She lost her yellow umbrella.”",
)


def material(texts: tuple[str, ...] = TEXTS) -> Evidence:
    chapters = [
        Chapter(video_id="v", index=i, start_s=5.0 * i, end_s=5.0 * i + 5, text=text)
        for i, text in enumerate(texts)
    ]
    return make_evidence(passages_of("v", chapters), HashTextEmbedder())


WORDS = ("HARBOUR", "LANTERN", "SADDLE")


@pytest.mark.parametrize(
    ("question", "options", "answer"),
    [
        ("Which word does the screen show first?", WORDS, "HARBOUR"),
        ("Which word does the screen show last?", WORDS, "LANTERN"),
        ("Which word does the screen show right after the word HARBOUR?", WORDS, "LANTERN"),
        ("Which word does the screen show right before the word SADDLE?", WORDS, "LANTERN"),
        ("How many times does the screen show the word LANTERN?", ("once", "twice"), "twice"),
        ("Which word can be read on the screen?", ("CASTLE", "SADDLE", "PRISON"), "SADDLE"),
        (
            "What does someone say while the screen shows the word SADDLE?",
            ("She lost her yellow umbrella.", "It will snow on Monday.", "He is late."),
            "It will snow on Monday.",
        ),
        (
            "Which word does the screen show while someone says: She lost her yellow umbrella.",
            ("HARBOUR", "SADDLE", "LANTERN"),
            "LANTERN",
        ),
    ],
)
def test_what_the_words_tell_is_found(question: str, options: tuple[str, ...], answer: str) -> None:
    for order in (options, options[::-1]):
        choice = RuleReader().choose(Question.of(question, order), material())
        assert order[choice.chosen] == answer
        assert choice.scores[choice.chosen] == 1.0


@pytest.mark.parametrize(
    "question",
    [
        "Which word does the screen show first?",
        "Which word does the screen show last?",
        "How many times does the screen show the word SADDLE?",
        "Which word does the screen show right after the word SADDLE?",
        "Which word can be read on the screen?",
    ],
)
def test_where_nothing_is_told_the_first_option_by_its_text_is_taken(question: str) -> None:
    options = ("SADDLE", "twice", "HARBOUR")
    choice = RuleReader().choose(Question.of(question, options), material(("Nothing at all.",)))
    assert options[choice.chosen] == "HARBOUR"
    assert set(choice.scores) == {0.0}
