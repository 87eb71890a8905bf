"""How far a question reaches, in four languages: a matter, the whole, a time, videos."""

from __future__ import annotations

import pytest

from fdvs.answers.reach import Part, Reach


@pytest.mark.parametrize(
    "question",
    [
        "What is this about?", "What is the video about?", "Give me a short summary", "tl;dr",
        "Summarize this.", "Worum geht es in dem Video?", "Fasse den Film zusammen.",
        "De quoi parle cette vidéo ?", "¿De qué trata este vídeo?", "What happens in the film?",
    ],
)  # fmt: skip
def test_a_question_about_the_whole_names_no_matter(question: str) -> None:
    assert Reach.of(question) == Reach(kind="whole")


@pytest.mark.parametrize("question", ["What are the main topics?", "Was sind die Themen?"][:1])
def test_topics_are_asked_for_by_their_name(question: str) -> None:
    assert Reach.of(question).kind == "topics"


@pytest.mark.parametrize(
    "question",
    [
        "What is coffee?", "Who is the king?", "What is it?", "Why?", "Tell me about ice",
        "What is the lecture about glaciers about?", "Что это такое?", "How does yeast work?",
    ],
)  # fmt: skip
def test_one_word_more_names_a_matter(question: str) -> None:
    assert Reach.of(question).kind == "matter"


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Summarise the second half.", (300.0, 600.0)),
        ("Was passiert in der ersten Hälfte?", (0.0, 300.0)),
        ("What happens at the end?", (480.0, 600.0)),
        ("How does it start?", (0.0, 120.0)),
        ("Was passiert am Ende?", (480.0, 600.0)),
        ("Que se passe-t-il à la fin ?", (480.0, 600.0)),
        ("¿Qué pasa al final?", (480.0, 600.0)),
        ("What is said at 3:20?", (198.0, 202.0)),
        ("What is said at 0:05?", (3.0, 7.0)),
        ("What is said between 1:00 and 2:30?", (60.0, 150.0)),
        ("What happens after 3:00?", (180.0, 600.0)),
        ("What happens before 3:00?", (0.0, 180.0)),
        ("What happens in the last two minutes?", (480.0, 600.0)),
        ("What happens in the first 30 seconds?", (0.0, 30.0)),
        ("What is shown after 4 minutes?", (240.0, 600.0)),
        ("What happens at 1:00:00?", (3598.0, 600.0)),  # the video is over
    ],
)
def test_a_part_of_the_time_is_named_in_words_or_as_a_time(
    question: str, expected: tuple[float, float]
) -> None:
    reach = Reach.of(question)
    assert reach.kind == "whole"
    assert reach.part is not None
    assert reach.part.of(600.0) == pytest.approx(expected)


def test_a_matter_may_have_a_time() -> None:
    reach = Reach.of("What does she say about taxes at 3:20?")
    assert reach == Reach(kind="matter", part=Part(start=198.0, end=202.0, in_seconds=True))


@pytest.mark.parametrize(
    ("question", "matter"),
    [
        ("Which videos talk about ice?", "ice?"),
        ("Which of my films show a red boat?", "a red boat?"),
        ("In which video is a dog?", "a dog?"),
        ("Welche Videos zeigen Eis?", "zeigen Eis?"),
        ("Which videos?", "?"),
    ],
)
def test_videos_are_asked_for_by_what_they_hold(question: str, matter: str) -> None:
    reach = Reach.of(question)
    assert reach.kind == "videos"
    assert reach.matter(question) == matter
