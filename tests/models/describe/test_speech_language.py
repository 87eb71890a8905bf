"""The language of a stretch: votes of several windows, and the stretch before in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from fdvs.models.describe.audio import SAMPLE_RATE, Samples
from fdvs.models.describe.languages import language_name
from fdvs.models.describe.speech_language import MAX_VOTES, Language, find_language, voiced
from fdvs.models.describe.speech_report import Report
from fdvs.models.describe.speech_text import Segment, Spoken, Transcript, Word
from fdvs.models.describe.speech_whisper import VOICE_WINDOW

GERMAN = Language(code="de", probability=0.9)


@dataclass
class Voter:
    """Gives one answer after another; remembers the length of each window."""

    answers: list[dict[str, float]]
    windows: list[int] = field(default_factory=list)
    is_multilingual: bool = True

    def voice(self, samples: Samples) -> Any:
        raise AssertionError

    def languages(self, samples: Samples) -> dict[str, float]:
        self.windows.append(len(samples))
        return self.answers[(len(self.windows) - 1) % len(self.answers)]

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]:
        raise AssertionError


def sound(seconds: float, *, share: float = 1.0) -> tuple[Samples, Any]:
    """Sound whose first `share` is voiced."""
    samples = np.ones(round(seconds * SAMPLE_RATE), np.float32)
    windows = -(-len(samples) // VOICE_WINDOW)
    return samples, (np.arange(windows) < share * windows).astype(np.float32)


def test_windows_vote_with_their_probabilities() -> None:
    model = Voter([{"de": 0.9, "en": 0.1}, {"en": 0.6, "de": 0.4}, {"de": 0.8, "en": 0.2}])
    found = find_language(*sound(90), model, before=None)
    assert (found.code, found.probability) == ("de", pytest.approx(0.7))
    assert model.windows == [30 * SAMPLE_RATE] * 3


def test_a_long_stretch_has_a_few_votes_and_a_short_one_a_single_vote() -> None:
    model = Voter([{"en": 1.0}])
    find_language(*sound(600), model, before=None)
    assert len(model.windows) == MAX_VOTES
    model = Voter([{"en": 1.0}])
    find_language(*sound(4), model, before=None)
    assert model.windows == [4 * SAMPLE_RATE]


def test_only_what_is_voiced_votes() -> None:
    samples, voice = sound(20, share=0.5)
    assert len(voiced(samples, voice)) == pytest.approx(10.25 * SAMPLE_RATE, rel=0.01)
    assert len(voiced(samples, np.zeros_like(voice))) == 0


def test_in_doubt_the_language_of_the_stretch_before_is_taken() -> None:
    unsure = [{"nn": 0.3, "en": 0.2}]
    assert find_language(*sound(60), Voter(unsure), before=GERMAN) == GERMAN
    assert find_language(*sound(3), Voter([{"en": 1.0}]), before=GERMAN) == GERMAN
    found = find_language(*sound(60), Voter(unsure), before=None)
    assert (found.code, found.is_sure) == ("nn", False)
    assert find_language(*sound(60), Voter([{"en": 1.0}]), before=GERMAN).code == "en"


def test_languages_have_names() -> None:
    assert [language_name(code) for code in ("en", "de", "lo", "yue")] == [
        *("English", "German", "lo", "yue")
    ]


def test_a_report_names_languages_that_a_person_would_not_expect() -> None:
    report = Report(start_s=0.0, min_probability=0.5)
    report.spoken(Language(code="en", probability=0.99))
    assert report.notes() == ()
    report.spoken(GERMAN)
    report.spoken(GERMAN)
    assert report.notes() == ("its speech is German (90% sure)",)
    report.spoken(Language(code="ru", probability=0.2))
    (note,) = report.notes()
    assert "uncertain: taken as Russian (20% sure" in note


def segment(length_s: float, *, start_s: float = 0.0, compression: float = 1.5) -> Segment:
    word = Word(text=" w", start_s=start_s, end_s=start_s + length_s, probability=0.9)
    return Segment(words=(word,), log_prob=-0.2, no_speech=0.0, compression=compression)


def test_a_stretch_of_mostly_foreign_speech_is_left_out_whole() -> None:
    report = Report(start_s=0.0, min_probability=0.5)
    english, foreign = segment(10), segment(20, start_s=10, compression=4)
    assert report.known([english, foreign], 0.0) == []
    assert report.known([segment(30), foreign], 60.0)[0].compression == 1.5
    assert report.known([english], 0.0) == [english]
    (note,) = report.last_notes()
    assert "(from 0:00, 1:10)" in note


def test_counts_are_told_once_for_the_track() -> None:
    report = Report(start_s=600.0, min_probability=0.5)
    unsure = Spoken(text="Hm.", start_s=0.0, end_s=1.0, confidence=0.2)
    for _ in range(2):
        report.count(Transcript(sentences=(unsure,), num_repeated=3, num_invented=2))
    assert report.notes() == ()
    assert report.last_notes() == (
        "2 of 2 spoken sentences from 10:00 on are uncertain (words below 50% on average)",
        "6 words that the recogniser repeated from 10:00 on were cut",
        "4 words that it wrote where nobody speaks from 10:00 on were cut",
    )


def test_one_is_told_in_the_singular() -> None:
    report = Report(start_s=0.0, min_probability=0.5)
    sure = Spoken(text="Hm.", start_s=0.0, end_s=1.0, confidence=0.9)
    unsure = Spoken(text="Hm.", start_s=0.0, end_s=1.0, confidence=0.2)
    report.count(Transcript(sentences=(sure, unsure), num_repeated=1, num_invented=1))
    assert report.last_notes() == (
        "1 of 2 spoken sentences is uncertain (words below 50% on average)",
        "1 word that the recogniser repeated was cut",
        "1 word that it wrote where nobody speaks was cut",
    )
