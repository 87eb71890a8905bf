"""Speech recognition of a whole sound track, in stretches that are cut where nobody speaks.

A stretch is recognised at once, in batches, without context from stretches before: equal sound
gives equal sentences, and a build that was stopped goes on behind its last stretch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.audio import (
    JITTER_S,
    SAMPLE_RATE,
    Block,
    Samples,
    TrackSound,
    audio_tracks,
    mix,
)
from fdvs.models.describe.languages import language_code
from fdvs.models.describe.speech_choice import choose_sound
from fdvs.models.describe.speech_language import MIN_VOICE, Language, find_language
from fdvs.models.describe.speech_report import ENGLISH, Report
from fdvs.models.describe.speech_text import Spoken, transcript
from fdvs.models.describe.speech_whisper import VOICE_WINDOW, Recogniser, Whisper
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import checked_folder, needs
from fdvs.progress import counted_from
from fdvs.protocols import Heard
from fdvs.typed import check_range
from fdvs.types import ModelIdentity, Observation, Timeline

# A stretch: 38 MB of samples.
STRETCH_S = 600.0
# It is cut in the longest pause of its end.
SEARCH_S = 60.0
MAX_PAUSE_VOICE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """`language`: a tag such as `de` or `pt-BR`, "" to find it out.

    Sentences whose words have a lower mean probability than `min_probability` are kept and counted
    in a note.
    """

    language: str = ""
    beam_size: int = 5
    min_probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("beam_size", self.beam_size, 1, 20)
        check_range("min_probability", self.min_probability, 0, 1)
        if self.language and not re.fullmatch("[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", self.language):
            raise InvalidValue("language", self.language, "a tag such as en or pt-BR, or ''")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Samples [num_samples] that begin at `start_s`; `is_last` ends the track."""

    start_s: float
    samples: Samples
    is_last: bool = False

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples) / SAMPLE_RATE


class SpeechSource:
    """A TrackSource: one observation for each sentence that is said."""

    source = "speech"
    version = 2

    def __init__(self, model: Recogniser, identity: ModelIdentity, options: SpeechOptions) -> None:
        self.identity = identity
        self._model, self._options = model, options
        self._language_code = options.language.split("-")[0].lower()

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SpeechSource:
        """Load a CTranslate2 model from the card's folder.

        Raises ModelUnavailable where the package or the folder's files are missing.
        """
        options = options_from(card, SpeechOptions)
        needs("faster_whisper", "speech")
        model = Whisper.load(checked_folder(card), settings, name=card.name)
        return cls(model, identity_of(card), options)

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        """Yield the sentences of each stretch of about ten minutes.

        Times are in seconds from the first picture. The first stretch begins with the sound, which
        may be before 0. Raises BadModelOutput where
        the sound cannot be read and ModelError where the model fails.
        """
        choice = choose_sound(
            video_path,
            audio_tracks(video_path),
            timeline,
            self._model,
            language=language_code(self._options.language),
        )
        if choice is None:
            yield _nothing(start_s, timeline)
            return
        sound = TrackSound(video_path, choice.track, origin_s=timeline.origin_s)
        blocks = sound.blocks(start_s=start_s if start_s > 0 else float("-inf"))
        mono = (
            replace(block, samples=mix(block.samples, choice.channel)[None]) for block in blocks
        )
        report = Report(start_s=max(0.0, start_s), min_probability=self._options.min_probability)
        if start_s <= 0:
            report.add(*choice.notes)
        found: Heard | None = None
        for stretch in stretches(mono, self._model):
            found = self._heard(stretch, report)
            if not stretch.is_last:
                yield found
        if found is None:
            yield _nothing(start_s, timeline)
            return
        if sound.error:
            report.add(f"its sound ends early: {sound.error}")
        end_s = max(found.end_s, timeline.duration_s)
        yield replace(found, end_s=end_s, notes=(*found.notes, *report.last_notes()))

    def _heard(self, stretch: Stretch, report: Report) -> Heard:
        voice = self._model.voice(stretch.samples)
        language: Language | None = None
        sentences: tuple[Observation, ...] = ()
        if (voice >= MIN_VOICE).any():
            language = self._language(stretch.samples, voice, report)
            found = self._recognised(stretch, language, report)
            sentences = tuple(self._observation(one, stretch.start_s) for one in found)
        return Heard(
            start_s=stretch.start_s,
            end_s=stretch.end_s,
            observations=sentences,
            notes=report.notes(),
            language=language.tag if language and sentences else "",
        )

    def _language(self, samples: Samples, voice: NDArray[np.float32], report: Report) -> Language:
        if not self._model.is_multilingual:
            return Language(code=ENGLISH)
        if self._language_code:
            return Language(code=self._language_code)
        found = find_language(samples, voice, self._model, before=report.language)
        report.spoken(found)
        return found

    def _recognised(
        self, stretch: Stretch, language: Language, report: Report
    ) -> tuple[Spoken, ...]:
        with counted_from(stretch.start_s):
            segments = self._model.recognise(
                stretch.samples, language=language.code, beam_size=self._options.beam_size
            )
        if not self._model.is_multilingual:
            segments = report.known(segments, stretch.start_s)
        found = transcript(segments)
        report.count(found)
        return found.sentences

    def _observation(self, sentence: Spoken, offset_s: float) -> Observation:
        return Observation(
            source=self.source,
            text=sentence.text,
            start_s=sentence.start_s + offset_s,
            end_s=sentence.end_s + offset_s,
            confidence=sentence.confidence,
        )


def stretches(blocks: Iterable[Block], model: Recogniser) -> Iterator[Stretch]:
    """Join blocks of one channel to stretches, cut in pauses and at holes in the sound."""
    waiting: Stretch | None = None
    for found in _cut(blocks, model):
        if waiting:
            yield waiting
        waiting = found
    if waiting:
        yield replace(waiting, is_last=True)


def _cut(blocks: Iterable[Block], model: Recogniser) -> Iterator[Stretch]:
    parts: list[Samples] = []
    start_s, num_samples = 0.0, 0
    for block in blocks:
        if num_samples and block.start_s - start_s - num_samples / SAMPLE_RATE > JITTER_S:
            yield Stretch(start_s=start_s, samples=np.concatenate(parts))
            parts, num_samples = [], 0
        if not num_samples:
            start_s = block.start_s
        parts.append(block.samples[0])
        num_samples += len(parts[-1])
        while num_samples >= STRETCH_S * SAMPLE_RATE:
            whole = np.concatenate(parts)
            cut = pause_before(len(whole), whole, model)
            yield Stretch(start_s=start_s, samples=whole[:cut])
            parts, num_samples = [whole[cut:]], len(whole) - cut
            start_s += cut / SAMPLE_RATE
    if num_samples:
        yield Stretch(start_s=start_s, samples=np.concatenate(parts))


def pause_before(end: int, samples: Samples, model: Recogniser) -> int:
    """Return the middle of the longest pause in the last SEARCH_S before sample `end`.

    Where somebody speaks all the time, the window with the least voice.
    """
    first = max(0, end - round(SEARCH_S * SAMPLE_RATE))
    voice = model.voice(samples[first:end])
    pauses = _runs_of(voice < MAX_PAUSE_VOICE)
    if pauses:
        begin, stop = max(pauses, key=lambda pause: (pause[1] - pause[0], pause[0]))
    else:
        begin = int(np.argmin(voice))
        stop = begin + 1
    return max(1, min(end, first + (begin + stop) * VOICE_WINDOW // 2))


def _runs_of(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return [begin, stop) of each run of True."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(begin), int(stop)) for begin, stop in edges.reshape(-1, 2)]


def _nothing(start_s: float, timeline: Timeline) -> Heard:
    return Heard(start_s=start_s, end_s=max(start_s, timeline.duration_s), observations=())
