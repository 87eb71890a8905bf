"""faster-whisper behind three methods: find a voice, find the language, recognise words."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import LoadSettings
from fdvs.models.describe.audio import Samples
from fdvs.models.describe.speech_text import Segment, Word
from fdvs.models.weights.loading import MODEL_FAULTS, needs, reason_of
from fdvs.progress import read_up_to

# Silero VAD judges windows of this many samples at 16 kHz: 32 ms.
VOICE_WINDOW = 512
BATCH_SIZE = 8

logger = logging.getLogger(__name__)


class Recogniser(Protocol):
    """What speech recognition asks of a model; see `Whisper`."""

    is_multilingual: bool

    def voice(self, samples: Samples) -> NDArray[np.float32]: ...

    def languages(self, samples: Samples) -> dict[str, float]: ...

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]: ...


class Whisper:
    """A CTranslate2 model. `is_multilingual` is False for the `.en` models.

    Errors of the package are raised as ModelError.
    """

    def __init__(self, model: Any, *, label: str) -> None:
        self._model, self._label = model, label
        self._batched: Any = None
        self.is_multilingual = bool(model.model.is_multilingual)

    @classmethod
    def load(cls, folder: Path, settings: LoadSettings, *, name: str) -> Whisper:
        """Load the model of a folder. Raises ModelUnavailable where the package is missing."""
        package = needs("faster_whisper", "speech")
        device, compute_type = place(settings, name)
        kind, _, number = device.partition(":")
        try:
            model = package.WhisperModel(
                str(whisper_folder(folder)),
                device=kind,
                device_index=int(number or 0),
                compute_type=compute_type,
                local_files_only=True,
            )
        except (OSError, *MODEL_FAULTS) as error:
            raise ModelError(
                f"{name}: cannot load {folder} ({reason_of(error)}); run `fdvs models fetch {name}`"
            ) from error
        return cls(model, label=name)

    def voice(self, samples: Samples) -> NDArray[np.float32]:
        """Return the probability of a voice in each window of 32 ms: [ceil(num_samples / 512)]."""
        from faster_whisper.vad import get_vad_model

        if not len(samples):
            return np.zeros(0, np.float32)
        padded = np.pad(samples, (0, -len(samples) % VOICE_WINDOW))
        with self._errors():
            return np.asarray(get_vad_model()(padded), np.float32).ravel()

    def languages(self, samples: Samples) -> dict[str, float]:
        """Return the probability of each language in the first 30 s, by ISO 639-1 code."""
        with self._errors():
            _, _, found = self._model.detect_language(audio=samples)
        return {str(code): float(probability) for code, probability in found}

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]:
        """Return the segments of the voiced parts, with times from the first sample."""
        with self._errors():
            segments, _ = self._pipeline().transcribe(
                samples,
                language=language,
                beam_size=beam_size,
                batch_size=BATCH_SIZE,
                word_timestamps=True,
                # Whisper invents words in silence and music: recognise only voice.
                vad_filter=True,
                # One temperature, so that equal sound gives equal words.
                temperature=0.0,
                condition_on_previous_text=False,
            )
            return list(_told(segments))

    def _pipeline(self) -> Any:
        if self._batched is None:
            import faster_whisper

            self._batched = faster_whisper.BatchedInferencePipeline(self._model)
        return self._batched

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except MODEL_FAULTS as error:
            raise ModelError(f"{self._label} failed on the sound ({reason_of(error)})") from error


def _told(segments: Iterable[Any]) -> Iterator[Segment]:
    """Yield segments as they are recognised, and tell how far that has come."""
    for found in segments:
        read_up_to(float(found.end))
        if found.words:
            yield _segment(found)


def _segment(found: Any) -> Segment:
    return Segment(
        words=tuple(
            Word(
                text=str(word.word),
                start_s=float(word.start),
                end_s=float(word.end),
                probability=float(word.probability),
            )
            for word in found.words
        ),
        log_prob=float(found.avg_logprob),
        no_speech=float(found.no_speech_prob),
        compression=float(found.compression_ratio),
    )


def whisper_folder(folder: Path) -> Path:
    """Return the folder below `folder` that holds a complete CTranslate2 model.

    The tokenizer must be there too: without it faster-whisper would download one.
    """
    for weights in sorted(folder.rglob("model.bin")):
        if (weights.parent / "tokenizer.json").is_file():
            return weights.parent
    raise ModelUnavailable(
        f"{folder} holds no Whisper model for CTranslate2 (model.bin beside tokenizer.json); "
        "run `fdvs models fetch speech-base`"
    )


def place(settings: LoadSettings, name: str) -> tuple[str, str]:
    """Return (device, compute type) for CTranslate2, which supports CPU and CUDA only.

    Raises InvalidValue where a GPU is asked for that CTranslate2 does not find.
    """
    num_gpus = int(needs("ctranslate2", "speech").get_cuda_device_count())
    wanted, reason = settings.device, "asked for"
    if wanted in ("auto", "torch"):
        wanted = "cuda" if num_gpus else "cpu"
        reason = f"CTranslate2 finds {num_gpus} GPUs"
    elif not wanted.startswith(("cpu", "cuda")):
        wanted, reason = "cpu", f"CTranslate2 does not support {settings.device}"
    elif wanted.startswith("cuda") and not num_gpus:
        raise InvalidValue("models.device", wanted, "cpu: CTranslate2 finds no GPU")
    compute_type = "float16" if wanted.startswith("cuda") else "int8"
    logger.info("speech %s: %s (%s), %s", name, wanted, reason, compute_type)
    return wanted, compute_type
