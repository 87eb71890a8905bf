"""The picture of a time is the right one: read back from the number drawn in it."""

from __future__ import annotations

import random

import pytest

from fdvs.errors import NotAVideo
from fdvs.media.readers import open_reader

EXACT = [
    "bframes_mp4",
    "bframes_mkv",
    "open_gop_mp4",
    "open_gop_mkv",
    "open_gop_hevc",
    "vfr_mp4",
    "vfr_mkv",
    "edit_list",
    "ts",
    "ts_open_gop",
    "ts_wrap",
    "ts_mpeg2",
    "late_start",
    "fragmented",
    "flv",
    "vp9",
    "av1",
    "intra_refresh",
    "all_intra",
    "one_frame",
    "avi_bframes",
    "avi_mpeg4",
    "h264_10_bit",
    "two_streams",
    "audio_first",
    "no_duration",
    "size_change",
    "avi_mpeg4_b",
    "mpeg_ps",
    "ts_hevc",
    "wmv",
    "theora",
]


def numbers_at(reader, times_s, read_number):
    frames = reader.frames_at(times_s, short_side_px=None)
    return [read_number(frame.image) for frame in frames]


@pytest.mark.parametrize("name", EXACT)
def test_pictures_in_order_are_all_there_with_their_times(film, read_number, name):
    made = film(name)
    with open_reader(made.path) as reader:
        frames = list(reader.iter_frames(every_s=0, short_side_px=None))
    assert [read_number(frame.image) for frame in frames] == list(made.numbers)
    assert [frame.time_s for frame in frames] == pytest.approx(list(made.times_s), abs=1.1e-3)


@pytest.mark.parametrize("name", EXACT)
def test_a_picture_asked_for_at_random_is_the_last_one_at_or_before_the_time(
    film, read_number, name
):
    made = film(name)
    times_s = [random.uniform(0, made.times_s[-1]) for _ in range(12)]
    # Half-way between pictures: container clocks in milliseconds round the edges.
    with open_reader(made.path) as reader:
        own_s = [frame.time_s for frame in reader.iter_frames(every_s=0, short_side_px=32)]
        for time_s in times_s:
            shown = max(t for t in own_s if t <= time_s)
            [frame] = reader.frames_at([time_s], short_side_px=None)
            assert frame.time_s == shown
            assert read_number(frame.image) == made.numbers[own_s.index(shown)]


@pytest.mark.parametrize("name", ["open_gop_mp4", "ts_open_gop", "vfr_mkv", "edit_list"])
def test_a_picture_is_found_again_at_the_time_it_gave(film, read_number, name):
    made = film(name)
    with open_reader(made.path) as reader:
        frames = list(reader.iter_frames(every_s=0.5, short_side_px=None))
        again = list(reader.frames_at([f.time_s for f in frames], short_side_px=None))
    assert [f.time_s for f in again] == [f.time_s for f in frames]
    assert [read_number(f.image) for f in again] == [read_number(f.image) for f in frames]


def test_a_stream_cut_within_a_group_starts_with_its_first_whole_picture(film, read_number):
    with open_reader(film("ts_cut").path) as reader:
        frames = list(reader.iter_frames(every_s=0, short_side_px=None))
        times_s = [random.uniform(0, 15.9) for _ in range(8)]
        found = [
            (time_s, read_number(next(reader.frames_at([time_s], short_side_px=None)).image))
            for time_s in times_s
        ]
    first = read_number(frames[0].image)
    assert first % 50 == 0
    assert frames[0].time_s == 0.0
    assert [read_number(frame.image) for frame in frames] == list(range(first, 600))
    assert [number - first for _, number in found] == [int(25 * t + 1e-6) for t, _ in found]


@pytest.mark.parametrize(
    ("name", "keys_s"),
    [
        ("open_gop_mp4", [2.0 * n for n in range(12)]),
        ("open_gop_hevc", [2.0 * n for n in range(6)]),
        ("ts_open_gop", [2.0 * n for n in range(12)]),
        # Picture 50 n of the variable rate, not its index: every fifth one stays three times.
        ("vfr_mp4", [2.8 * n for n in range(6)]),
        ("vfr_mkv", [2.8 * n for n in range(6)]),
        ("edit_list", [0.0, *(0.68 + 2.0 * n for n in range(11))]),
        ("vp9", [2.0 * n for n in range(6)]),
        ("all_intra", [n / 25 for n in range(100)]),
        ("one_frame", [0.0]),
        ("avi_bframes", [2.0 * n for n in range(6)]),
    ],
)
def test_key_frames_are_listed_at_their_presentation_times(film, name, keys_s):
    with open_reader(film(name).path) as reader:
        assert reader.info.key_times_s == pytest.approx(keys_s, abs=1e-3)
        assert reader.info.key_times_s[0] == 0.0


@pytest.mark.parametrize("name", ["bframes_mp4", "ts", "ts_wrap", "late_start", "vfr_mp4"])
def test_duration_is_measured_to_the_end_of_the_last_picture(film, name):
    made = film(name)
    with open_reader(made.path) as reader:
        assert reader.info.duration_s == pytest.approx(made.times_s[-1] + 1 / 25, abs=0.005)


def test_a_missing_duration_in_the_header_is_measured(film):
    with open_reader(film("no_duration").path) as reader:
        assert reader.info.declared_duration_s is None
        assert reader.info.duration_s == pytest.approx(4.0, abs=0.05)


def test_times_after_the_end_show_the_last_picture_and_no_time_is_not_a_number(film, read_number):
    with open_reader(film("bframes_mp4").path) as reader:
        frames = list(reader.frames_at([23.99, 24.0, 1e6], short_side_px=None))
        assert [read_number(frame.image) for frame in frames] == [599] * 3
        assert all(0 <= frame.time_s < 24 for frame in frames)


@pytest.mark.parametrize("name", ["avi_bframes", "size_change"])
def test_a_file_without_usable_time_stamps_is_flagged_and_never_sought(film, name):
    with open_reader(film(name).path) as reader:
        list(reader.frames_at([0.5, 3.0, 6.0], short_side_px=32))
        assert not reader.info.is_timed
        assert "frames numbered at 25 fps" in reader.info.warnings[0]
        assert reader.counts.seeks == 0


def test_intra_refresh_is_read_forward_after_the_first_unclean_entry(film):
    with open_reader(film("intra_refresh").path) as reader:
        list(reader.frames_at([5.0, 9.0, 13.0, 21.0], short_side_px=32))
        assert reader.counts.seeks == 1


def test_wrong_requests_are_refused(film):
    with open_reader(film("bframes_mp4").path) as reader:
        with pytest.raises(ValueError, match="sorted"):
            reader.frames_at([2.0, 1.0], short_side_px=32)
        for bad in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="outside"):
                reader.frames_at([bad], short_side_px=32)
        with pytest.raises(ValueError, match="short_side_px"):
            reader.frames_at([1.0], short_side_px=0)
        with pytest.raises(ValueError, match="every_s"):
            reader.iter_frames(every_s=-1.0, short_side_px=None)
    for generator in (
        reader.frames_at([1.0], short_side_px=32),
        reader.iter_frames(every_s=1.0, short_side_px=32),
    ):
        with pytest.raises(ValueError, match="closed"):
            next(generator)


def test_missing_first_time_stamps_make_a_file_untimed(film, read_number):
    with open_reader(film("no_first_times").path) as reader:
        assert not reader.info.is_timed
        frames = list(reader.frames_at([0.0, 0.5, 1.5, 20.0], short_side_px=None))
        assert [read_number(frame.image) for frame in frames] == [0, 12, 37, 500]


def test_a_single_repeated_time_stamp_costs_its_picture_only(film, read_number):
    with open_reader(film("one_time_twice").path) as reader:
        frames = list(reader.iter_frames(every_s=0, short_side_px=None))
        assert reader.info.is_timed
        assert [read_number(frame.image) for frame in frames] == [
            number for number in range(100) if number != 50
        ]
        assert reader.warnings == (
            "1 packet without a time stamp of its own",
            "1 picture out of order skipped",
        )


def test_where_seeking_fails_the_file_is_read_from_its_start(film, read_number, monkeypatch):
    monkeypatch.setattr("fdvs.media.pyav_reader._Cursor.seek", lambda *_: False)
    with open_reader(film("bframes_mp4").path) as reader:
        for time_s, number in ((20.0, 500), (3.0, 75)):
            [frame] = reader.frames_at([time_s], short_side_px=None)
            assert read_number(frame.image) == number


def test_raw_streams_without_container_are_refused(film):
    with pytest.raises(NotAVideo, match="not an allowed video container"):
        open_reader(film("raw_h264").path)
