"""Sampled times, unique frames and motion."""

from __future__ import annotations

import numpy as np
import pytest

from fdvs.config import CutConfig
from fdvs.media.clips import cut
from fdvs.media.readers import open_reader
from fdvs.media.sampling import motion, sample_times, unique_frames
from fdvs.types import Clip, Frame


def clip(start_s: float, end_s: float) -> Clip:
    return Clip(video_id="v", index=0, start_s=start_s, end_s=end_s)


def frame(time_s: float, image: np.ndarray) -> Frame:
    return Frame(time_s=time_s, image=image)


def flat(value: int, height_px: int = 60, width_px: int = 80) -> np.ndarray:
    return np.full((height_px, width_px, 3), value, dtype=np.uint8)


def test_times_are_even_and_begin_with_the_clip():
    assert sample_times(clip(10.0, 18.0), 8) == (10, 11, 12, 13, 14, 15, 16, 17)
    assert sample_times(clip(3.5, 4.0), 1) == (3.5,)


def test_times_stay_within_the_clip():
    times_s = sample_times(clip(0.1, 0.7), 7)
    assert times_s[0] == 0.1
    assert all(0.1 <= time_s < 0.7 for time_s in times_s)
    assert np.diff(times_s) == pytest.approx([0.6 / 7] * 6)


def test_no_frames_cannot_be_sampled():
    with pytest.raises(ValueError, match="num_frames"):
        sample_times(clip(0, 1), 0)


def test_a_picture_seen_twice_is_kept_once_in_order():
    frames = [frame(t, flat(index)) for index, t in enumerate([0.0, 0.0, 0.04, 0.04, 0.08])]
    unique = unique_frames(frames)
    assert [f.time_s for f in unique] == [0.0, 0.04, 0.08]
    assert unique[0] is frames[0]
    assert unique_frames([]) == []


def test_the_first_sampled_picture_is_the_key_frame(film, read_number):
    with open_reader(film("open_gop_mp4").path) as reader:
        for piece in cut(reader.info, CutConfig(), video_id="v"):
            first, *others = reader.frames_at(sample_times(piece, 8), short_side_px=None)
            assert read_number(first.image) == 50 * piece.index
            numbers = [read_number(other.image) for other in others]
            assert numbers == [50 * piece.index + int(6.25 * n + 1e-6) for n in range(1, 8)]


def test_a_clip_of_three_pictures_gives_three_frames(film):
    with open_reader(film("bframes_mp4").path) as reader:
        times_s = sample_times(clip(1.0, 1.12), 8)
        frames = list(reader.frames_at(times_s, short_side_px=32))
    assert len(frames) == 8
    assert [f.time_s for f in unique_frames(frames)] == pytest.approx([1.0, 1.04, 1.08])


def test_motion_is_zero_for_still_and_one_for_black_to_white():
    assert motion([]) == 0.0
    assert motion([frame(0, flat(9))]) == 0.0
    assert motion([frame(0, flat(50)), frame(1, flat(50))]) == 0.0
    assert motion([frame(0, flat(0)), frame(1, flat(255)), frame(2, flat(0))]) == 1.0


def test_motion_is_the_mean_over_neighbours():
    frames = [frame(0, flat(0)), frame(1, flat(51)), frame(2, flat(51))]
    assert motion(frames) == pytest.approx(0.1)


def test_motion_bears_pictures_of_different_sizes():
    assert motion([frame(0, flat(10)), frame(1, flat(10, 120, 50))]) == 0.0
