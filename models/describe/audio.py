"""A section of a video's audio track as samples: 16 kHz, mono. Knows no model.

Times count from the first picture, as everywhere. Gaps in the audio and a late start are filled
with silence, so that a word's time in the samples is its time in the video.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import BadModelOutput, MediaError
from fdvs.media.pyav_input import is_cover, media_errors, open_input

SAMPLE_RATE = 16_000
TIMEOUT_S = 30.0
# Audio time stamps jitter by about a packet; a longer gap is real.
GAP_S = 0.1

Samples = NDArray[np.float32]


def read_sound(path: Path, *, start_s: float, end_s: float) -> Samples | None:
    """Return float32 [num_samples] of [start_s, end_s) at 16 kHz, None without an audio stream.

    Shorter where the audio ends before `end_s`, possibly empty. Damaged packets are skipped.
    Raises BadModelOutput where the file cannot be read.
    """
    try:
        with (
            media_errors(TIMEOUT_S),
            open_input(path.absolute(), TIMEOUT_S) as container,
        ):
            stream = container.streams.best("audio")
            if stream is None or stream.codec_context is None:
                return None
            zero_s = first_picture_s(container)
            return _window(container, stream, start_s + zero_s, end_s + zero_s)
    except MediaError as error:
        raise BadModelOutput(f"the sound of {path.name} cannot be read: {error}") from None


def first_picture_s(container: Any) -> float:
    """Return the first picture's time on the container's clock; 0 without one."""
    for stream in container.streams.video:
        if not is_cover(stream) and stream.start_time is not None:
            return float(stream.start_time * stream.time_base)
    return 0.0


def _window(container: Any, stream: Any, start_s: float, end_s: float) -> Samples:
    """Place the audio frames of [start_s, end_s) (container seconds) by their time stamps."""
    samples = np.zeros(round((end_s - start_s) * SAMPLE_RATE), np.float32)
    filled = 0
    expected_s: float | None = None
    for time_s, frame in _mono(container, stream, start_s):
        if expected_s is None or abs(time_s - expected_s) > GAP_S:
            expected_s = time_s
        at = round((expected_s - start_s) * SAMPLE_RATE)
        if at >= len(samples):
            break
        expected_s += len(frame) / SAMPLE_RATE
        piece = frame[max(0, -at) : len(samples) - at]
        if len(piece):
            begin = max(0, at)
            samples[begin : begin + len(piece)] = piece
            filled = max(filled, begin + len(piece))
    return samples[:filled]


def _mono(container: Any, stream: Any, start_s: float) -> Iterator[tuple[float, Samples]]:
    """Yield (time, samples) of decoded and resampled frames from about `start_s` on."""
    import av

    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    for frame in _frames(container, stream, start_s):
        time_s = frame.time
        if time_s is None or time_s + frame.samples / frame.sample_rate < start_s:
            continue
        for mono in resampler.resample(frame):
            yield time_s, mono.to_ndarray()[0]
            time_s += mono.samples / SAMPLE_RATE


def _frames(container: Any, stream: Any, start_s: float) -> Iterator[Any]:
    import av
    from av.stream import Discard

    for other in container.streams:
        other.discard = Discard.default if other.index == stream.index else Discard.all
    # If seeking fails, decoding starts at the beginning and earlier packets are dropped.
    with contextlib.suppress(av.FFmpegError, OSError):
        container.seek(max(0, int(start_s / stream.time_base)), stream=stream)
    for packet in container.demux(stream):
        try:
            yield from packet.decode()
        except av.error.InvalidDataError:
            continue
