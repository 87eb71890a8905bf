"""Speech recognition of a whole sound track, in stretches that are cut where nobody speaks.

A stretch is recognised at once, in batches, without context from stretches before: equal sound
gives equal sentences, and a build that was stopped goes on behind its last stretch.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

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
    bare_timeline,
    mix,
)
from fdvs.models.describe.languages import language_code
from fdvs.models.describe.speech_text import Segment, Spoken, Transcript, transcript
from fdvs.models.describe.speech_whisper import VOICE_WINDOW, Whisper
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.loading import needs
from fdvs.protocols import Heard
from fdvs.typed import check_range
from fdvs.types import ClipView, ModelIdentity, Observation, Timeline

# A stretch: 38 MB of samples.
STRETCH_S = 600.0
# It is cut in the longest pause of its end.
SEARCH_S = 60.0
MAX_PAUSE_VOICE = 0.3
MIN_SOUND_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """`language`: a code of ISO 639-1, "" to find it out. Sentences below `min_probability` (mean
    probability of a word) are kept and counted in a note."""

    language: str = ""
    beam_size: int = 5
    min_probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("beam_size", self.beam_size, 1, 20)
        check_range("min_probability", self.min_probability, 0, 1)
        if self.language and not language_code(self.language):
            raise InvalidValue("language", self.language, "a language such as en or de, or ''")


class Recogniser(Protocol):
    """What this module asks of a model; see `Whisper`."""

    is_multilingual: bool

    def voice(self, samples: Samples) -> NDArray[np.float32]: ...

    def languages(self, samples: Samples) -> dict[str, float]: ...

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]: ...


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
    needs_frames = False
    batch_size = 1

    def __init__(self, model: Recogniser, identity: ModelIdentity, options: SpeechOptions) -> None:
        self.identity = identity
        self._model, self._options = model, options
        self._last: tuple[object, tuple[Observation, ...]] = (None, ())

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SpeechSource:
        """Load a CTranslate2 model from the card's folder.

        Raises ModelUnavailable where the package or the folder's files are missing.
        """
        options = options_from(card, SpeechOptions)
        needs("faster_whisper", "speech")
        model = Whisper.load(model_folder(card), settings, name=card.name)
        return cls(model, identity_of(card), options)

    # Remove with `_observations` once builds call `read_track`.
    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return the sentences with their midpoint in each clip. Raises as `read_track`."""
        return [
            [
                found
                for found in self._observations(view.video_path)
                if view.clip.start_s <= (found.start_s + found.end_s) / 2 < view.clip.end_s
            ]
            for view in clips
        ]

    def _observations(self, video_path: Path) -> tuple[Observation, ...]:
        if self._last[0] != video_path:
            heard = list(self.read_track(video_path, bare_timeline(video_path)))
            for note in (note for part in heard for note in part.notes):
                logger.warning("%s: %s", video_path.name, note)
            self._last = video_path, tuple(found for part in heard for found in part.observations)
        return self._last[1]

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        """Yield the sentences of each stretch of about ten minutes.

        Times are in seconds from the first picture. The first stretch begins with the sound, which
        may be before 0. Raises BadModelOutput where
        the sound cannot be read and ModelError where the model fails.
        """
        tracks = [track for track in audio_tracks(video_path) if track.has_decoder]
        if not tracks:
            yield _nothing(start_s, timeline)
            return
        sound = TrackSound(video_path, tracks[0], origin_s=timeline.origin_s)
        blocks = sound.blocks(start_s=start_s if start_s > 0 else float("-inf"))
        mono = (replace(block, samples=mix(block.samples, "all")[None]) for block in blocks)
        is_empty = True
        for stretch in stretches(mono, self._model):
            is_empty = False
            yield self._heard(stretch, timeline)
        if is_empty:
            yield _nothing(start_s, timeline)

    def _heard(self, stretch: Stretch, timeline: Timeline) -> Heard:
        language = self._options.language or "en"
        found = Transcript(sentences=())
        if len(stretch.samples) >= MIN_SOUND_S * SAMPLE_RATE:
            found = transcript(
                self._model.recognise(
                    stretch.samples, language=language, beam_size=self._options.beam_size
                )
            )
        end_s = max(stretch.end_s, timeline.duration_s) if stretch.is_last else stretch.end_s
        return Heard(
            start_s=stretch.start_s,
            end_s=end_s,
            observations=tuple(self._observation(s, stretch.start_s) for s in found.sentences),
            language=language,
        )

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
