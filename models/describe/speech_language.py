"""Which language is spoken in a stretch, by a vote of several windows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.models.describe.audio import SAMPLE_RATE, Samples
from fdvs.models.describe.languages import language_code, language_name
from fdvs.models.describe.speech_whisper import VOICE_WINDOW, Recogniser

MIN_VOICE = 0.5
# Sound around a voice that counts as voiced: 0.25 s on both sides.
MARGIN_WINDOWS = 8
VOTE_S = 30.0
MAX_VOTES = 4
# With less voice or a less likely winner, the language of the stretch before is taken.
MIN_VOTE_S = 5.0
MIN_SURE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A code of ISO 639-1 as the model knows it and its probability, 1 where it was given."""

    code: str
    probability: float = 1.0

    @property
    def is_sure(self) -> bool:
        return self.probability >= MIN_SURE

    @property
    def tag(self) -> str:
        return language_code(self.code) or self.code

    @property
    def name(self) -> str:
        return language_name(self.tag)


def voiced(samples: Samples, voice: NDArray[np.float32]) -> Samples:
    """Return the samples with a voice, joined; `voice` has a probability for each window."""
    near = np.convolve(voice >= MIN_VOICE, np.ones(2 * MARGIN_WINDOWS + 1), mode="same") > 0
    return samples[np.repeat(near, VOICE_WINDOW)[: len(samples)]]


def find_language(
    samples: Samples, voice: NDArray[np.float32], model: Recogniser, *, before: Language | None
) -> Language:
    """Return the language of a stretch by the mean of the probabilities in its windows."""
    spoken = voiced(samples, voice)
    if before and len(spoken) < MIN_VOTE_S * SAMPLE_RATE:
        return before
    length = round(VOTE_S * SAMPLE_RATE)
    starts = np.arange(0, max(1, len(spoken) - length // 2), length)
    chosen = starts[
        np.linspace(0, len(starts) - 1, min(MAX_VOTES, len(starts))).round().astype(int)
    ]
    votes: Counter[str] = Counter()
    for start in chosen:
        votes.update(model.languages(spoken[start : start + length]))  # type: ignore[arg-type]
    code, total = votes.most_common(1)[0]
    found = Language(code=code, probability=total / len(chosen))
    return before if before and not found.is_sure else found
