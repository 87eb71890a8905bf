"""Draw the pictures of scenes: a pattern, a shape that moves on it, words in a band.

A scene's pattern, colours, shape and path follow from its name. Repeats show the same scene with
other sensor noise, so no two pictures of moving scenes are the same bytes.
"""

from __future__ import annotations

import colorsys
import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Image

Plane = NDArray[np.float32]

NOISE = 4.0
TITLE_HEIGHT = 0.2
BANNER_TOP, TITLE_TOP = 0.04, 0.76
BAND_RGB, BANNER_RGB = (16, 16, 16), (150, 0, 0)


def _number(scene: str, what: str, below: int) -> int:
    digest = hashlib.sha256(f"{scene}|{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % below


def _grid(width_px: int, height_px: int) -> tuple[Plane, Plane]:
    """Return x [H, W] and y [H, W] in heights, from the top left."""
    y_HW, x_HW = np.mgrid[0:height_px, 0:width_px].astype(np.float32) / height_px
    return x_HW, y_HW


def _stripes(x: Plane, y: Plane) -> Plane:
    return np.asarray(np.sin(40 * x) > 0, dtype=np.float32)


def _rows(x: Plane, y: Plane) -> Plane:
    return np.asarray(np.sin(30 * y) > 0, dtype=np.float32)


def _checks(x: Plane, y: Plane) -> Plane:
    return np.asarray((np.sin(25 * x) * np.sin(25 * y)) > 0, dtype=np.float32)


def _dots(x: Plane, y: Plane) -> Plane:
    return np.asarray(((x * 7 % 1 - 0.5) ** 2 + (y * 7 % 1 - 0.5) ** 2) < 0.08, dtype=np.float32)


def _waves(x: Plane, y: Plane) -> Plane:
    return np.asarray(0.5 + 0.5 * np.sin(30 * (y + 0.06 * np.sin(12 * x))), dtype=np.float32)


def _rings(x: Plane, y: Plane) -> Plane:
    return np.asarray(0.5 + 0.5 * np.sin(45 * np.hypot(x - 0.6, y - 0.4)), dtype=np.float32)


def _slope(x: Plane, y: Plane) -> Plane:
    return np.asarray(np.clip((x + y) / 2.3, 0, 1), dtype=np.float32)


def _bricks(x: Plane, y: Plane) -> Plane:
    row = np.floor(y * 9)
    joint = (y * 9 % 1 < 0.12) | ((x * 4 + 0.5 * (row % 2)) % 1 < 0.06)
    return np.asarray(~joint, dtype=np.float32)


PATTERNS: tuple[Callable[[Plane, Plane], Plane], ...] = (
    _stripes, _rows, _checks, _dots, _waves, _rings, _slope, _bricks,
)  # fmt: skip


def _disc(u: Plane, v: Plane) -> Plane:
    return np.asarray(u**2 + v**2 < 1, dtype=np.float32)


def _square(u: Plane, v: Plane) -> Plane:
    return np.asarray(np.maximum(abs(u), abs(v)) < 0.85, dtype=np.float32)


def _triangle(u: Plane, v: Plane) -> Plane:
    return np.asarray((v < 0.8) & (v > 2 * abs(u) - 0.9), dtype=np.float32)


def _cross(u: Plane, v: Plane) -> Plane:
    arms = (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1)
    return np.asarray(arms, dtype=np.float32)


def _ring(u: Plane, v: Plane) -> Plane:
    radius = np.hypot(u, v)
    return np.asarray((radius < 1) & (radius > 0.55), dtype=np.float32)


SHAPES: tuple[Callable[[Plane, Plane], Plane], ...] = (_disc, _square, _triangle, _cross, _ring)


def _colour(scene: str, what: str, value: float) -> Plane:
    hue = _number(scene, what, 360) / 360
    return np.asarray(colorsys.hsv_to_rgb(hue, 0.65, value), dtype=np.float32) * 255


@lru_cache(maxsize=32)
def _background(scene: str, width_px: int, height_px: int) -> Plane:
    x_HW, y_HW = _grid(width_px, height_px)
    pattern = PATTERNS[_number(scene, "pattern", len(PATTERNS))](x_HW, y_HW)[..., None]
    dark, light = _colour(scene, "dark", 0.35), _colour(scene, "light", 0.8)
    mixed: Plane = dark * (1 - pattern) + light * pattern
    return mixed


def _place(scene: str, time_s: float, width: float) -> tuple[float, float]:
    """Return where the shape is, in heights: it goes round, once in 3 to 6 seconds."""
    turn_s = 3.0 + _number(scene, "turn", 4)
    angle = 2 * np.pi * time_s / turn_s
    return width / 2 + 0.38 * width * np.cos(angle), 0.4 + 0.22 * np.sin(angle)


def draw_scene(
    scene: str, time_s: float, *, moves: bool, noise_key: int, width_px: int, height_px: int
) -> Image:
    """Return the picture [H, W, 3] of a scene `time_s` after its shot began, without words.

    A scene that does not `move` is the same picture at all times, noise included.
    """
    picture = _background(scene, width_px, height_px).copy()
    x_HW, y_HW = _grid(width_px, height_px)
    x, y = _place(scene, time_s if moves else 0.0, width_px / height_px)
    size = 0.16 + 0.02 * _number(scene, "size", 5)
    inside = SHAPES[_number(scene, "shape", len(SHAPES))]((x_HW - x) / size, (y_HW - y) / size)
    picture += inside[..., None] * (_colour(scene, "shape colour", 1.0) - picture)
    seed = _number(scene, f"noise {noise_key if moves else 0}", 2**32)
    picture += np.random.default_rng(seed).normal(0, NOISE, picture.shape).astype(np.float32)
    return np.clip(picture, 0, 255).astype(np.uint8)


def write_words(image: Image, text: str, *, is_banner: bool) -> Image:
    """Return the picture with words in a band: titles below, banners above."""
    height_px, width_px = image.shape[:2]
    top = round(height_px * (BANNER_TOP if is_banner else TITLE_TOP))
    band = _band(text, is_banner, width_px, round(height_px * TITLE_HEIGHT))
    written = image.copy()
    written[top : top + len(band)] = band
    return written


@lru_cache(maxsize=64)
def _band(text: str, is_banner: bool, width_px: int, height_px: int) -> Image:
    from PIL import Image as Pictures
    from PIL import ImageDraw

    band = Pictures.new("RGB", (width_px, height_px), BANNER_RGB if is_banner else BAND_RGB)
    draw = ImageDraw.Draw(band)
    font = _font(text, round(0.7 * height_px), round(0.92 * width_px))
    draw.text((width_px / 2, height_px / 2), text, font=font, fill="white", anchor="mm")
    return np.asarray(band, dtype=np.uint8)


def _font(text: str, size_px: int, width_px: int) -> Any:
    """Return Pillow's own font, as large as the width allows: the same on every machine."""
    from PIL import ImageFont

    font = ImageFont.load_default(size_px)
    needed_px = font.getlength(text)
    if needed_px <= width_px:
        return font
    return ImageFont.load_default(max(8, int(size_px * width_px / needed_px)))


def blend(before: Image, after: Image, share: float) -> Image:
    """Return a picture between two: `share` 0 is the one before, 1 the one after."""
    mixed = before.astype(np.float32) * (1 - share) + after.astype(np.float32) * share
    return np.clip(mixed, 0, 255).astype(np.uint8)


def fit_picture(image: Image, *, width_px: int, height_px: int) -> Image:
    """Return a real picture on the film's canvas: whole, in the middle, black around it."""
    from PIL import Image as Pictures
    from PIL import ImageOps

    sized = ImageOps.pad(Pictures.fromarray(image), (width_px, height_px))
    return np.asarray(sized, dtype=np.uint8)
