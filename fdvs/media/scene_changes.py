"""Detect scene changes with PySceneDetect (extra `scenes`), on pictures from our own reader.

PySceneDetect would open the file with OpenCV, which follows playlists and URLs and assumes a
constant frame rate. Its detector takes single pictures, so it is given ours with their real times.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from fdvs.config import ReaderName
from fdvs.errors import ModelUnavailable
from fdvs.media.readers import open_reader

# The detector compares mean colours of neighbouring pictures; small ones suffice.
_SHORT_SIDE_PX = 90
_TICKS_PER_S = 1_000_000


def detect_scenes(
    path: Path, *, threshold: float, reader: ReaderName = "pyav", timeout_s: float = 30.0
) -> list[float]:
    """Return the times of the first picture of each new scene, sorted, without 0.

    Every picture is decoded. `threshold` is the mean HSV difference, 0 to 255, 27 is
    PySceneDetect's default. Minimum lengths are left to `fdvs.media.clips.cut`.

    Raises:
        ModelUnavailable: PySceneDetect is not installed.
        MediaError: as `open_reader`.
    """
    try:
        from scenedetect import ContentDetector, FrameTimecode
        from scenedetect.common import Timecode
    except ImportError as error:
        raise ModelUnavailable(
            f"scene detection needs PySceneDetect ({error}); pip install 'fdvs[scenes]', "
            "or cut at keyframes"
        ) from None
    detector = ContentDetector(threshold=threshold, min_scene_len=0)
    found_s: list[float] = []
    with open_reader(path, reader=reader, timeout_s=timeout_s) as source:
        rate = source.info.fps or 25.0
        for frame in source.iter_frames(every_s=0.0, short_side_px=_SHORT_SIDE_PX):
            pts = round(frame.time_s * _TICKS_PER_S)
            time = FrameTimecode(Timecode(pts=pts, time_base=Fraction(1, _TICKS_PER_S)), fps=rate)
            bgr = np.ascontiguousarray(frame.image[:, :, ::-1])
            if detector.process_frame(time, bgr) and frame.time_s > 0:
                found_s.append(frame.time_s)
    return found_s
