"""Where sentences end; how they are cut and compared."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.text.sentences import (
    drop_unfinished,
    finish,
    shorten,
    split_sentences,
    unique_sentences,
)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Dr. Bo meets Mrs. Ada Lovelace. They talk.",
            ["Dr. Bo meets Mrs. Ada Lovelace.", "They talk."],
        ),
        ("Fruits, e.g. Apples, fall. It rains.", ["Fruits, e.g. Apples, fall.", "It rains."]),
        ("J. R. Smith waves. He goes.", ["J. R. Smith waves.", "He goes."]),
        ("So do I. Then we go.", ["So do I.", "Then we go."]),
        ("It costs 3.50 euros. Cheap.", ["It costs 3.50 euros.", "Cheap."]),
        ("Wait... then it goes on. End.", ["Wait... then it goes on.", "End."]),
        ("Wait... Then it goes on.", ["Wait...", "Then it goes on."]),
        ("He says: “Stop. Now.” Then he goes.", ["He says: “Stop. Now.”", "Then he goes."]),
        ('She says "Go. Run!" and runs. End.', ['She says "Go. Run!" and runs.', "End."]),
        ('A 5" pipe. Another one.', ['A 5" pipe.', "Another one."]),
        ("He said “never closed. Then more.", ["He said “never closed.", "Then more."]),
        ("A dog (small). It barks.", ["A dog (small).", "It barks."]),
        ("See www.example.com for more. Bye.", ["See www.example.com for more.", "Bye."]),
        ("猫が走る。犬も走る。", ["猫が走る。", "犬も走る。"]),
        ("Really?! Yes.", ["Really?!", "Yes."]),
        ("It is 5. 3 dogs come.", ["It is 5.", "3 dogs come."]),
        ("... Well.", ["...", "Well."]),
        (
            "Is that a problem? caffeine stays. Yes.",
            ["Is that a problem?", "caffeine stays.", "Yes."],
        ),
        ("“Is it far?” he asks. No.", ["“Is it far?” he asks.", "No."]),
        ("Did he? No. Then he left.", ["Did he?", "No.", "Then he left."]),
        ("See No. 5 there. Good.", ["See No. 5 there.", "Good."]),
        ("Blumen, z. B. Rosen, blühen. Gut.", ["Blumen, z. B. Rosen, blühen.", "Gut."]),
        ("Am 3. Mai kam er. Gut.", ["Am 3. Mai kam er.", "Gut."]),
        ("Im 19. Jahrhundert sank es. Gut.", ["Im 19. Jahrhundert sank es.", "Gut."]),
        (
            "Das kostet ca. Zwei Euro bzw. Drei Euro. Gut.",
            ["Das kostet ca. Zwei Euro bzw. Drei Euro.", "Gut."],
        ),
        (
            "It is ready at 9.30 p.m. and warm. Good.",
            ["It is ready at 9.30 p.m. and warm.", "Good."],
        ),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@settings(deadline=None)
@given(text=st.text(alphabet="aB .!?“”\"'。\n1", max_size=60))
def test_splitting_loses_nothing_but_blanks(text: str) -> None:
    together = "".join("".join(split_sentences(text)).split())
    assert together == "".join(text.split())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a hare", "A hare."),
        ("A hare!", "A hare!"),
        ("“stop.”", "“stop.”"),
        ("he says “stop”", "He says “stop”."),
        ("  ", ""),
        ("終わり。", "終わり。"),
    ],
)
def test_finishing_makes_a_sentence(text: str, sentence: str) -> None:
    assert finish(text) == sentence


def test_a_short_sentence_is_not_shortened() -> None:
    assert shorten("A hare sits.", max_chars=12) == "A hare sits."


def test_shortening_marks_the_cut_and_closes_the_quote() -> None:
    cut = shorten("Someone says: “one two three four five.”", max_chars=30)
    assert cut == "Someone says: “one two..." + "”"
    assert shorten("one two three four", max_chars=14) == "one two..."


@settings(deadline=None)
@given(text=st.text(alphabet="ab “”.", max_size=80), max_chars=st.integers(5, 40))
def test_shortened_is_never_longer_than_allowed(text: str, max_chars: int) -> None:
    assert len(shorten(text, max_chars=max_chars)) <= max_chars


def test_an_unfinished_last_sentence_is_dropped() -> None:
    assert drop_unfinished("It begins. It goes on and") == "It begins."


def test_a_single_unfinished_sentence_is_kept_and_marked() -> None:
    assert drop_unfinished("It goes on and") == "It goes on and..."


def test_finished_text_stays() -> None:
    assert drop_unfinished("It begins. It ends.") == "It begins. It ends."
    assert drop_unfinished("") == ""


def test_repeated_sentences_are_said_once() -> None:
    assert unique_sentences("A hare. A bird. A HARE! A bird.") == ["A hare.", "A bird."]
