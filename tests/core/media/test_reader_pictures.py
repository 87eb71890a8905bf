"""What a picture looks like: upright, square pixels, bounded, the same from both readers."""

from __future__ import annotations

import struct
from fractions import Fraction

import numpy as np
import pytest

from fdvs.errors import MediaError, ModelUnavailable, UndecodableVideo
from fdvs.media.readers import READERS, open_reader, probe
from fdvs.media.resize import (
    Orientation,
    bounded_size,
    display_size,
    fit,
    right_angle,
    size_within,
)


def read_all(path, reader, every_s=0.0, short_side_px=None):
    with open_reader(path, reader=reader) as source:
        return list(source.iter_frames(every_s=every_s, short_side_px=short_side_px))


def mean_difference(a, b):
    return float(np.abs(a.image.astype(np.int16) - b.image).mean())


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("bframes_mp4", 1),
        ("open_gop_mkv", 1),
        ("vfr_mp4", 1),
        ("edit_list", 1),
        ("ts", 1),
        ("ts_cut", 1),
        ("ts_wrap", 1),
        ("avi_bframes", 1),
        ("sar", 1),
        ("rotated_90", 1),
        ("rotated_180", 1),
        ("rotated_270", 1),
        ("two_streams", 1),
        ("vp9", 1),
        ("av1", 1),
        ("h264_10_bit", 3),
        ("hevc_10_bit", 3),
        ("size_change", 1),
        ("shape_change", 1),
    ],
)
def test_both_readers_agree_on_count_times_and_pictures(film, name, bound):
    path = film(name).path
    ours, theirs = read_all(path, "pyav"), read_all(path, "ffmpeg")
    assert len(ours) == len(theirs) > 0
    assert [f.time_s for f in theirs] == pytest.approx([f.time_s for f in ours], abs=2e-6)
    for a, b in zip(ours[::7], theirs[::7], strict=True):
        assert a.image.shape == b.image.shape
        assert mean_difference(a, b) <= bound


def test_both_readers_choose_the_same_pictures(film, read_number):
    path = film("vfr_mkv").path
    times_s = [0.0, 0.19, 2.8, 2.81, 7.3, 7.3, 16.0]
    found = []
    for name in ("pyav", "ffmpeg"):
        with open_reader(path, reader=name) as reader:
            frames = reader.frames_at(times_s, short_side_px=None)
            found.append(
                [(read_number(f.image), pytest.approx(f.time_s, abs=2e-6)) for f in frames]
            )
            every = reader.iter_frames(every_s=1.5, short_side_px=32)
            found[-1].append([pytest.approx(f.time_s, abs=2e-6) for f in every])
    assert [number for number, _ in found[0][:-1]] == [number for number, _ in found[1][:-1]]
    assert len(found[0][-1]) == len(found[1][-1]) == 11


def test_a_second_earlier_request_starts_ffmpeg_again(film, read_number):
    with open_reader(film("bframes_mp4").path, reader="ffmpeg") as reader:
        for time_s, number in ((3.0, 75), (4.0, 100), (1.0, 25), (23.0, 575)):
            [frame] = reader.frames_at([time_s], short_side_px=None)
            assert read_number(frame.image) == number
        assert reader.num_starts == 2


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_rotation_is_applied(film, read_number, degrees, turns):
    [first, *_] = read_all(film(f"rotated_{degrees}").path, "pyav")
    with open_reader(film(f"rotated_{degrees}").path) as reader:
        info = reader.info
        [later] = reader.frames_at([3.0], short_side_px=None)
    assert (info.width_px, info.height_px) == ((96, 160) if turns % 2 else (160, 96))
    assert first.image.shape == (info.height_px, info.width_px, 3)
    assert info.rotation_deg == degrees
    assert read_number(np.rot90(later.image, k=-turns)) == 75


ONE = 1 << 16
# (a, b, c, d) of a display matrix, which shows pixel (x, y) at (a x + c y, b x + d y).
MATRICES = [
    *((1, 0, 0, 1), (-1, 0, 0, 1), (1, 0, 0, -1), (-1, 0, 0, -1)),
    *((0, 1, 1, 0), (0, -1, 1, 0), (0, 1, -1, 0), (0, -1, -1, 0)),
]


def with_matrix(film, folder, matrix):
    """Copy the MP4 with another display matrix in its track header (version 0)."""
    a, b, c, d = (ONE * sign for sign in matrix)
    data = bytearray(film("bframes_mp4").path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path = folder / "turned.mp4"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("reader", ["pyav", "ffmpeg"])
def test_every_display_matrix_is_shown_as_its_definition_says(film, tmp_path, matrix, reader):
    [stored] = read_all(film("bframes_mp4").path, reader, every_s=100)
    [shown] = read_all(with_matrix(film, tmp_path, matrix), reader, every_s=100)
    a, b, c, d = matrix
    height_px, width_px = stored.image.shape[:2]
    ys, xs = np.mgrid[:height_px, :width_px]
    to_x, to_y = a * xs + c * ys, b * xs + d * ys
    expected = np.empty_like(shown.image)
    expected[to_y - to_y.min(), to_x - to_x.min()] = stored.image
    assert np.abs(shown.image.astype(int) - expected).mean() < 1
    info = probe(tmp_path / "turned.mp4")
    assert info.is_mirrored == (a * d - b * c < 0)
    assert (info.height_px, info.width_px) == shown.image.shape[:2]


def test_an_empty_display_matrix_changes_nothing(film, tmp_path):
    info = probe(with_matrix(film, tmp_path, (0, 0, 0, 0)))
    assert (info.rotation_deg, info.is_mirrored) == (0, False)


def test_the_sample_aspect_ratio_is_applied(film, read_number):
    with open_reader(film("sar").path) as reader:
        assert (reader.info.width_px, reader.info.height_px) == (320, 96)
        [full] = reader.frames_at([1.0], short_side_px=None)
        [small] = reader.frames_at([1.0], short_side_px=48)
    assert full.image.shape == (96, 320, 3)
    assert small.image.shape == (48, 160, 3)
    assert read_number(full.image) == 25


@pytest.mark.parametrize("reader_name", ["pyav", "ffmpeg"])
def test_a_frame_has_its_detail_where_the_film_has_more(film, reader_name):
    times_s = [1.0, 2.0]
    with open_reader(film("bframes_mp4").path, reader=reader_name) as reader:
        both = list(reader.frames_at(times_s, short_side_px=24, detail_px=48))
        [unbounded] = reader.frames_at([1.0], short_side_px=24, detail_px=1000)
        [none_larger] = reader.frames_at([1.0], short_side_px=48, detail_px=48)
        small = list(reader.frames_at(times_s, short_side_px=24))
        large = list(reader.frames_at(times_s, short_side_px=48))
        with pytest.raises(ValueError, match="short_side_px is 0"):
            reader.frames_at([1.0], short_side_px=24, detail_px=0)
    for one, bounded, detail in zip(both, small, large, strict=True):
        assert np.array_equal(one.image, bounded.image)
        assert np.array_equal(one.detail, detail.image)
        assert bounded.detail is None
    assert unbounded.detail.shape == (96, 160, 3)
    assert none_larger.detail is None


def test_the_short_side_is_bounded_and_nothing_is_enlarged(film):
    with open_reader(film("bframes_mp4").path) as reader:
        [small] = reader.frames_at([1.0], short_side_px=24)
        [same] = reader.frames_at([1.0], short_side_px=1000)
    assert small.image.shape == (24, 40, 3)
    assert same.image.shape == (96, 160, 3)
    assert small.image.dtype == np.uint8
    assert small.image.flags["C_CONTIGUOUS"]


def test_all_pictures_of_a_file_have_one_size(film):
    shapes = {frame.image.shape for frame in read_all(film("size_change").path, "pyav")}
    assert shapes == {(96, 160, 3)}


@pytest.mark.parametrize("reader", ["pyav", "ffmpeg"])
def test_a_picture_of_another_shape_is_shown_whole_between_black_bars(film, read_number, reader):
    frames = read_all(film("shape_change").path, reader)
    assert {frame.image.shape for frame in frames} == {(96, 160, 3)}
    # 96x160 pixels fit into the height of 96 with a width of 58, between bars of 51.
    late = frames[150].image
    assert read_number(late[:, 51:109]) == 150
    assert late[:, :50].max() < 20
    assert late[:, 110:].max() < 20


def test_sizes_keep_their_shape_in_a_box():
    assert size_within((96, 160), (160, 96)) == (58, 96)
    assert size_within((320, 96), (160, 96)) == (160, 48)
    assert size_within((854, 480), (640, 360)) == (640, 360)
    assert size_within((1, 5000), (10, 10)) == (1, 10)


def test_resizing_equals_pillow_bicubic():
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    ours = fit(image, size=(40, 30))
    theirs = np.asarray(Image.fromarray(image).resize((40, 30), Image.Resampling.BICUBIC))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_turn_comes_out_the_same_before_or_after_resizing():
    image = np.random.default_rng(1).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    turned = fit(np.ascontiguousarray(np.rot90(image)), size=(30, 40))
    difference = np.abs(fit(image, size=(30, 40), orientation=Orientation(90)).astype(int) - turned)
    assert difference.mean() < 0.5


def test_sizes_follow_ratio_rotation_and_bound():
    assert display_size(720, 576, Fraction(16, 11), 0) == (1047, 576)
    assert display_size(720, 576, None, 90) == (576, 720)
    assert display_size(100, 100, Fraction(1000), 0) == (100, 100)
    assert display_size(100, 100, Fraction(0), 0) == (100, 100)
    assert bounded_size(1920, 1080, 224) == (398, 224)
    assert bounded_size(1080, 1920, 224) == (224, 398)
    assert bounded_size(100, 50, 224) == (100, 50)
    assert [right_angle(angle) for angle in (-90, 0, 89.6, 180, -180, 270)] == [
        270,
        0,
        90,
        180,
        180,
        270,
    ]


def test_readers_are_chosen_by_name(film):
    assert READERS.names() == ["decord", "ffmpeg", "pyav"]


def test_a_silent_ffmpeg_is_killed_after_the_time_limit(film, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("FDVS_FFMPEG", str(program))
    with (
        open_reader(film("bframes_mp4").path, reader="ffmpeg", timeout_s=0.3) as reader,
        pytest.raises(UndecodableVideo, match=r"nothing for 0\.3 s"),
    ):
        list(reader.frames_at([1.0], short_side_px=None))


def test_an_ffmpeg_that_fails_says_why(film, tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\necho broken today >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("FDVS_FFMPEG", str(program))
    with (
        open_reader(film("bframes_mp4").path, reader="ffmpeg") as reader,
        pytest.raises(MediaError, match="broken today"),
    ):
        list(reader.iter_frames(every_s=0, short_side_px=None))


def test_a_missing_ffmpeg_is_named(film, monkeypatch):
    monkeypatch.setenv("FDVS_FFMPEG", "/nowhere/ffmpeg")
    with pytest.raises(ModelUnavailable, match="/nowhere/ffmpeg"):
        open_reader(film("bframes_mp4").path, reader="ffmpeg")


def test_wrong_requests_are_refused_by_the_second_reader(film):
    with open_reader(film("bframes_mp4").path, reader="ffmpeg") as reader:
        with pytest.raises(ValueError, match="sorted"):
            reader.frames_at([2.0, 1.0], short_side_px=None)
        with pytest.raises(ValueError, match="time nan s is outside"):
            reader.frames_at([float("nan")], short_side_px=None)
        with pytest.raises(ValueError, match="every_s"):
            reader.iter_frames(every_s=-1, short_side_px=None)
        kept = reader.frames_at([1.0], short_side_px=None)
    with pytest.raises(ValueError, match="closed"):
        next(kept)
