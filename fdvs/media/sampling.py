"""Sample frames of a clip, and measure the motion between them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Clip, Frame, Image

_GREY_SIDE_PX = 32


def sample_times(clip: Clip, num_frames: int) -> tuple[float, ...]:
    """Return `num_frames` evenly spaced times from the clip's start on, without its end.

    The paper's S^i (Eq. 1): the keyframe and frames at equal steps after it.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}; need 1 or more")
    step_s = clip.duration_s / num_frames
    return tuple(clip.start_s + index * step_s for index in range(num_frames))


def unique_frames(frames: Sequence[Frame]) -> list[Frame]:
    """Drop repeated pictures: in a short clip two times may show the same one."""
    seen_s: set[float] = set()
    unique = []
    for frame in frames:
        if frame.time_s not in seen_s:
            seen_s.add(frame.time_s)
            unique.append(frame)
    return unique


def motion(frames: Sequence[Frame]) -> float:
    """Return the mean absolute difference of neighbouring frames, 0 (still) to 1.

    Measured on small grey versions (ITU-R BT.601), so that noise and compression count little.
    Fewer than two frames have motion 0.
    """
    greys = [_small_grey(frame.image) for frame in frames]
    differences = [float(np.abs(a - b).mean()) for a, b in pairwise(greys)]
    return float(np.mean(differences)) / 255 if differences else 0.0


def _small_grey(image: Image) -> NDArray[np.float32]:
    from PIL import Image as Pillow

    small = (
        Pillow.fromarray(image)
        .convert("L")
        .resize((_GREY_SIDE_PX, _GREY_SIDE_PX), Pillow.Resampling.BOX)
    )
    return np.asarray(small, dtype=np.float32)
