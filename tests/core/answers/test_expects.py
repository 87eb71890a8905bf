"""What a question asks for, and which sentences hold it."""

from __future__ import annotations

import pytest

from fdvs.answers.expects import expected, holds


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How hot should the water be?", "number"), ("Wie viel Wasser?", "number"),
        ("Combien de moutons ?", "number"), ("¿Cuántas ovejas hay?", "number"),
        ("When did it begin?", "time"), ("Wann starb er?", "time"),
        ("How long does it take?", "time"),
        ("Who discovered coffee?", "person"), ("Wer kam?", "person"), ("Qui est là ?", "person"),
        ("Where does it grow?", "place"), ("Woher kommt es?", "place"), ("Où vit-il ?", "place"),
        ("Why is the ice blue?", "reason"), ("Pourquoi ?", "reason"), ("¿Por qué?", "reason"),
        ("What colour is the car?", "colour"), ("Which color?", "colour"),
        ("What does it do when it rains?", ""), ("Что это?", ""), ("Is it true?", ""),
    ],
)  # fmt: skip
def test_question_words_tell_what_is_asked_for(question: str, kind: str) -> None:
    assert expected(question) == kind


@pytest.mark.parametrize(
    ("kind", "sentence", "is_held"),
    [
        ("number", "Use 60 grams.", True), ("number", "Ninety sheep.", True),
        ("number", "Many sheep.", False), ("number", "Vierzig Schafe.", True),
        ("time", "It began in 1998.", True), ("time", "Im Mai regnet es.", True),
        ("time", "It began.", False), ("person", "It was found by Kaldi.", True),
        ("person", "It was found by goats.", False), ("place", "It lives in the tropics.", True),
        ("place", "It lives.", False), ("reason", "It sinks because it is heavy.", True),
        ("reason", "It sinks.", False), ("colour", "A red car.", True), ("colour", "A car.", False),
        ("", "Anything.", True),
    ],
)  # fmt: skip
def test_a_sentence_holds_what_is_asked_for(kind: str, sentence: str, is_held: bool) -> None:
    assert holds(kind, sentence) is is_held  # type: ignore[arg-type]
