"""Speech over a whole track: stretches, times, resuming, and real speech where a model is."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import BadModelOutput, InvalidValue, ModelError, ModelUnavailable
from fdvs.media.readers import probe
from fdvs.models.cards import Card, LoadSettings, load_card
from fdvs.models.describe.audio import SAMPLE_RATE, Block, Samples
from fdvs.models.describe.speech import (
    SEARCH_S,
    STRETCH_S,
    SpeechOptions,
    SpeechSource,
    pause_before,
    stretches,
)
from fdvs.models.describe.speech_text import Segment, Word
from fdvs.models.describe.speech_whisper import VOICE_WINDOW, Whisper, place, whisper_folder
from fdvs.models.describe.subtitles import SubtitleSource
from fdvs.models.weights.fetch import model_folder
from fdvs.protocols import Heard, TrackSource
from fdvs.text.vocabulary import same_words
from fdvs.types import ModelIdentity, Timeline

IDENTITY = ModelIdentity(role="source", backend="faster-whisper", name="scripted")
Make = Callable[..., Any]


@dataclass
class Scripted:
    """Says "Tone at N." for each sound louder than 0.1, where it is; the voice is its loudness."""

    is_multilingual: bool = False
    sure: float = 0.9
    heard: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def voice(self, samples: Samples) -> Any:
        padded = np.pad(samples, (0, -len(samples) % VOICE_WINDOW))
        return (np.abs(padded.reshape(-1, VOICE_WINDOW)).max(axis=1) > 0.1).astype(np.float32)

    def languages(self, samples: Samples) -> dict[str, float]:
        return {"de": 0.9, "en": 0.1}

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]:
        self.heard.append(len(samples))
        self.asked.append(language)
        voice = np.flatnonzero(np.diff(self.voice(samples), prepend=0, append=0))
        return [self._said(*span) for span in voice.reshape(-1, 2) * VOICE_WINDOW / SAMPLE_RATE]

    def _said(self, start_s: float, end_s: float) -> Segment:
        middle = (start_s + end_s) / 2
        words = (
            Word(text=" A", start_s=start_s, end_s=middle, probability=self.sure),
            Word(text=" tone.", start_s=middle, end_s=end_s, probability=self.sure),
        )
        return Segment(words=words, log_prob=-0.1, no_speech=0.0)


def source(model: Any, **options: Any) -> SpeechSource:
    return SpeechSource(model, IDENTITY, SpeechOptions(**options))


def clock(duration_s: float = 6.0, origin_s: float = 0.0) -> Timeline:
    return Timeline(
        origin_s=origin_s,
        pictures_end_s=duration_s,
        sound_start_s=0.0,
        sound_end_s=duration_s,
        duration_s=duration_s,
    )


def test_a_sentence_lies_where_it_is_said(tmp_path: Path, film: Make) -> None:
    (heard,) = source(Scripted()).read_track(film(tmp_path / "film.mkv"), clock())
    (found,) = heard.observations
    assert (found.source, found.text, found.confidence) == ("speech", "A tone.", 0.9)
    assert found.start_s == pytest.approx(2, abs=0.1)
    assert found.end_s == pytest.approx(3, abs=0.1)
    assert heard.start_s == pytest.approx(0, abs=0.05)
    assert heard.end_s == pytest.approx(6, abs=0.05)


def test_it_is_a_track_source() -> None:
    assert isinstance(source(Scripted()), TrackSource)


def test_the_origin_of_the_timeline_is_the_zero_of_all_times(tmp_path: Path, film: Make) -> None:
    (heard,) = source(Scripted()).read_track(film(tmp_path / "film.mkv"), clock(origin_s=2.5))
    assert heard.start_s == pytest.approx(-2.5, abs=0.05)
    assert heard.observations[0].start_s == pytest.approx(-0.5, abs=0.1)


def test_a_file_without_sound_never_reaches_the_model(tmp_path: Path, ffmpeg: Make) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=5:d=1", str(tmp_path / "mute.mp4"))
    model = Scripted()
    (heard,) = source(model).read_track(tmp_path / "mute.mp4", clock(1.0))
    assert (heard.start_s, heard.end_s, heard.observations) == (0.0, 1.0, ())
    assert model.heard == []


def test_behind_the_end_of_the_sound_there_is_nothing(tmp_path: Path, film: Make) -> None:
    (heard,) = source(Scripted()).read_track(film(tmp_path / "film.mkv"), clock(9), start_s=8.0)
    assert (heard.start_s, heard.end_s, heard.observations) == (8.0, 9.0, ())


def test_reading_goes_on_where_it_stopped(tmp_path: Path, film: Make) -> None:
    model = Scripted()
    (heard,) = source(model).read_track(film(tmp_path / "film.mkv"), clock(), start_s=2.5)
    assert heard.start_s == pytest.approx(2.5, abs=0.001)
    assert heard.observations[0].start_s == pytest.approx(2.5, abs=0.05)
    assert model.heard == [pytest.approx(3.5 * SAMPLE_RATE, abs=800)]


def test_an_unreadable_file_is_bad_output(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("hello")
    with pytest.raises(BadModelOutput, match=r"film\.mp4 cannot be read"):
        list(source(Scripted()).read_track(tmp_path / "film.mp4", clock()))


def long_blocks(minutes: int, *, start_s: float = 0.0) -> list[Block]:
    """A tone of 2 s in each 3 s, at 100 Hz of amplitude 0.5, in blocks of a second."""
    times = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (0.5 * np.sin(200 * np.pi * times)).astype(np.float32)[None]
    return [
        Block(start_s=start_s + second, samples=tone * float(second % 3 < 2))
        for second in range(minutes * 60)
    ]


def test_stretches_are_cut_in_pauses_and_lose_nothing() -> None:
    blocks = long_blocks(21)
    found = list(stretches(blocks, Scripted()))
    assert [part.is_last for part in found] == [False, False, True]
    assert all(a.end_s == pytest.approx(b.start_s, abs=1e-4) for a, b in pairwise(found))
    assert sum(len(part.samples) for part in found) == 21 * 60 * SAMPLE_RATE
    for part in found[:-1]:
        assert STRETCH_S - SEARCH_S <= part.end_s - part.start_s <= STRETCH_S
        assert part.end_s % 3 == pytest.approx(2.5, abs=0.1)


def test_a_stretch_that_begins_behind_the_last_one_is_cut_alike() -> None:
    model = Scripted()
    first, second, last = stretches(long_blocks(21), model)
    behind = [
        Block(start_s=first.end_s, samples=first_of.samples[:, offset:])
        for first_of, offset in [
            (block, round((first.end_s - block.start_s) * SAMPLE_RATE))
            for block in long_blocks(21)
            if block.start_s <= first.end_s < block.end_s
        ]
    ]
    behind += [block for block in long_blocks(21) if block.start_s > first.end_s]
    again = list(stretches(behind, model))
    assert [(s.start_s, len(s.samples)) for s in again] == [
        (pytest.approx(s.start_s), pytest.approx(len(s.samples), abs=1)) for s in (second, last)
    ]


def test_a_hole_in_the_sound_begins_a_stretch() -> None:
    blocks = long_blocks(1) + long_blocks(1, start_s=10_000.0)
    assert [(s.start_s, s.end_s) for s in stretches(blocks, Scripted())] == [
        *((0.0, 60.0), (10_000.0, 10_060.0))
    ]


def test_without_a_pause_the_window_with_the_least_voice_is_taken() -> None:
    class Chatter(Scripted):
        def voice(self, samples: Samples) -> Any:
            found = np.full(-(-len(samples) // VOICE_WINDOW), 0.9, np.float32)
            found[100] = 0.5
            return found

    samples = np.ones(round(STRETCH_S * SAMPLE_RATE), np.float32)
    cut = pause_before(len(samples), samples, Chatter())
    assert cut == pytest.approx(len(samples) - SEARCH_S * SAMPLE_RATE + 100.5 * VOICE_WINDOW, abs=1)


def notes(model: Any, path: Path, **options: Any) -> tuple[str, ...]:
    heard = list(source(model, **options).read_track(path, timeline_of(path)))
    return tuple(note for part in heard for note in part.notes)


def test_the_language_is_found_used_and_noted(tmp_path: Path, film: Make) -> None:
    path, model = film(tmp_path / "film.mkv"), Scripted(is_multilingual=True)
    (heard,) = source(model).read_track(path, clock())
    assert (heard.language, model.asked) == ("de", ["de"])
    assert heard.notes == ("its speech is German (90% sure)",)
    model.sure = 0.3
    assert notes(model, path, language="pt-BR") == (
        "1 of 1 spoken sentence is uncertain (words below 50% on average)",
    )
    assert model.asked[-1] == "pt"
    english = Scripted()
    assert notes(english, path, language="pt") == ()
    assert english.asked == ["en"]


def test_sound_without_a_voice_is_not_recognised_and_noted(tmp_path: Path, film: Make) -> None:
    model = Scripted()
    path = film(tmp_path / "quiet.mkv", "-af", "volume=0.01")
    assert notes(model, path) == ("no speech was found in its sound",)
    assert model.heard == []


def test_what_a_model_of_english_invents_for_other_languages_is_left_out(
    tmp_path: Path, film: Make
) -> None:
    class Looping(Scripted):
        def _said(self, start_s: float, end_s: float) -> Segment:
            return replace(super()._said(start_s, end_s), compression=5.6)

    path = film(tmp_path / "film.mkv")
    (heard,) = source(Looping()).read_track(path, clock())
    assert (heard.observations, heard.language) == ((), "")
    (note,) = heard.notes
    assert "does not sound like English was left out (from 0:0" in note
    assert "fetch speech-base" in note


def test_a_failing_model_is_a_model_error() -> None:
    class Broken:
        model = Scripted(is_multilingual=True)

        def detect_language(self, **_: Any) -> Any:
            raise RuntimeError("out of\nmemory")

    with pytest.raises(ModelError, match="out of memory"):
        Whisper(Broken(), label="x").languages(np.zeros(16, np.float32))


def test_a_folder_must_hold_weights_and_tokenizer(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "model.bin").touch()
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        whisper_folder(tmp_path)
    (inner / "tokenizer.json").touch()
    assert whisper_folder(tmp_path) == inner


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    card = Card(name="speech", role="source", backend="faster-whisper")
    with pytest.raises(ModelUnavailable, match="install --with speech"):
        SpeechSource.load(card, LoadSettings())


@pytest.mark.parametrize(
    ("name", "value"), [("beam_size", 0), ("language", "klingon"), ("min_probability", 2)]
)
def test_options_are_checked(name: str, value: Any) -> None:
    with pytest.raises(InvalidValue, match=name):
        SpeechOptions(**{name: value})


@pytest.mark.parametrize(
    ("device", "num_gpus", "wanted"),
    [
        ("cpu", 1, ("cpu", "int8")),
        ("cuda:1", 2, ("cuda:1", "float16")),
        ("mps", 0, ("cpu", "int8")),
        ("auto", 0, ("cpu", "int8")),
        ("auto", 1, ("cuda", "float16")),
        ("torch", 1, ("cuda", "float16")),
    ],
)
def test_number_type_follows_the_device_and_unknown_devices_become_the_cpu(
    device: str, num_gpus: int, wanted: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: num_gpus)
    assert place(LoadSettings(device=device), "x") == wanted


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    monkeypatch.setattr(ctranslate2, "get_cuda_device_count", lambda: 0)
    with pytest.raises(InvalidValue, match="finds no GPU"):
        place(LoadSettings(device="cuda"), "x")


@pytest.fixture(scope="module")
def whisper() -> SpeechSource:
    card = load_card("speech-tiny-en")
    try:
        model_folder(card)
        return SpeechSource.load(card, LoadSettings(device="cpu"))
    except ModelUnavailable as error:
        if os.environ.get("FDVS_REQUIRE_MODELS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def timeline_of(path: Path) -> Timeline:
    timeline = probe(path).timeline
    assert timeline is not None
    return timeline


def read(source: SpeechSource, path: Path, **more: float) -> list[Heard]:
    return list(source.read_track(path, timeline_of(path), **more))


def test_real_speech_says_what_the_films_own_subtitles_say(
    whisper: SpeechSource, media_dir: Path
) -> None:
    """The film carries its narration as a text stream: truth from somebody else."""
    path = media_dir / "robust" / "nasa_13013.mp4"
    subtitles = SubtitleSource.load(load_card("subtitles"), LoadSettings())
    (written,) = subtitles.read_track(path, timeline_of(path))
    (said,) = read(whisper, path)
    want = same_words(" ".join(o.text for o in written.observations if o.end_s <= 13)).split()
    heard = same_words(" ".join(o.text for o in said.observations)).split()
    assert len(want) > 20
    assert len([word for word in want if word in heard]) / len(want) > 0.8
    assert {"telescope", "goddard", "maryland"} <= set(heard)
    assert all(type(o.start_s) is float for o in said.observations)
    assert all(a.end_s <= b.start_s + 0.5 for a, b in pairwise(said.observations))


def test_real_tones_and_silence_are_no_speech(
    whisper: SpeechSource, tmp_path: Path, film: Make
) -> None:
    (heard,) = read(whisper, film(tmp_path / "film.mkv"))
    assert heard.observations == ()
