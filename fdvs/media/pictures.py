"""Read a picture that somebody hands in: PNG, JPEG or WebP, untrusted, within bounds."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.errors import InvalidValue
from fdvs.types import Image

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_BYTES = 16 * 2**20
MAX_PIXELS = 50_000_000
MAX_RATIO = 16  # of the longer side that is looked at
ALLOWED = f"a PNG, JPEG or WebP of at most {MAX_BYTES // 2**20} MiB and {MAX_PIXELS:,} pixels"


def picture_bytes(path: str | Path) -> bytes:
    """Return the content of a picture's file. Raises InvalidValue for what cannot be one."""
    place = Path(path).expanduser()
    try:
        if not place.is_file():
            raise InvalidValue("image", str(path), f"the path of {ALLOWED}")
        with place.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidValue("image", str(path), f"a file that can be read ({error})") from None
    if len(data) > MAX_BYTES:
        raise InvalidValue("image", str(path), ALLOWED)
    return data


def decode_picture(data: bytes, *, short_side_px: int) -> Image:
    """Return a picture [H, W, 3] upright, its shorter side at most `short_side_px`.

    What is transparent becomes white; of an animation the first picture counts. Only the header is
    read before the number of pixels is known. Raises InvalidValue.
    """
    from PIL import Image as Pictures
    from PIL import ImageOps, UnidentifiedImageError

    if len(data) > MAX_BYTES:
        raise InvalidValue("image", f"{len(data)} bytes", ALLOWED)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Pictures.DecompressionBombWarning)
            with Pictures.open(io.BytesIO(data), formats=FORMATS) as opened:
                width, height = opened.size
                if width * height > MAX_PIXELS:
                    raise InvalidValue("image", f"{width} x {height} pixels", ALLOWED)
                opened.draft("RGB", (2 * short_side_px, 2 * short_side_px))
                upright = ImageOps.exif_transpose(opened)
                whole = _opaque(upright)
                most = MAX_RATIO * short_side_px / max(whole.size)
                scale = min(1.0, most, short_side_px / min(whole.size))
                width, height = (max(1, round(side * scale)) for side in whole.size)
                small = whole.resize((width, height), Pictures.Resampling.BICUBIC)
                return np.ascontiguousarray(small, dtype=np.uint8)
    except InvalidValue:
        raise
    except UnidentifiedImageError:
        raise InvalidValue("image", f"{len(data)} bytes that are no picture", ALLOWED) from None
    except Exception as error:  # a decoder of untrusted data may raise anything
        told = " ".join(str(error).split())[:100] or type(error).__name__
        raise InvalidValue("image", f"{len(data)} bytes ({told})", ALLOWED) from None


def _opaque(picture: Any) -> Any:
    from PIL import Image as Pictures

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    seen = picture.convert("RGBA")
    white = Pictures.new("RGBA", seen.size, (255, 255, 255, 255))
    return Pictures.alpha_composite(white, seen).convert("RGB")
