"""Lines of text in one picture: the OCR engine, what spares it work, and which line is a heading.

The engine (rapidocr: PP-OCRv4, Du et al. 2020, arXiv:2009.09941) takes some 500 ms of CPU for a
picture of 960 x 540. Most pictures of a film show no text, so two cheaper tests come first: strokes
(a few ms) and the engine's own detector at half the size (some 40 ms).

Legend: H, W rows and columns of a picture; R, C rows and columns of its grid of cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.models.weights.loading import needs
from fdvs.types import Image

#: Takes a BGR picture; returns (box, text, confidence) of each line from the top down, or None
#: where there is none, and times, which are not used. A box has four corners, from the upper left.
Engine = Callable[[Image], tuple[Sequence[Any] | None, Any]]

STROKE_STEP = 20  # grey levels between neighbouring pixels at the edge of a stroke
STROKES_PER_CELL = 3  # a cell of 8 x 16 pixels, of which every other row is read
MIN_STROKE_RUNS = 3  # of three neighbouring cells; "Gate 42" at a height of 15 px has 7

# A space that the recogniser does not choose between two words has a probability of 0.1 to 0.5;
# within a word it is below 0.03.
MIN_SPACE_PROBABILITY = 0.05
CLOSING = frozenset(",.;:!?)]}%/'’\"”")

MIN_HALVED_PX = 480  # short side; smaller pictures lose their small print at half the size

HEADING_RATIO = 1.2  # of a heading's size to the median of the text below it
SAME_SIZE = 0.8  # lines of at least this part of the largest are set in one size
MAX_HEADING_LINES = 2
MAX_GAP = 0.5  # between lines of one heading, in heights
MIN_TITLE_HEIGHT = 0.06  # of the picture's height, for a title that stands alone
MIN_BACKGROUND = 0.4  # of a slide's pixels lie within 16 grey levels


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of text as it was recognised; `top`, `width` and `height` in pixels."""

    text: str
    confidence: float
    top: float
    width: float
    height: float

    @property
    def size(self) -> float:
        """The size of its letters in pixels: the height of a box alone varies with `g` and `p`."""
        return math.sqrt(self.height * self.width / max(1, len(self.text)))


def load_engine() -> Engine:
    """Load the engine: on one thread, which has nothing to spin for, and without enlarging.

    Raises ModelUnavailable without the package.
    """
    engine: Any = needs("rapidocr_onnxruntime", "ocr").RapidOCR(
        intra_op_num_threads=1, inter_op_num_threads=1, use_cls=False, det_limit_type="max"
    )
    engine.text_rec.postprocess_op = SpacedText(engine.text_rec.postprocess_op.character)

    def read(image: Image) -> tuple[Sequence[Any] | None, Any]:
        if min(image.shape[:2]) >= MIN_HALVED_PX:
            boxes, _ = engine.text_det(_halved(image))
            if boxes is None or not len(boxes):
                return None, None
        found: tuple[Sequence[Any] | None, Any] = engine(image)
        return found

    return read


class SpacedText:
    """Decodes the recogniser's output (CTC), and keeps the spaces of Latin text.

    The recogniser was trained on text without spaces for the most part, so between words its best
    choice is often the blank, with the space as a clear second.
    """

    def __init__(self, characters: Sequence[str]) -> None:
        """`characters` are the recogniser's classes: first the blank, last the space."""
        self._characters = characters

    def __call__(self, scores: NDArray[np.float32], *_: Any, **__: Any) -> list[tuple[str, float]]:
        """Return (text, confidence) for each row of probabilities [N, steps, classes]."""
        return [self._decode(row) for row in scores]

    def _decode(self, scores: NDArray[np.float32]) -> tuple[str, float]:
        best = scores.argmax(axis=1)
        is_new = np.concatenate([[True], best[1:] != best[:-1]]) & (best != 0)
        steps = np.flatnonzero(is_new)
        if not len(steps):
            return "", 0.0
        text = ""
        for last, step in zip([steps[0], *steps[:-1]], steps, strict=True):
            character = self._characters[best[step]]
            between = float(scores[last : step + 1, -1].max())
            if between >= MIN_SPACE_PROBABILITY and text and _may_part(text[-1], character):
                text += " "
            text += character
        return text, float(scores[steps, best[steps]].mean())


def _may_part(before: str, after: str) -> bool:
    return before != " " and after != " " and after not in CLOSING


def may_hold_text(image: Image) -> bool:
    """Whether a picture [H, W, 3] has strokes as letters have them: steps up and down, close to
    each other, in several neighbouring cells. Slides have dozens of those; most scenes none."""
    grey_HW = _grey(image[::2])
    rows, columns = grey_HW.shape[0] // 4, grey_HW.shape[1] // 16
    if not rows or columns < 3:
        return False
    steps_HW = np.diff(grey_HW, axis=1, append=grey_HW[:, -1:])[: rows * 4, : columns * 16]
    cells = steps_HW.reshape(rows, 4, columns, 16)
    up_RC = (cells > STROKE_STEP).sum(axis=(1, 3))
    down_RC = (cells < -STROKE_STEP).sum(axis=(1, 3))
    dense_RC = np.minimum(up_RC, down_RC) >= STROKES_PER_CELL
    runs = dense_RC[:, :-2] & dense_RC[:, 1:-1] & dense_RC[:, 2:]
    return int(runs.sum()) >= MIN_STROKE_RUNS


def _grey(image: Image) -> NDArray[np.int16]:
    wide = image.astype(np.int16)
    return np.asarray((wide[..., 0] + 2 * wide[..., 1] + wide[..., 2]) >> 2, np.int16)


def _halved(image: Image) -> Image:
    height, width = image.shape[0] // 2, image.shape[1] // 2
    pairs = image[: height * 2, : width * 2].reshape(height, 2, width, 2, 3)
    return np.asarray(pairs.mean(axis=(1, 3), dtype=np.float32), np.uint8)


def heading_of(lines: Sequence[Line], image: Image) -> range:
    """Return which of a picture's `lines`, given from the top down, are its heading; may be empty.

    A heading is the largest text of a slide: one or two lines in one size, above all text that is
    not small, and larger than what follows or alone.
    """
    none = range(0)
    if not lines or not _is_slide(image):
        return none
    largest = max(line.size for line in lines)
    in_size = [n for n, line in enumerate(lines) if line.size >= SAME_SIZE * largest]
    heading = range(in_size[0], in_size[-1] + 1)
    if len(heading) > MAX_HEADING_LINES or not _are_together([lines[n] for n in heading]):
        return none
    if any(line.size > largest / 2 for line in lines[: heading.start]):
        return none
    below = [line.size for line in lines[heading.stop :]]
    if below:
        return heading if largest >= HEADING_RATIO * float(np.median(below)) else none
    tallest = max(lines[n].height for n in heading)
    return heading if tallest >= MIN_TITLE_HEIGHT * len(image) else none


def _are_together(lines: Sequence[Line]) -> bool:
    gaps = (below.top - above.top - above.height for above, below in pairwise(lines))
    return all(gap <= MAX_GAP * lines[0].height for gap in gaps)


def _is_slide(image: Image) -> bool:
    """Whether much of a picture is one plain background."""
    grey_HW = _grey(image[::2])
    share = np.bincount(grey_HW.ravel() >> 3, minlength=32) / grey_HW.size
    return float((share[1:] + share[:-1]).max()) >= MIN_BACKGROUND
