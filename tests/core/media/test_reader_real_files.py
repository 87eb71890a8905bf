"""Real files, whole and broken, that others keep for their own readers' tests."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fdvs.errors import MediaError
from fdvs.media.readers import open_reader, probe

pytestmark = pytest.mark.needs_data


@pytest.fixture(scope="session")
def robust(media_dir):
    return media_dir / "robust"


@pytest.mark.parametrize(
    ("name", "num_frames", "size"),
    [
        ("av1_video.mkv", 125, (640, 360)),
        ("h264_10bits.mp4", 30, (200, 200)),
        ("h265_video.mp4", 10, (128, 128)),
        ("nasa_13013.mp4", 390, (480, 270)),
        ("no_duration.webm", 74, (1280, 720)),
        ("unordered.mov", 4, (50, 50)),
        ("video_0.mov", 3, (568, 320)),
        ("video_90.mov", 3, (320, 568)),
        ("video_180.mov", 3, (568, 320)),
        ("video_270.mov", 3, (320, 568)),
    ],
)
def test_all_pictures_are_read_and_both_readers_agree(robust, name, num_frames, size):
    found = []
    for reader in ("pyav", "ffmpeg"):
        with open_reader(robust / name, reader=reader) as source:
            assert (source.info.width_px, source.info.height_px) == size
            found.append(list(source.iter_frames(every_s=0, short_side_px=96)))
            assert source.warnings == ()
    ours, theirs = found
    assert len(ours) == len(theirs) == num_frames
    assert all(a.time_s < b.time_s for a, b in pairwise(ours))
    bound = 3 if "10bits" in name else 1
    for a, b in zip(ours[::9], theirs[::9], strict=True):
        assert a.time_s == pytest.approx(b.time_s, abs=2e-6)
        assert np.abs(a.image.astype(np.int16) - b.image).mean() <= bound


def test_damaged_packets_are_skipped_and_counted(robust):
    with open_reader(robust / "corrupted.mp4") as reader:
        frames = list(reader.iter_frames(every_s=0, short_side_px=96))
        assert len(frames) == 49
        assert reader.counts.damaged == 1
        assert reader.warnings == ("1 damaged packet skipped",)


def test_the_best_of_two_video_streams_is_read(robust):
    info = probe(robust / "nasa_13013.mp4")
    assert (info.stream_index, info.num_packets, info.has_audio) == (3, 390, True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("zero.mp4", "empty file (0 bytes)"),
        ("text.mp4", "not an allowed video container (text?)"),
        ("truncated_no_moov.mp4", "no index (moov); the file is cut short"),
    ],
)
def test_what_is_no_video_has_its_reason(robust, name, text):
    with pytest.raises(MediaError) as caught:
        probe(robust / name)
    assert str(caught.value).startswith(text)


def test_whole_films_have_their_known_length(media_dir):
    info = probe(media_dir / "big_buck_bunny_full_160x120_4fps.mp4")
    assert info.duration_s == pytest.approx(596.5)
    assert info.num_packets == 2386
    assert info.is_timed
    assert info.warnings == ()
