"""Speech recognition by faster-whisper: the words whose midpoint lies in the clip.

A clip is transcribed with one second of margin on both sides, so that a word on the cut is
complete; its midpoint decides to which clip it belongs. Each clip is transcribed alone, so its
words do not depend on which clips are batched or came before.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.audio import SAMPLE_RATE, Samples, read_sound
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.loading import choose_device, needs, reason_of
from fdvs.typed import check_range
from fdvs.types import ClipView, ModelIdentity, Observation

MARGIN_S = 1.0
# Longer clips are transcribed in pieces to bound memory: 5 minutes are 20 MB.
MAX_PIECE_S = 300.0
MIN_SOUND_S = 0.1

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechOptions:
    """`language`: "" to detect it. `min_probability`: less likely words are dropped."""

    language: str = ""
    beam_size: int = 5
    min_probability: float = 0.2

    def __post_init__(self) -> None:
        check_range("beam_size", self.beam_size, 1, 20)
        check_range("min_probability", self.min_probability, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A transcribed word with its leading space; seconds from the first picture."""

    text: str
    start_s: float
    end_s: float
    probability: float


class SpeechSource:
    """A Describer: at most one observation per clip, its transcript."""

    source = "speech"
    version = 1
    needs_frames = False
    batch_size = 1

    def __init__(self, model: Any, identity: ModelIdentity, options: SpeechOptions) -> None:
        self.identity = identity
        self._model, self._options = model, options

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SpeechSource:
        """Load a CTranslate2 model from the card's folder.

        Raises ModelUnavailable where the package or the folder's files are missing.
        """
        options = options_from(card, SpeechOptions)
        whisper = needs("faster_whisper", "speech")
        folder = whisper_folder(model_folder(card))
        device, compute_type = _place(settings, card.name)
        kind, _, number = device.partition(":")
        model = whisper.WhisperModel(
            str(folder),
            device=kind,
            device_index=int(number or 0),
            compute_type=compute_type,
            local_files_only=True,
        )
        return cls(model, identity_of(card), options)

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return each clip's transcript; [] without sound or words.

        Raises BadModelOutput where the file's sound cannot be read, ModelError where the model
        fails.
        """
        return [self._transcribe(view) for view in clips]

    def _transcribe(self, view: ClipView) -> list[Observation]:
        clip = view.clip
        words: list[Word] = []
        for start_s, end_s in pieces(clip.start_s, clip.end_s):
            margin_start_s = max(0.0, start_s - MARGIN_S)
            samples = read_sound(view.video_path, start_s=margin_start_s, end_s=end_s + MARGIN_S)
            if samples is None:
                return []
            if len(samples) >= MIN_SOUND_S * SAMPLE_RATE:
                words += words_in(
                    self._words(samples, margin_start_s), start_s=start_s, end_s=end_s
                )
        text = "".join(word.text for word in words).strip()
        if not text:
            return []
        return [
            Observation(
                source=self.source,
                text=text,
                start_s=max(clip.start_s, words[0].start_s),
                end_s=min(clip.end_s, words[-1].end_s),
                confidence=sum(word.probability for word in words) / len(words),
            )
        ]

    def _words(self, samples: Samples, offset_s: float) -> list[Word]:
        try:
            segments, _ = self._model.transcribe(
                samples,
                language=self._options.language or None,
                beam_size=self._options.beam_size,
                word_timestamps=True,
                # Whisper hallucinates words in silence and music: transcribe only voice activity.
                vad_filter=True,
                # One temperature and no context, so that equal sound gives equal words.
                temperature=0.0,
                condition_on_previous_text=False,
            )
            found = [word for segment in segments for word in segment.words or ()]
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{self.identity.label()} failed on a clip's sound ({reason_of(error)})"
            ) from error
        return [
            Word(
                text=str(word.word),
                start_s=float(word.start) + offset_s,  # from numpy numbers
                end_s=float(word.end) + offset_s,
                probability=float(word.probability),
            )
            for word in found
            if word.probability >= self._options.min_probability
        ]


def pieces(start_s: float, end_s: float) -> list[tuple[float, float]]:
    """Cut [start_s, end_s) into equal pieces of at most MAX_PIECE_S."""
    count = max(1, -int(-(end_s - start_s) // MAX_PIECE_S))
    step_s = (end_s - start_s) / count
    bounds = [*(start_s + number * step_s for number in range(count)), end_s]
    return list(pairwise(bounds))


def words_in(words: Iterable[Word], *, start_s: float, end_s: float) -> list[Word]:
    """Return the words whose midpoint is in [start_s, end_s), in time order."""
    inside = [w for w in words if start_s <= (w.start_s + w.end_s) / 2 < end_s]
    return sorted(inside, key=lambda word: word.start_s)


def whisper_folder(folder: Path) -> Path:
    """Return the folder below `folder` that holds a complete CTranslate2 model.

    The tokenizer must be there too: without it faster-whisper would download one.
    """
    for weights in sorted(folder.rglob("model.bin")):
        if (weights.parent / "tokenizer.json").is_file():
            return weights.parent
    raise ModelUnavailable(
        f"{folder} holds no Whisper model for CTranslate2 (model.bin beside tokenizer.json); "
        "run `fdvs models fetch speech-tiny-en`"
    )


def _place(settings: LoadSettings, name: str) -> tuple[str, str]:
    """Return (device, compute type) for CTranslate2, which supports CPU and CUDA only."""
    device, reason = choose_device(settings.device)
    if not device.startswith(("cpu", "cuda")):
        device, reason = "cpu", f"CTranslate2 does not support {device}"
    compute_type = "float16" if device.startswith("cuda") else "int8"
    logger.info("speech %s: %s (%s), %s", name, device, reason, compute_type)
    return device, compute_type
