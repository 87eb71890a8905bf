"""OCR: text on screen in the kept frames, by rapidocr (PP-OCR; the package includes its models).

The same text appears on many frames of a clip and is recognised slightly differently each time, so
near-duplicate detections are merged into the most confident one. Text must be about ten pixels
high to be recognised: small print is lost where frames are small (`sample.short_side_px`).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdvs.errors import ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import needs, reason_of
from fdvs.text.clean import clean_text
from fdvs.text.vocabulary import same_words
from fdvs.typed import check_range
from fdvs.types import ClipView, Image, ModelIdentity, Observation

MAX_TEXT_CHARS = 300
NEARLY_EQUAL = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenTextOptions:
    """`min_confidence`: drop less confident detections. `max_texts`: at most this many per clip,
    the most confident first.
    """

    min_confidence: float = 0.7
    max_texts: int = 20

    def __post_init__(self) -> None:
        check_range("min_confidence", self.min_confidence, 0, 1)
        check_range("max_texts", self.max_texts, 1, 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """A text recognised on one frame, or on several once merged: visible in [start_s, end_s)."""

    text: str
    confidence: float
    start_s: float
    end_s: float


class ScreenTextSource:
    """A Describer: one observation for each distinct text of a clip."""

    source = "screen text"
    version = 1
    needs_frames = True
    batch_size = 1

    def __init__(self, engine: Any, identity: ModelIdentity, options: ScreenTextOptions) -> None:
        self.identity = identity
        self._engine, self._options = engine, options

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> ScreenTextSource:
        """Load the engine (on the CPU). Raises ModelUnavailable without the package."""
        del settings
        options = options_from(card, ScreenTextOptions)
        engine = needs("rapidocr_onnxruntime", "ocr").RapidOCR()
        return cls(engine, identity_of(card), options)

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Recognise text on every kept frame. Raises ModelError where the engine fails."""
        return [self._read_clip(view) for view in clips]

    def _read_clip(self, view: ClipView) -> list[Observation]:
        detections: list[Detection] = []
        for at, frame in enumerate(view.frames):
            later = view.frames[at + 1 : at + 2]
            start_s = frame.time_s if at else view.clip.start_s
            end_s = later[0].time_s if later else view.clip.end_s
            detections += [
                Detection(text=text, confidence=score, start_s=start_s, end_s=end_s)
                for text, score in self._read(frame.image)
            ]
        return [
            Observation(
                source=self.source,
                text=one.text,
                start_s=one.start_s,
                end_s=one.end_s,
                confidence=one.confidence,
            )
            for one in merged(detections, max_texts=self._options.max_texts)
        ]

    def _read(self, image: Image) -> list[tuple[str, float]]:
        """Return a picture's texts, top down: confident enough, with a letter or a digit."""
        try:
            lines, _ = self._engine(np.ascontiguousarray(image[:, :, ::-1]))  # it takes BGR
            pairs = [
                (clean_text(str(t), max_chars=MAX_TEXT_CHARS), float(s)) for _, t, s in lines or ()
            ]
        except Exception as error:  # errors of OpenCV and onnxruntime come through
            raise ModelError(
                f"{self.identity.label()} failed on a frame ({reason_of(error)})"
            ) from error
        return [
            (text, score)
            for text, score in pairs
            if score >= self._options.min_confidence and same_words(text)
        ]


def merged(detections: Sequence[Detection], *, max_texts: int) -> list[Detection]:
    """Merge near-duplicates; return distinct texts in the order of their first appearance.

    A merged text takes words and confidence of its most confident detection and spans the times of
    all. Of more than `max_texts` the most confident stay.
    """
    found: list[Detection] = []
    for detection in detections:
        at = next((n for n, one in enumerate(found) if _same(one.text, detection.text)), None)
        if at is None:
            found.append(detection)
        else:
            found[at] = _merge(found[at], detection)
    kept = sorted(found, key=lambda one: -one.confidence)[:max_texts]
    return [one for one in found if one in kept]


def _merge(first: Detection, again: Detection) -> Detection:
    best = again if again.confidence > first.confidence else first
    return replace(
        best,
        start_s=min(first.start_s, again.start_s),
        end_s=max(first.end_s, again.end_s),
    )


def _same(first: str, second: str) -> bool:
    """Whether two detections are one text, ignoring spaces and punctuation, which OCR loses first.

    Texts that differ in a digit are different (a clock, a score), however similar.
    """
    one, two = same_words(first).replace(" ", ""), same_words(second).replace(" ", "")
    if [c for c in one if c.isdigit()] != [c for c in two if c.isdigit()]:
        return False
    return one == two or difflib.SequenceMatcher(None, one, two).ratio() >= NEARLY_EQUAL
