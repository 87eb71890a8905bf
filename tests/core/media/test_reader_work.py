"""How much work a reader does: seeks, conversions, threads, memory."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from fdvs.config import CutConfig
from fdvs.media.clips import cut
from fdvs.media.readers import open_reader
from fdvs.media.sampling import sample_times


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def num_threads() -> int:
    return len(os.listdir("/proc/self/task"))


def sample(reader, config=None, num_frames=8):
    """Decode 8 frames of every clip as a build does; return the clips."""
    clips = cut(reader.info, config or CutConfig(), video_id="v")
    for clip in clips:
        list(reader.frames_at(sample_times(clip, num_frames), short_side_px=48))
    return clips


@pytest.mark.parametrize("name", ["bframes_mp4", "open_gop_mkv", "late_start", "fragmented", "flv"])
def test_a_clip_costs_at_most_one_seek_and_a_frame_one_conversion(film, name):
    with open_reader(film(name).path) as reader:
        clips = sample(reader)
        assert len(clips) == 12
        assert reader.counts.seeks <= len(clips)
        assert reader.counts.back_offs == 0
        assert reader.counts.conversions == 8 * len(clips)
        assert reader.counts.decoded < 1.2 * 600


@pytest.mark.parametrize("name", ["ts", "ts_open_gop", "ts_wrap", "ts_mpeg2"])
def test_a_transport_stream_costs_one_seek_a_group_and_its_back_offs(film, name):
    with open_reader(film(name).path) as reader:
        clips = sample(reader)
        assert 0 < reader.counts.back_offs <= len(reader.info.key_times_s)
        assert reader.counts.seeks <= len(reader.info.key_times_s) + reader.counts.back_offs
        assert reader.counts.conversions == 8 * len(clips)


def test_one_pass_over_all_times_seeks_once_a_group_of_pictures(film):
    with open_reader(film("bframes_mp4").path) as reader:
        times_s = [n / 4 for n in range(96)]
        list(reader.frames_at(times_s, short_side_px=48))
        assert reader.counts.seeks <= 12
        assert reader.counts.conversions == 96


def test_only_one_seek_is_needed_where_one_picture_a_group_is_wanted(film):
    with open_reader(film("bframes_mp4").path) as reader:
        list(reader.frames_at([4.0, 8.0, 20.0], short_side_px=48))
        assert reader.counts.seeks == 3
        # B-frames and decoder threads read ahead, a group of 50 is not decoded.
        assert reader.counts.decoded < 60


def test_the_same_picture_is_converted_once(film):
    with open_reader(film("one_frame").path) as reader:
        frames = list(reader.frames_at([0.0, 0.01, 0.02, 0.03], short_side_px=48))
        assert len(frames) == 4
        assert reader.counts.conversions == 1


def test_untimed_files_are_read_once_from_start_to_end(film):
    with open_reader(film("avi_bframes").path) as reader:
        sample(reader)
        assert reader.counts.opens == 1
        assert reader.counts.decoded <= 300


def test_opening_and_closing_leaves_no_threads_files_or_memory(film):
    path = film("bframes_mp4").path

    def use() -> None:
        with open_reader(path) as reader:
            list(reader.frames_at([3.0], short_side_px=48))

    use()
    threads, files, memory_mb = num_threads(), len(os.listdir("/proc/self/fd")), rss_mb()
    for _ in range(60):
        use()
    assert num_threads() <= threads + 1
    assert len(os.listdir("/proc/self/fd")) <= files
    assert rss_mb() < memory_mb + 40


def test_an_idle_reader_does_not_grow(film):
    with open_reader(film("bframes_mp4").path) as reader:
        list(reader.frames_at([3.0], short_side_px=48))
        memory_mb = rss_mb()
        decoded = reader.counts.decoded
        time.sleep(1.0)
        assert rss_mb() < memory_mb + 10
        assert reader.counts.decoded == decoded


def test_memory_does_not_depend_on_the_length_of_the_film(film):
    def peak_mb(name: str) -> float:
        peak = 0.0
        with open_reader(film(name).path) as reader:
            for clip in cut(reader.info, CutConfig(), video_id="v"):
                list(reader.frames_at(sample_times(clip, 8), short_side_px=48))
                peak = max(peak, rss_mb())
        return peak

    peak_mb("bframes_mp4")
    short_mb = peak_mb("bframes_mp4")
    assert peak_mb("four_minutes") < short_mb + 20


def test_two_readers_in_two_threads_do_not_disturb_each_other(film, read_number):
    found: dict[str, list[int]] = {}

    def read(name: str) -> None:
        with open_reader(film(name).path) as reader:
            times_s = [n / 2 for n in range(20)]
            frames = reader.frames_at(times_s, short_side_px=None)
            found[name] = [read_number(frame.image) for frame in frames]

    names = ["bframes_mp4", "open_gop_mkv"]
    for name in names:
        film(name)
    threads = [threading.Thread(target=read, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == {name: [25 * n // 2 for n in range(20)] for name in names}
