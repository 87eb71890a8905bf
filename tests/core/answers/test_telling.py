"""Which sentences are quoted: the ones that tell the answer, not those that repeat the question."""

from __future__ import annotations

import pytest

from fdvs.answers.evidence import Evidence, Passage, make_evidence
from fdvs.answers.fit import foreign_words
from fdvs.answers.question import Question
from fdvs.answers.quote import quote
from fdvs.answers.telling import how_telling, question_words
from fdvs.models.scripted import HashTextEmbedder
from fdvs.types import Moment

EMBEDDER = HashTextEmbedder()


def passage(text: str, chapter: int = 0, heading: str = "") -> Passage:
    return Passage(
        video_id="v", name="v.mp4", start_s=10.0 * chapter, end_s=10.0 * chapter + 10,
        chapter=chapter, text=text, heading=heading,
    )  # fmt: skip


def evidence(*passages: Passage) -> Evidence:
    chapters = dict.fromkeys(p.chapter for p in passages)
    moments = tuple(
        Moment(video_id="v", name="v.mp4", start_s=10.0 * c, end_s=10.0 * c + 10, score=0.5,
               text=" ".join(p.text for p in passages if p.chapter == c), clips=(c,))
        for c in chapters
    )  # fmt: skip
    made = make_evidence(passages, EMBEDDER)
    return Evidence(moments=moments, passages=made.passages, vectors=made.vectors)


def told(question: str, *passages: Passage) -> list[str]:
    found = quote(Question.parse(question), evidence(*passages), EMBEDDER)
    return [s.text.strip("“”") for s in found.sentences]


def test_a_sentence_with_a_number_answers_how_many() -> None:
    sheep = [passage("Sheep stand on the meadow here."), passage("Ninety sheep are there.", 1)]
    assert told("How many sheep are there?", *sheep) == ["Ninety sheep are there."]


def test_a_heading_a_question_and_a_remark_are_not_the_answer() -> None:
    assert told(
        "What is firn?",
        passage("Firn.", heading="Firn"),
        passage("So what is firn?", heading="Firn"),
        passage("Welcome to the lecture on firn.", heading="Firn"),
        passage("Old snow turns into hard grains called firn.", heading="Firn"),
    ) == ["Old snow turns into hard grains called firn."]


def test_the_sentence_after_the_asked_question_answers_it() -> None:
    assert told(
        "Where does bread come from?",
        passage("Where does bread come from?"),
        passage("Somebody ground flour first."),
        passage("Unrelated words stand here.", 1),
    ) == ["Somebody ground flour first."]


def test_a_sentence_that_leans_on_another_is_quoted_with_it() -> None:
    assert told(
        "Who fears thunder loudly?",
        passage("A dog sleeps."),
        passage("It fears thunder loudly."),
    ) == ["A dog sleeps. It fears thunder loudly."]


def test_words_of_the_question_that_no_quote_holds_bring_another_one() -> None:
    assert told(
        "What is the difference between washed beans and natural beans?",
        passage("Washed beans lie in water."),
        passage("Natural beans lie in sunlight.", 1),
        passage("Ships sail on the sea.", 2),
    ) == ["Washed beans lie in water.", "Natural beans lie in sunlight."]


def test_words_of_the_heading_and_the_chapter_count_less_than_own_words() -> None:
    passages = [
        passage("It takes decades.", 0, heading="Firn"),
        passage("Firn takes decades.", 1),
        passage("It takes decades.", 2),
        passage("It takes decades.", 3),
        passage("Firn.", 3),
    ]
    shares, held, weights = question_words("firn?", passages)
    assert shares.tolist() == pytest.approx([0.5, 1.0, 0.0, 0.3, 1.0])
    assert held[1] == frozenset(weights) == {"firn"}
    assert sum(weights.values()) == pytest.approx(1.0)


def test_the_part_of_the_time_that_is_named_counts() -> None:
    material = evidence(passage("A red car waits."), passage("A red car waits.", 1))
    question = Question.parse("What does the red car do at 0:15?")
    scores = how_telling(question, material, EMBEDDER, lambda one: one.chapter == 1).scores
    assert scores[1] > scores[0]


@pytest.mark.parametrize(
    ("question", "share"),
    [
        ("Was ist eine Moräne?", 1.0),  # also without its accent, and inside a longer word
        ("Was fressen die Dinosaurier?", 0.0),
        ("What is a moraine?", None),
        ("Что такое морена?", None),
    ],
)
def test_in_other_languages_a_chapter_must_hold_words_of_the_question(
    question: str, share: float | None
) -> None:
    material = evidence(passage("Das Geröll heißt die Endmorane und liegt am Rand des Eises."))
    assert foreign_words(Question.parse(question), material) == share
