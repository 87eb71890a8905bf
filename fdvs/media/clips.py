"""Cut a video into clips: times only, no file is written and no picture decoded.

The paper cuts at the codec's keyframes (I-frames). An encoder may place them anywhere, from every
picture to one in a film, so short clips are merged and long ones split, and `gop_statistics` says
whether the boundaries are informative. Scene changes and fixed lengths are the alternatives.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from fdvs.config import CutConfig, ReaderName
from fdvs.errors import ModelUnavailable, how_to_install
from fdvs.media.readers import open_reader
from fdvs.types import Clip, VideoInfo

# A video of one picture has no measurable duration; it is shown for one frame at 25 fps.
_MIN_DURATION_S = 0.04
_SLACK_S = 1e-6
_REGULAR_SPREAD = 0.02
_MIN_REGULAR_INTERVALS = 3
# The scene detector compares mean colours of neighbouring pictures; small ones suffice.
_SCENE_SHORT_SIDE_PX = 90
_TICKS_PER_S = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class GopStatistics:
    """Distances between neighbouring keyframes; None if there are fewer than two.

    `is_regular` suspects a fixed distance set by the encoder: such boundaries say nothing about
    the content.
    """

    num_key_frames: int
    mean_interval_s: float | None
    min_interval_s: float | None
    max_interval_s: float | None
    is_regular: bool

    def describe(self) -> str:
        """Return one line for people."""
        if self.mean_interval_s is None:
            return f"{self.num_key_frames} key frame, no interval"
        regular = ", regular: a fixed distance, not content" if self.is_regular else ""
        return (
            f"{self.num_key_frames} key frames, every {self.mean_interval_s:.2f} s "
            f"({self.min_interval_s:.2f}-{self.max_interval_s:.2f}){regular}"
        )


def cut(
    info: VideoInfo,
    config: CutConfig,
    *,
    video_id: str,
    scene_times_s: Sequence[float] | None = None,
) -> list[Clip]:
    """Return clips in time order that cover [0, duration) exactly once.

    `scene_times_s` are the scene changes of `detect_scenes`, needed by method `scenes`. There is
    always at least one clip.
    """
    end_s = info.duration_s if info.duration_s > 0 else _MIN_DURATION_S
    if config.method == "fixed":
        bounds_s = _merge(_fixed(end_s, config.fixed_clip_s), min(1.0, config.fixed_clip_s / 2))
    else:
        starts_s = info.key_times_s if config.method == "keyframes" else scene_times_s
        if starts_s is None:
            raise ValueError("method 'scenes' needs scene_times_s; call detect_scenes first")
        bounds_s = _split(_merge(_bounds(starts_s, end_s), config.min_clip_s), config.max_clip_s)
    return [
        Clip(video_id=video_id, index=index, start_s=start_s, end_s=stop_s)
        for index, (start_s, stop_s) in enumerate(pairwise(bounds_s))
    ]


def gop_statistics(info: VideoInfo) -> GopStatistics:
    """Measure the distances between keyframes; the last, open one does not count."""
    intervals_s = [b - a for a, b in pairwise(info.key_times_s)]
    if not intervals_s:
        return GopStatistics(
            num_key_frames=len(info.key_times_s),
            mean_interval_s=None,
            min_interval_s=None,
            max_interval_s=None,
            is_regular=False,
        )
    mean_s = math.fsum(intervals_s) / len(intervals_s)
    spread_s = max(intervals_s) - min(intervals_s)
    # Variable frame rates and rounded time stamps move a fixed distance by a frame.
    slack_s = max(_REGULAR_SPREAD * mean_s, 1.01 / info.fps if info.fps else 0.0)
    return GopStatistics(
        num_key_frames=len(info.key_times_s),
        mean_interval_s=mean_s,
        min_interval_s=min(intervals_s),
        max_interval_s=max(intervals_s),
        is_regular=len(intervals_s) >= _MIN_REGULAR_INTERVALS and spread_s <= slack_s,
    )


def detect_scenes(
    path: Path, *, threshold: float, reader: ReaderName = "pyav", timeout_s: float = 30.0
) -> list[float]:
    """Return the times of the first picture of each new scene, sorted, without 0.

    Every picture is decoded. PySceneDetect (extra `scenes`) would open the file with OpenCV, which
    follows playlists and URLs and assumes a constant frame rate; its detector takes single
    pictures, so it is given those of our reader with their real times. `threshold` is the mean HSV
    difference, 0 to 255 (PySceneDetect's default: 27). Minimum lengths are left to `cut`.

    Raises:
        ModelUnavailable: PySceneDetect is not installed.
        MediaError: as `open_reader`.
    """
    try:
        from scenedetect import ContentDetector, FrameTimecode
        from scenedetect.common import Timecode
    except ImportError as error:
        raise ModelUnavailable(
            f"scene detection needs PySceneDetect ({error}); cut at keyframes, or "
            + how_to_install("scenes")
        ) from None
    detector = ContentDetector(threshold=threshold, min_scene_len=0)
    found_s: list[float] = []
    with open_reader(path, reader=reader, timeout_s=timeout_s) as source:
        rate = source.info.fps or 25.0
        for frame in source.iter_frames(every_s=0.0, short_side_px=_SCENE_SHORT_SIDE_PX):
            pts = round(frame.time_s * _TICKS_PER_S)
            time = FrameTimecode(Timecode(pts=pts, time_base=Fraction(1, _TICKS_PER_S)), fps=rate)
            bgr = np.ascontiguousarray(frame.image[:, :, ::-1])
            if detector.process_frame(time, bgr) and frame.time_s > 0:
                found_s.append(frame.time_s)
    return found_s


def _bounds(starts_s: Iterable[float], end_s: float) -> list[float]:
    inner = sorted({float(s) for s in starts_s if _SLACK_S < s < end_s - _SLACK_S})
    return [0.0, *inner, end_s]


def _fixed(end_s: float, length_s: float) -> list[float]:
    num_full = math.ceil(end_s / length_s - _SLACK_S)
    return _bounds((index * length_s for index in range(1, num_full)), end_s)


def _merge(bounds_s: list[float], min_s: float) -> list[float]:
    """Drop boundaries that would make a clip shorter than `min_s`, walking forward.

    A short rest at the end joins the clip before it.
    """
    *inner_s, end_s = bounds_s
    kept_s = [inner_s[0]]
    for bound_s in inner_s[1:]:
        if bound_s - kept_s[-1] >= min_s - _SLACK_S:
            kept_s.append(bound_s)
    if len(kept_s) > 1 and end_s - kept_s[-1] < min_s - _SLACK_S:
        kept_s.pop()
    return [*kept_s, end_s]


def _split(bounds_s: list[float], max_s: float) -> list[float]:
    """Split clips longer than `max_s` into equal parts."""
    result_s: list[float] = []
    for start_s, end_s in pairwise(bounds_s):
        num_parts = max(1, math.ceil((end_s - start_s) / max_s - _SLACK_S))
        step_s = (end_s - start_s) / num_parts
        result_s.extend(start_s + part * step_s for part in range(num_parts))
    return [*result_s, bounds_s[-1]]
