"""OCR: text on screen in the kept frames, by rapidocr (PP-OCR; the package includes its models).

The same text appears on many frames of a clip and is recognised slightly differently each time, so
near-duplicate detections are merged into the most confident one. A slide's title is an observation
of its own kind, "heading". Letters must be about ten pixels high to be recognised.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fdvs.errors import ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.ocr_lines import Engine, Line, heading_of, load_engine, may_hold_text
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import reason_of
from fdvs.text.clean import clean_text
from fdvs.text.vocabulary import same_words
from fdvs.typed import check_range
from fdvs.types import ClipView, Image, ModelIdentity, Observation

MAX_TEXT_CHARS = 300
NEARLY_EQUAL = 0.8
# A bullet is often read as a full stop or a dash, which before a digit belong to the number.
BULLET = re.compile(r"^(?:[·•▪◦‣⁃○●■□►*]\s*|[.\-–]\s*(?=[^\W\d]))")
# Two pictures show the same text if no cell of them differs by more than this many levels: a letter
# that appears in a cell changes it by ten or more.
TINY_CELLS, MAX_SAME_STEP = 40, 5


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
    is_heading: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A text of one picture."""

    text: str
    confidence: float
    is_heading: bool


class ScreenTextSource:
    """A Describer: one observation for each distinct text of a clip."""

    source = "screen text"
    version = 3
    needs_frames = True
    short_side_px = 540
    batch_size = 1

    def __init__(self, engine: Engine, identity: ModelIdentity, options: ScreenTextOptions) -> None:
        self.identity = identity
        self._engine, self._options = engine, options
        self._last: tuple[Image, list[Reading]] | None = None  # the last picture read, tiny

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> ScreenTextSource:
        """Load the engine (on the CPU). Raises ModelUnavailable without the package."""
        del settings
        options = options_from(card, ScreenTextOptions)
        return cls(load_engine(), identity_of(card), options)

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
                Detection(
                    text=one.text,
                    confidence=one.confidence,
                    start_s=start_s,
                    end_s=end_s,
                    is_heading=one.is_heading,
                )
                for one in self._read_if_changed(frame.image)
            ]
        return [
            Observation(
                source="heading" if one.is_heading else self.source,
                text=one.text,
                start_s=one.start_s,
                end_s=one.end_s,
                confidence=one.confidence,
            )
            for one in merged(detections, max_texts=self._options.max_texts)
        ]

    def _read_if_changed(self, image: Image) -> list[Reading]:
        """Return a picture's texts: those of the picture read last where it is nearly the same."""
        tiny = _tiny(image)
        if self._last is None or _differ(self._last[0], tiny):
            self._last = tiny, self._read(image)
        return self._last[1]

    def _read(self, image: Image) -> list[Reading]:
        """Return a picture's texts, top down: confident enough, and long enough to be words."""
        if not may_hold_text(image):
            return []
        try:
            found, _ = self._engine(np.ascontiguousarray(image[:, :, ::-1]))  # it takes BGR
            lines = [line_of(*one) for one in found or ()]
        except Exception as error:  # errors of OpenCV and onnxruntime come through
            raise ModelError(
                f"{self.identity.label()} failed on a frame ({reason_of(error)})"
            ) from error
        sure = self._options.min_confidence
        lines = [line for line in lines if line.confidence >= sure and _is_word(line.text)]
        heading = heading_of(lines, image)
        above, below = lines[: heading.start], lines[heading.stop :]
        return _readings(above) + _joined(lines, heading) + _readings(below)


def line_of(box: Sequence[Sequence[float]], text: str, confidence: float) -> Line:
    """Return a line of the engine with its text cleaned, without the bullet before it."""
    corners = np.asarray(box, np.float32)
    width, height = np.linalg.norm(corners[1] - corners[0]), np.linalg.norm(corners[3] - corners[0])
    whole = clean_text(str(text), max_chars=MAX_TEXT_CHARS)
    plain = BULLET.sub("", whole)
    return Line(
        text=plain,
        confidence=float(confidence),
        top=float(corners[0, 1]),
        width=float(width) * len(plain) / max(1, len(whole)),  # without the bullet's share
        height=float(height),
    )


def _is_word(text: str) -> bool:
    """Whether a reading is no mere one or two letters, which are mostly noise.

    Two characters of a script that writes words with them (Han, kana, Hangul) are enough.
    """
    characters = same_words(text).replace(" ", "").replace("_", "")
    return len(characters) >= (2 if characters and min(characters) >= "\u2e80" else 3)


def _readings(lines: Sequence[Line]) -> list[Reading]:
    return [Reading(text=one.text, confidence=one.confidence, is_heading=False) for one in lines]


def _joined(lines: Sequence[Line], heading: range) -> list[Reading]:
    """Return the heading's lines as one text."""
    chosen = [lines[n] for n in heading]
    if not chosen:
        return []
    text = clean_text(" ".join(one.text for one in chosen), max_chars=MAX_TEXT_CHARS)
    return [Reading(text=text, confidence=min(o.confidence for o in chosen), is_heading=True)]


def _tiny(image: Image) -> Image:
    """Return a picture's mean colours in cells of about a fortieth of its short side."""
    cell = max(1, min(image.shape[:2]) // TINY_CELLS)
    rows, columns = image.shape[0] // cell, image.shape[1] // cell
    cells = image[: rows * cell, : columns * cell].reshape(rows, cell, columns, cell, 3)
    return np.asarray(cells.mean(axis=(1, 3), dtype=np.float32), np.uint8)


def _differ(one: Image, other: Image) -> bool:
    if one.shape != other.shape:
        return True
    steps = np.abs(one.astype(np.int16) - other)
    return bool(steps.max(initial=0) > MAX_SAME_STEP)


def merged(detections: Sequence[Detection], *, max_texts: int) -> list[Detection]:
    """Merge near-duplicates; return distinct texts in the order of their first appearance.

    A merged text takes words and confidence of its most confident detection and spans the times of
    all; it is a heading if it is one on any frame. Of more than `max_texts` the headings and the
    most confident stay.
    """
    found: list[Detection] = []
    for detection in detections:
        at = next((n for n, one in enumerate(found) if _same(one.text, detection.text)), None)
        if at is None:
            found.append(detection)
        else:
            found[at] = _merge(found[at], detection)
    kept = sorted(found, key=lambda one: (not one.is_heading, -one.confidence))[:max_texts]
    return [one for one in found if one in kept]


def _merge(first: Detection, again: Detection) -> Detection:
    best = again if again.confidence > first.confidence else first
    return replace(
        best,
        start_s=min(first.start_s, again.start_s),
        end_s=max(first.end_s, again.end_s),
        is_heading=first.is_heading or again.is_heading,
    )


def _same(first: str, second: str) -> bool:
    """Whether two detections are one text, ignoring spaces and punctuation, which OCR loses first.

    Texts that differ in a digit are different (a clock, a score), however similar.
    """
    one, two = same_words(first).replace(" ", ""), same_words(second).replace(" ", "")
    if [c for c in one if c.isdigit()] != [c for c in two if c.isdigit()]:
        return False
    return one == two or difflib.SequenceMatcher(None, one, two).ratio() >= NEARLY_EQUAL
