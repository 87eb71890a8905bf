"""Clips, animations and sheets: the right pictures at the right times."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from fdvs.errors import InvalidValue, MediaError, NotFound
from fdvs.pipelines.cli.export import read_times
from fdvs.pipelines.detail import ClipDetail, VideoDetail
from fdvs.pipelines.exports import pieces
from fdvs.types import Story


def pictures(path: Path) -> list[tuple[float, np.ndarray]]:
    with av.open(str(path)) as film:
        return [
            (float(f.time or 0.0), f.to_ndarray(format="rgb24").mean(axis=(0, 1)))
            for f in film.decode(video=0)
        ]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, make_film: Callable[..., Path]) -> Path:
    shots = [("red", 2.0), ("green", 2.0), ("blue", 2.0)]
    return make_film(tmp_path_factory.mktemp("film") / "film.mp4", shots)


def test_a_clip_begins_and_ends_where_it_should(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    assert pieces.cut(film, 1.0, 3.0, target) == 1.0
    found = pictures(target)
    assert len(found) == pytest.approx(20, abs=1)  # ten pictures a second
    assert found[0][1].argmax() == 0
    assert found[-1][1].argmax() == 1
    changes = [at for (at, a), (_, b) in pairwise(found) if a.argmax() != b.argmax()]
    assert changes == [pytest.approx(0.9, abs=0.11)]
    assert not list(tmp_path.glob(".*"))


def test_a_copy_says_that_it_starts_at_the_key_picture_before(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    assert pieces.cut(film, 3.0, 3.8, target, copy=True) == pytest.approx(2.0, abs=0.11)
    assert pictures(target)[0][1].argmax() == 1


def test_an_animation_is_small(film: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.gif"
    pieces.cut(film, 0.0, 1.0, target, gif=True)
    with Image.open(target) as image:
        assert image.is_animated
        assert image.size[0] == pieces.GIF_PX
    with pytest.raises(InvalidValue, match="at most 30 s"):
        pieces.cut(film, 0.0, 31.0, target, gif=True)


def test_a_piece_that_is_not_there_leaves_nothing_behind(film: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        pieces.cut(film, 50.0, 51.0, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InvalidValue, match="before the end"):
        pieces.cut(film, 2.0, 2.0, tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:20-1:40", (80.0, 100.0)),
        ("80-100.5", (80.0, 100.5)),
        ("1:02:03 - 1:02:04", (3723.0, 3724.0)),
    ],
)
def test_times_are_read_as_people_write_them(text: str, expected: tuple[float, float]) -> None:
    assert read_times(text) == expected


@pytest.mark.parametrize("text", ["", "1:20", "a-b", "-1-2", "1:20-"])
def test_other_times_are_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="START-END"):
        read_times(text)


def test_a_sheet_shows_every_clip_in_order() -> None:
    def picture(clip: int) -> bytes:
        out = io.BytesIO()
        Image.new("RGB", (240, 135), [(255, 0, 0), (0, 0, 255)][clip]).save(out, "JPEG")
        return out.getvalue()

    def clip(index: int) -> ClipDetail:
        return ClipDetail(video_id="v", name="v.mp4", start_s=float(index), end_s=index + 1.0,
                          index=index, text="x", has_picture=True)  # fmt: skip

    story = Story(video_id="v", duration_s=2.0, sentences=(), scenes=(), chapters=(), num_clips=2)
    film = VideoDetail(video_id="v", name="v.mp4", path=Path("v.mp4"), duration_s=2.0, story=story,
                       clips=(clip(0), clip(1)))  # fmt: skip
    with Image.open(io.BytesIO(pieces.sheet(film, picture))) as image:
        assert image.size == (480, 157)
        assert image.getpixel((120, 60))[0] > 200
        assert image.getpixel((360, 60))[2] > 200
    bare = VideoDetail(
        video_id="v", name="v.mp4", path=Path("v"), duration_s=2.0, story=story, clips=()
    )
    with pytest.raises(NotFound, match="no pictures"):
        pieces.sheet(bare, picture)
