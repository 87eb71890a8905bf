"""Pictures that are handed in: upright, bounded, and refused where they are no pictures."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fdvs.errors import InvalidValue
from fdvs.media.pictures import MAX_BYTES, decode_picture, picture_bytes


def encoded(picture: Image.Image, kind: str, **more: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **more)
    return out.getvalue()


def halves() -> Image.Image:
    """Red on the left, blue on the right, 200 x 100."""
    picture = Image.new("RGB", (200, 100), "blue")
    picture.paste("red", (0, 0, 100, 100))
    return picture


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_is_read_and_made_smaller(kind: str) -> None:
    found = decode_picture(encoded(halves(), kind), short_side_px=50)
    assert found.shape == (50, 100, 3)
    assert np.abs(found[25, 10].astype(int) - (255, 0, 0)).max() < 30
    assert np.abs(found[25, 90].astype(int) - (0, 0, 255)).max() < 30


def test_a_small_picture_stays_as_it_is() -> None:
    assert decode_picture(encoded(halves(), "PNG"), short_side_px=400).shape == (100, 200, 3)


def test_a_turned_photo_is_set_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    found = decode_picture(encoded(halves(), "JPEG", exif=exif), short_side_px=400)
    assert found.shape == (200, 100, 3)
    assert found[20, 50, 0] > 200  # the left half is on top
    assert found[180, 50, 2] > 200


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_every_kind_of_pixel_becomes_colours(mode: str) -> None:
    picture = Image.new("I;16", (20, 20)) if mode == "I;16" else halves().convert(mode)
    assert decode_picture(encoded(picture, "PNG"), short_side_px=50).shape[2] == 3


def test_what_is_transparent_is_white() -> None:
    clear = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    assert (decode_picture(encoded(clear, "PNG"), short_side_px=20) == 255).all()


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that says it has this many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.mark.parametrize(
    "data",
    [
        b"", b"no picture", bomb(100_000, 100_000), bomb(8000, 8000), bomb(0, 5),
        encoded(halves(), "GIF"), encoded(halves(), "BMP"), encoded(halves(), "TIFF"),
        encoded(halves(), "PNG")[:60], b"x" * (MAX_BYTES + 1),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%!PS-Adobe-3.0 EPSF-3.0\n",
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidValue, match="PNG, JPEG or WebP"):
        decode_picture(data, short_side_px=50)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 300))
def test_damage_is_an_error_of_ours_or_a_picture(noise: bytes, place: int) -> None:
    whole = encoded(halves(), "WEBP" if place % 2 else "JPEG")
    damaged = whole[:place] + noise + whole[place + len(noise) :]
    with contextlib.suppress(InvalidValue):
        assert decode_picture(damaged, short_side_px=32).ndim == 3


def test_a_very_long_picture_is_bounded() -> None:
    long = Image.new("RGB", (20_000, 10))
    assert max(decode_picture(encoded(long, "PNG"), short_side_px=10).shape) <= 160


def test_the_file_is_checked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"abc")
    assert picture_bytes(tmp_path / "a.png") == b"abc"
    for place in (tmp_path / "none.png", tmp_path):
        with pytest.raises(InvalidValue, match="image is"):
            picture_bytes(place)
    with (tmp_path / "big.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidValue, match="16 MiB"):
        picture_bytes(tmp_path / "big.png")
