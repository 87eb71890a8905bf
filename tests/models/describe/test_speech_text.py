"""From words to sentences: times, pauses, loops and what Whisper invents."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.models.describe.speech_text import (
    CLOSING_PHRASES,
    MAX_SENTENCE_S,
    MAX_SENTENCE_WORDS,
    Segment,
    Word,
    transcript,
    without_loops,
)
from fdvs.text.vocabulary import same_words


def said(text: str, *, start_s: float = 0.0, word_s: float = 0.5, sure: float = 0.9) -> list[Word]:
    """One word each `word_s` seconds, with its leading space, as Whisper writes them."""
    return [
        Word(
            text=f" {word}",
            start_s=start_s + number * word_s,
            end_s=start_s + (number + 0.9) * word_s,
            probability=sure,
        )
        for number, word in enumerate(text.split())
    ]


def segment(words: list[Word], *, log_prob: float = -0.2, no_speech: float = 0.0) -> Segment:
    return Segment(words=tuple(words), log_prob=log_prob, no_speech=no_speech)


def test_sentences_have_the_times_and_the_mean_probability_of_their_words() -> None:
    words = said("The sun rises. Dr. Bo sleeps.")
    words[0] = Word(text=" The", start_s=0.0, end_s=0.4, probability=0.3)
    first, second = transcript([segment(words)]).sentences
    assert (first.text, second.text) == ("The sun rises.", "Dr. Bo sleeps.")
    assert (first.start_s, first.end_s) == (0.0, pytest.approx(1.45))
    assert (second.start_s, second.end_s) == (1.5, pytest.approx(2.95))
    assert first.confidence == pytest.approx((0.3 + 0.9 + 0.9) / 3)


def test_a_sentence_that_was_recognised_in_two_parts_is_one() -> None:
    parts = [segment(said("The sun")), segment(said("rises now.", start_s=1.2))]
    assert [s.text for s in transcript(parts).sentences] == ["The sun rises now."]


def test_a_long_pause_ends_a_sentence() -> None:
    parts = [segment(said("The sun")), segment(said("rises now.", start_s=5))]
    assert [s.text for s in transcript(parts).sentences] == ["The sun", "rises now."]


def test_languages_without_spaces_are_cut_at_their_full_stops() -> None:
    pieces = ["今天", "天气", "很好。", "我们", "去", "公园。"]
    words = [
        Word(text=piece, start_s=n, end_s=n + 0.9, probability=1) for n, piece in enumerate(pieces)
    ]
    found = transcript([segment(words)]).sentences
    assert [(s.text, s.start_s) for s in found] == [("今天天气很好。", 0), ("我们去公园。", 3)]


def test_no_word_is_lost_whatever_the_punctuation() -> None:
    noise = np.random.default_rng(0)
    marks = ["", "", "", ".", "?", "!", ",", "...", '."']
    words = said(" ".join(f"w{n}{noise.choice(marks)}" for n in range(400)), word_s=0.8)
    found = transcript([segment(words[:150]), segment(words[150:])])
    assert same_words(" ".join(s.text for s in found.sentences)) == same_words(
        "".join(w.text for w in words)
    )
    assert (found.num_repeated, found.num_invented) == (0, 0)


def test_speech_without_full_stops_is_cut_at_its_longest_pauses() -> None:
    words = said(" ".join(f"w{n}" for n in range(200)))
    late = [
        Word(text=w.text, start_s=w.start_s + 1, end_s=w.end_s + 1, probability=1)
        for w in words[90:]
    ]
    found = transcript([segment(words[:90] + late)]).sentences
    assert all(s.end_s - s.start_s <= MAX_SENTENCE_S for s in found)
    assert all(len(s.text.split()) <= MAX_SENTENCE_WORDS for s in found)
    assert any(s.text.startswith("w90 ") for s in found)


def test_a_phrase_said_over_and_over_is_told_once_and_counted() -> None:
    words = said("we begin " + "I am going to say, " * 9 + "the end.")
    assert "".join(w.text for w in without_loops(words)) == " we begin I am going to say, the end."
    assert transcript([segment(words)]).num_repeated == 8 * 5
    thrice = said("no no no it is. no no no it is.")
    assert without_loops(thrice) == thrice
    assert without_loops([]) == []


def test_words_that_the_model_takes_for_silence_are_cut_and_counted() -> None:
    good = segment(said("This is real."), no_speech=0.9, log_prob=-0.5)
    bad = segment(said("Not this.", start_s=9), no_speech=0.7, log_prob=-1.2)
    found = transcript([good, bad])
    assert [s.text for s in found.sentences] == ["This is real."]
    assert found.num_invented == 2


def test_a_closing_phrase_counts_only_within_speech() -> None:
    alone = transcript([segment(said("Thanks for watching!"))])
    assert (alone.sentences, alone.num_invented) == ((), 3)
    within = transcript([segment(said("That was it. Thanks for watching!"))])
    assert [s.text for s in within.sentences] == ["That was it.", "Thanks for watching!"]
    assert all(same_words(phrase) == phrase for phrase in CLOSING_PHRASES)


def test_unsure_sentences_are_kept_with_their_confidence() -> None:
    (found,) = transcript([segment(said("Mumbled words.", sure=0.1))]).sentences
    assert found.confidence == pytest.approx(0.1)
