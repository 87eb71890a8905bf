"""Sizes and resizing of decoded pictures, the same for all readers.

Legend: H, W rows and columns of an RGB uint8 picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Image

# 8K has 33 million; a header may claim more than fits into memory.
MAX_PIXELS = 1 << 26
_MAX_SAR = 8


def display_size(
    width_px: int, height_px: int, sar: Fraction | None, rotation_deg: int
) -> tuple[int, int]:
    """Return (width, height) of the upright picture with square pixels.

    The width is scaled by the sample aspect ratio, as players do; an absent or absurd ratio
    (beyond 1:8 or 8:1) counts as 1.
    """
    if sar is not None and sar > 0 and Fraction(1, _MAX_SAR) <= sar <= _MAX_SAR:
        width_px = max(1, round(width_px * sar))
    return (height_px, width_px) if rotation_deg % 180 else (width_px, height_px)


def bounded_size(width_px: int, height_px: int, short_side_px: int | None) -> tuple[int, int]:
    """Return (width, height) with the short side at most `short_side_px`; never larger."""
    if short_side_px is None:
        return width_px, height_px
    if short_side_px < 1:
        raise ValueError(f"short_side_px is {short_side_px}; need 1 or more, or None")
    short = min(width_px, height_px)
    if short <= short_side_px:
        return width_px, height_px
    scale = Fraction(short_side_px, short)
    return max(1, round(width_px * scale)), max(1, round(height_px * scale))


def right_angle(rotation_deg: float) -> int:
    """Return the nearest multiple of 90 degrees, counterclockwise, in [0, 360)."""
    return round(rotation_deg / 90) * 90 % 360


class Orientation(NamedTuple):
    """How to show a stored picture: turned counterclockwise, then, if mirrored, left for right."""

    rotation_deg: int = 0
    is_mirrored: bool = False


UPRIGHT = Orientation()


def orientation_of(frame: Any) -> Orientation:
    """Return how players show a decoded PyAV frame, by its display matrix."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if matrix is None else orientation(np.frombuffer(matrix, np.int32))


def orientation(matrix: Sequence[int] | NDArray[np.int32]) -> Orientation:
    """Return the nearest of the eight orientations to a display matrix (a, b, u, c, d, v, ...).

    It shows the stored pixel (x, y) at (a x + c y, b x + d y), with y pointing down.
    """
    a, b, c, d = (int(matrix[at]) for at in (0, 1, 3, 4))
    is_mirrored = a * d - b * c < 0
    if is_mirrored:
        a = -a
    return Orientation(right_angle(math.degrees(math.atan2(-b, a))), is_mirrored)


def fit(image: Image, *, size: tuple[int, int], orientation: Orientation = UPRIGHT) -> Image:
    """Return the picture upright and resized to (width, height).

    Resizing is bicubic with antialiasing in uint8, as in CLIP's preprocessing. The picture is
    turned last, when it is small.
    """
    turned = orientation.rotation_deg
    width_px, height_px = size[::-1] if turned % 180 else size
    if image.shape[:2] != (height_px, width_px):
        image = _resize(image, height_px, width_px)
    image = np.rot90(image, k=turned // 90)
    return np.ascontiguousarray(image[:, ::-1] if orientation.is_mirrored else image)


def size_within(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the (width, height) of the largest picture of the shape of `size` that fits in `box`.

    Rounding may cost a pixel; where no more is left over, it is the box itself.
    """
    scale = min(Fraction(box[0], size[0]), Fraction(box[1], size[1]))
    width_px, height_px = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    if box[0] - width_px <= 1 and box[1] - height_px <= 1:
        return box
    return width_px, height_px


def centred(image: Image, size: tuple[int, int]) -> Image:
    """Return the picture in the middle of a black one of (width, height)."""
    height_px, width_px = image.shape[:2]
    if (width_px, height_px) == size:
        return image
    whole = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - width_px) // 2, (size[1] - height_px) // 2
    whole[top : top + height_px, left : left + width_px] = image
    return whole


def _resize(image: Image, height_px: int, width_px: int) -> Image:
    from PIL import Image as Pictures

    picture = Pictures.fromarray(np.ascontiguousarray(image))
    return np.asarray(picture.resize((width_px, height_px), Pictures.Resampling.BICUBIC))
