"""Spaces, strokes and headings by hand-made scores and boxes; a slide by the real engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdvs.models.describe.ocr_lines import (
    Line,
    SpacedText,
    heading_of,
    load_engine,
    may_hold_text,
)
from fdvs.types import Image

CLASSES = ["blank", "a", "b", "/", ".", " "]
PLAIN = np.full((540, 960, 3), 240, np.uint8)


def scores(*steps: tuple[str, float]) -> np.ndarray:
    """Return [1, steps, classes]: the best class of each step, and the probability of a space."""
    rows = np.zeros((len(steps), len(CLASSES)), np.float32)
    for row, (best, space) in zip(rows, steps, strict=True):
        row[-1] = space
        row[CLASSES.index(best)] = 0.9
    return rows[None]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ([("a", 0), ("blank", 0.2), ("b", 0)], "a b"),
        ([("a", 0), ("blank", 0.02), ("b", 0)], "ab"),
        ([("a", 0), ("a", 0.2), ("a", 0)], "a"),
        ([("a", 0), ("blank", 0), ("a", 0)], "aa"),
        ([("a", 0), (" ", 0), ("blank", 0.4), ("b", 0)], "a b"),
        ([("a", 0), ("blank", 0.2), (".", 0), ("blank", 0.2), ("/", 0)], "a./"),
        ([("blank", 0.3), ("b", 0), ("blank", 0.3)], "b"),
        ([("blank", 0)], ""),
    ],
)
def test_a_likely_space_between_letters_is_one(steps: list[tuple[str, float]], text: str) -> None:
    found = SpacedText(CLASSES)(scores(*steps))
    assert found == [(text, pytest.approx(0.9) if text else 0.0)]


def line(text: str, height: float, width_per_letter: float | None = None) -> Line:
    per_letter = height / 2 if width_per_letter is None else width_per_letter
    return Line(text=text, confidence=0.9, top=0, width=per_letter * len(text), height=height)


def below_each_other(lines: list[Line], *, gap: float) -> list[Line]:
    """Return lines with `gap` heights between them."""
    tops = np.cumsum([0, *(one.height * (1 + gap) for one in lines)])
    return [replace(one, top=float(top)) for one, top in zip(lines, tops[:-1], strict=True)]


TITLE, BULLET, SMALL = line("How ice flows", 45), line("under its weight", 30), line("page 7", 18)


@pytest.mark.parametrize(
    ("lines", "heading"),
    [
        ([TITLE, BULLET, BULLET, SMALL], [0]),
        ([SMALL, TITLE, BULLET], [1]),
        ([TITLE, TITLE, BULLET], [0, 1]),
        ([TITLE], [0]),
        ([BULLET], []),
        ([BULLET, BULLET, BULLET], []),
        ([BULLET, TITLE], []),
        ([TITLE, BULLET, TITLE], []),
        ([TITLE, TITLE, TITLE, BULLET], []),
        # a box is higher where letters reach below the line, and its letters are no wider
        ([line("aging", 37, 15), line("snow", 30, 15), line("ice", 30, 15)], []),
        ([], []),
    ],
)
def test_a_heading_is_the_largest_text_and_above_the_rest(
    lines: list[Line], heading: list[int]
) -> None:
    assert list(heading_of(below_each_other(lines, gap=0.3), PLAIN)) == heading


def test_two_large_lines_far_from_each_other_are_no_heading() -> None:
    assert not heading_of(below_each_other([TITLE, TITLE, BULLET], gap=1), PLAIN)


def test_a_picture_without_a_plain_background_has_no_heading() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (540, 960, 3)).astype(np.uint8)
    assert not heading_of([TITLE, BULLET], scene)


def slide(
    *lines: tuple[str, int], ink: int = 20, paper: int = 240, short_side_px: int = 540
) -> Image:
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    width_px = short_side_px * 16 // 9
    canvas = Pillow.new("RGB", (width_px, short_side_px), (paper,) * 3)
    draw, top = ImageDraw.Draw(canvas), 40
    for text, font_px in lines:
        draw.text((40, top), text, fill=(ink,) * 3, font=ImageFont.load_default(font_px))
        top += 2 * font_px
    return np.asarray(canvas)


@pytest.mark.parametrize(("ink", "paper"), [(20, 240), (240, 20), (150, 230)])
@pytest.mark.parametrize("font_px", [14, 24, 60])
def test_written_pictures_may_hold_text(ink: int, paper: int, font_px: int) -> None:
    assert may_hold_text(slide(("Gate 42 opens", font_px), ink=ink, paper=paper))


def test_words_of_slides_are_read_apart() -> None:
    pytest.importorskip("rapidocr_onnxruntime", reason="extra `ocr` is not installed")
    texts = [
        "How glaciers flow",
        "Rivers carry stones down the valley",
        "Sliding on wet rock in summer",
    ]
    picture = slide((texts[0], 48), (texts[1], 26), (texts[2], 26))
    read = load_engine()
    found, _ = read(picture)
    assert [one[1] for one in found or ()] == texts
    assert read(PLAIN) == (None, None)
