"""The sound of a file as samples: 16 kHz, float32, on the file's clock. Knows no model.

One pass over the file decodes it. Holes are filled with silence and overlaps trimmed, so that a
word's place in the samples is its time in the video.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import BadModelOutput, MediaError
from fdvs.media.pyav_input import Packets, decoded, media_errors, open_input
from fdvs.models.describe.languages import language_code
from fdvs.text.clean import one_line

SAMPLE_RATE = 16_000
TIMEOUT_S = 30.0
# Time stamps jitter by about a packet; a larger difference is a real hole or overlap.
JITTER_S = 0.1
# Time that runs back further is a clock that restarted: what follows is appended.
MAX_OVERLAP_S = 1.0
# A longer hole is not filled: what follows is a new block.
MAX_HOLE_S = 60.0
# Some containers seek to a packet behind the wanted time.
SEEK_MARGIN_S = 2.0
MAX_TITLE_CHARS = 80

Samples = NDArray[np.float32]
Channel = Literal["all", "left", "right", "difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioTrack:
    """An audio stream. `number` is its index in the file, `language` a code of ISO 639-1 or ""."""

    number: int
    codec: str
    num_channels: int
    language: str = ""
    title: str = ""
    is_default: bool = False
    is_commentary: bool = False
    has_decoder: bool = True

    @property
    def name(self) -> str:
        """Return `track 1 (aac, de, "Director")`."""
        title = f'"{self.title}"' if self.title else ""
        details = [part for part in (self.codec, self.language, title) if part]
        return f"track {self.number} ({', '.join(details)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Samples [num_channels, num_samples] that begin at `start_s` on the file's clock."""

    start_s: float
    samples: Samples

    @property
    def end_s(self) -> float:
        return self.start_s + len(self.samples[0]) / SAMPLE_RATE


def audio_tracks(path: Path) -> tuple[AudioTrack, ...]:
    """Return the audio streams of a file. Raises BadModelOutput where it cannot be opened."""
    try:
        with media_errors(TIMEOUT_S), open_input(path.absolute(), TIMEOUT_S) as container:
            return tuple(_track(stream) for stream in container.streams.audio)
    except MediaError as error:
        raise _unreadable(path, error) from None


def _track(stream: Any) -> AudioTrack:
    from av.stream import Disposition

    context = stream.codec_context
    title = one_line(stream.metadata.get("title", ""))[:MAX_TITLE_CHARS]
    special = Disposition.comment | Disposition.visual_impaired | Disposition.descriptions
    words = title.lower()
    return AudioTrack(
        number=stream.index,
        codec=context.name if context is not None else "unknown codec",
        num_channels=context.channels if context is not None else 0,
        language=language_code(stream.metadata.get("language", "")),
        title=title,
        is_default=bool(stream.disposition & Disposition.default),
        is_commentary=bool(stream.disposition & special) or "comment" in words or "descri" in words,
        has_decoder=context is not None,
    )


def mix(samples: Samples, channel: Channel) -> Samples:
    """Return [num_samples] of samples [num_channels, num_samples]: all channels or one."""
    if len(samples) < 2 or channel == "all":
        mixed = samples.mean(axis=0)
    elif channel == "difference":
        mixed = (samples[0] - samples[1]) / 2
    else:
        mixed = samples[0 if channel == "left" else 1]
    return np.asarray(mixed, np.float32)


class TrackSound:
    """The sound of one track, decoded once.

    Stereo has two channels, everything else is mixed to one. `error` says why decoding ended early.
    """

    def __init__(self, path: Path, track: AudioTrack, *, origin_s: float) -> None:
        self._path, self._track, self._origin_s = path, track, origin_s
        self.error: str | None = None

    def blocks(
        self, *, start_s: float = float("-inf"), end_s: float = float("inf")
    ) -> Iterator[Block]:
        """Yield blocks of [start_s, end_s) in time order, without overlap.

        Damaged packets are skipped. Raises BadModelOutput if nothing can be read.
        """
        for block in placed(self._frames(start_s)):
            if block.start_s >= end_s:
                break
            if part := _within(block, start_s, end_s):
                yield part

    def _frames(self, start_s: float) -> Iterator[tuple[float | None, Samples]]:
        """Yield (time on the file's clock, samples) as decoded."""
        is_read = False
        try:
            with (
                media_errors(TIMEOUT_S),
                open_input(self._path.absolute(), TIMEOUT_S) as container,
            ):
                stream = container.streams[self._track.number]
                _only(container, stream)
                if start_s > 0:
                    _seek(container, stream, start_s + self._origin_s)
                packets = Packets(container, stream)
                for time_s, samples in _resampled(packets, self._track.num_channels):
                    is_read = True
                    yield None if time_s is None else time_s - self._origin_s, samples
                self.error = packets.error
        except MediaError as error:
            if not is_read:
                raise _unreadable(self._path, error) from None
            self.error = str(error)


def placed(frames: Iterator[tuple[float | None, Samples]]) -> Iterator[Block]:
    """Yield decoded frames as blocks by their time stamps, with holes filled.

    A block begins where the last one ended unless a hole is longer than MAX_HOLE_S.
    """
    expected_s: float | None = None
    shift_s = 0.0
    for stamp_s, samples in frames:
        time_s = (expected_s or 0.0) if stamp_s is None else stamp_s + shift_s
        if expected_s is not None and stamp_s is not None:
            late_s = time_s - expected_s
            if late_s < -MAX_OVERLAP_S:
                shift_s -= late_s
                late_s = 0.0
            if abs(late_s) <= JITTER_S:
                late_s = 0.0
            elif late_s < 0:
                samples, late_s = samples[:, round(-late_s * SAMPLE_RATE) :], 0.0
            late_s = round(late_s * SAMPLE_RATE) / SAMPLE_RATE
            time_s = expected_s + late_s
            if 0 < late_s <= MAX_HOLE_S:
                silence = np.zeros((len(samples), round(late_s * SAMPLE_RATE)), np.float32)
                yield Block(start_s=expected_s, samples=silence)
        if samples.shape[-1]:
            yield Block(start_s=time_s, samples=samples)
        expected_s = time_s + samples.shape[-1] / SAMPLE_RATE


def _within(block: Block, start_s: float, end_s: float) -> Block | None:
    """Return the part of a block in [start_s, end_s), None where it is empty."""
    first, stop = 0, block.samples.shape[-1]
    if start_s > block.start_s:
        first = round((start_s - block.start_s) * SAMPLE_RATE)
    if end_s < block.end_s:
        stop = round((end_s - block.start_s) * SAMPLE_RATE)
    if first >= stop:
        return None
    start_s = block.start_s + first / SAMPLE_RATE
    return Block(start_s=start_s, samples=block.samples[:, first:stop])


def _only(container: Any, chosen: Any) -> None:
    from av.stream import Discard

    for stream in container.streams:
        stream.discard = Discard.default if stream.index == chosen.index else Discard.all


def _seek(container: Any, stream: Any, time_s: float) -> None:
    """Seek to just before a time; where that fails, decoding begins at the start of the file."""
    import av

    with contextlib.suppress(av.FFmpegError, OSError):
        container.seek(max(0, int((time_s - SEEK_MARGIN_S) / stream.time_base)), stream=stream)


def _resampled(packets: Iterable[Any], num_channels: int) -> Iterator[tuple[float | None, Samples]]:
    """Yield (container time, samples [num_channels, num_samples]) at 16 kHz."""
    import av

    layout = "stereo" if num_channels == 2 else "mono"
    resampler, setup = None, None
    for frame in (frame for packet in packets for frame in decoded(packet) or ()):
        # A format that changes in mid-file needs a new resampler.
        found = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or found != setup:
            resampler = av.AudioResampler(format="fltp", layout=layout, rate=SAMPLE_RATE)
            setup = found
        time_s = frame.time
        for part in resampler.resample(frame):
            yield time_s, part.to_ndarray()
            if time_s is not None:
                time_s += part.samples / SAMPLE_RATE


def _unreadable(path: Path, error: MediaError) -> BadModelOutput:
    return BadModelOutput(f"the sound of {path.name} cannot be read: {error}")
