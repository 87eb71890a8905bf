"""Clips cover a video once, within their bounds, at the right places."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdvs.config import CutConfig
from fdvs.errors import ModelUnavailable
from fdvs.media.clips import cut, detect_scenes, gop_statistics
from fdvs.media.readers import probe
from fdvs.types import VideoInfo

INFO = VideoInfo(
    width_px=160,
    height_px=96,
    duration_s=24.0,
    declared_duration_s=24.0,
    fps=25.0,
    rotation_deg=0,
    codec="h264",
    container="mp4",
    stream_index=0,
    has_audio=False,
    is_timed=True,
    num_packets=600,
    key_times_s=(0.0,),
)


def video(duration_s: float, keys_s: tuple[float, ...]) -> VideoInfo:
    return replace(INFO, duration_s=duration_s, key_times_s=keys_s)


def bounds(clips):
    return [clips[0].start_s, *(clip.end_s for clip in clips)]


def test_clips_begin_at_the_key_frames():
    clips = cut(video(10.0, (0.0, 3.0, 5.5)), CutConfig(), video_id="v")
    assert bounds(clips) == [0.0, 3.0, 5.5, 10.0]
    assert [clip.index for clip in clips] == [0, 1, 2]
    assert {clip.video_id for clip in clips} == {"v"}


def test_a_key_frame_too_near_to_the_last_boundary_is_passed_over():
    clips = cut(video(10.0, (0.0, 0.5, 1.9, 2.1, 3.0, 6.0)), CutConfig(), video_id="v")
    assert bounds(clips) == [0.0, 2.1, 6.0, 10.0]


def test_a_short_rest_joins_the_clip_before_it():
    clips = cut(video(10.0, (0.0, 4.0, 9.0)), CutConfig(), video_id="v")
    assert bounds(clips) == [0.0, 4.0, 10.0]


def test_a_minimum_is_kept_to_the_tick():
    clips = cut(video(6.0, (0.0, 2.0, 4.0)), CutConfig(min_clip_s=2.0), video_id="v")
    assert bounds(clips) == [0.0, 2.0, 4.0, 6.0]


def test_a_long_clip_is_split_evenly():
    clips = cut(video(100.0, (0.0, 5.0)), CutConfig(max_clip_s=30.0), video_id="v")
    assert bounds(clips) == pytest.approx([0.0, 5.0, 28.75, 52.5, 76.25, 100.0])


def test_a_clip_of_exactly_the_maximum_is_not_split():
    clips = cut(video(60.0, (0.0, 30.0)), CutConfig(max_clip_s=30.0), video_id="v")
    assert bounds(clips) == [0.0, 30.0, 60.0]


def test_key_frames_everywhere_give_clips_of_the_minimum():
    keys_s = tuple(n / 25 for n in range(250))
    clips = cut(video(10.0, keys_s), CutConfig(), video_id="v")
    assert bounds(clips) == pytest.approx([0.0, 2.0, 4.0, 6.0, 8.0, 10.0])


@pytest.mark.parametrize("duration_s", [0.0, 1e-9, 0.04, 0.5])
@pytest.mark.parametrize("method", ["keyframes", "fixed", "scenes"])
def test_the_shortest_video_is_one_clip_of_positive_length(duration_s, method):
    config = CutConfig(method=method)
    [clip] = cut(video(duration_s, (0.0,)), config, video_id="v", scene_times_s=())
    assert clip.start_s == 0.0
    assert clip.end_s > 0


@pytest.mark.parametrize(
    ("duration_s", "expected"),
    [
        (30.0, [0, 10, 20, 30]),
        (25.0, [0, 10, 20, 25]),
        (20.4, [0, 10, 20.4]),
        (3.0, [0, 3.0]),
    ],
)
def test_fixed_lengths_join_a_tiny_rest_to_the_last_clip(duration_s, expected):
    config = CutConfig(method="fixed", fixed_clip_s=10.0)
    clips = cut(video(duration_s, (0.0, 1.0)), config, video_id="v")
    assert bounds(clips) == pytest.approx(expected)


def test_scene_changes_replace_key_frames():
    config = CutConfig(method="scenes")
    scenes_s = [12.0, 4.0, 4.1, 99.0]
    clips = cut(video(20.0, (0.0, 7.0)), config, video_id="v", scene_times_s=scenes_s)
    assert bounds(clips) == [0.0, 4.0, 12.0, 20.0]


def test_scenes_must_be_given():
    with pytest.raises(ValueError, match="scene_times_s"):
        cut(INFO, CutConfig(method="scenes"), video_id="v")


@settings(deadline=None, max_examples=100)
@given(
    duration_s=st.floats(0.001, 5000),
    keys_s=st.lists(st.floats(0, 5000), max_size=60),
    min_s=st.floats(0, 20),
    factor=st.floats(2, 20),
    method=st.sampled_from(["keyframes", "fixed", "scenes"]),
)
def test_clips_cover_the_video_once_within_bounds(duration_s, keys_s, min_s, factor, method):
    config = CutConfig(method=method, min_clip_s=min_s, max_clip_s=max(1.0, min_s * factor))
    info = video(duration_s, tuple(sorted({0.0, *keys_s})))
    clips = cut(info, config, video_id="v", scene_times_s=keys_s)
    assert clips[0].start_s == 0.0
    assert clips[-1].end_s == duration_s
    assert all(a.end_s == b.start_s for a, b in pairwise(clips))
    assert all(clip.duration_s > 0 for clip in clips)
    if method != "fixed":
        assert all(clip.duration_s <= config.max_clip_s + 2e-6 * len(clips) for clip in clips)
        if len(clips) > 1:
            assert all(
                clip.duration_s >= min(min_s, config.max_clip_s / 2) - 1e-5 for clip in clips
            )


def test_statistics_tell_a_fixed_distance_from_content():
    regular = gop_statistics(video(24.0, tuple(2.0 * n for n in range(12))))
    assert regular.is_regular
    assert (regular.num_key_frames, regular.mean_interval_s) == (12, 2.0)
    assert regular.describe() == (
        "12 key frames, every 2.00 s (2.00-2.00), regular: a fixed distance, not content"
    )
    free = gop_statistics(video(24.0, (0.0, 1.2, 7.0, 9.9)))
    assert not free.is_regular
    assert (free.min_interval_s, free.max_interval_s) == pytest.approx((1.2, 5.8))
    assert free.describe() == "4 key frames, every 3.30 s (1.20-5.80)"


def test_statistics_of_one_key_frame_have_no_interval():
    statistics = gop_statistics(video(24.0, (0.0,)))
    assert statistics.mean_interval_s is None
    assert not statistics.is_regular
    assert statistics.describe() == "1 key frame, no interval"


def test_two_intervals_are_not_enough_to_suspect_a_fixed_distance():
    assert not gop_statistics(video(9.0, (0.0, 3.0, 6.0))).is_regular


def test_real_films_have_real_statistics(film):
    assert gop_statistics(probe(film("bframes_mp4").path)).is_regular
    assert gop_statistics(probe(film("all_intra").path)).num_key_frames == 100


@pytest.fixture(scope="session")
def three_shots(studio):
    """30 pictures of red, 50 of green, 25 of blue; from green on each stays twice as long."""
    path = studio.folder / "shots.mp4"
    colours = "".join(
        f"color={name}:s=160x96:r=25:d={length_s}[{name}];"
        for name, length_s in (("red", 1.2), ("green", 2), ("blue", 1))
    )
    times = "settb=1/50,setpts=2*(N+max(0\\,N-30))"
    graph = f"{colours}[red][green][blue]concat=n=3,{times}"
    studio.run(["-filter_complex", graph, "-fps_mode", "passthrough", "-c:v", "libx264", str(path)])
    return path


@pytest.mark.parametrize("reader", ["pyav", "ffmpeg"])
def test_scene_changes_are_found_at_their_presentation_times(three_shots, reader):
    pytest.importorskip("scenedetect")
    found_s = detect_scenes(three_shots, threshold=27.0, reader=reader)
    # Pictures 30 and 80; from 30 on each one stays for two frames: 30/25 and (30+100)/25 s.
    assert found_s == pytest.approx([1.2, 5.2], abs=1e-5)


def test_a_still_film_has_no_scene_change(film):
    pytest.importorskip("scenedetect")
    assert detect_scenes(film("one_frame").path, threshold=27.0) == []


def test_missing_scene_detection_names_its_extra(film, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "scenedetect", None)
    with pytest.raises(ModelUnavailable, match=r"\.\[scenes\]"):
        detect_scenes(film("one_frame").path, threshold=27.0)
