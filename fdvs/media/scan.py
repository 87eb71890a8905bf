"""Scan the packets of a file once for its facts: times, keyframes, duration, size.

About a third of a second for an hour of video. The container's own index, frame count and
duration are not used: they are in decoding order, missing or wrong too often. The first
pictures are decoded as well: only they tell the rotation, the first presentation time and
whether time stamps run backwards.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fdvs.errors import NotAVideo, UndecodableVideo
from fdvs.media.pyav_input import (
    Packets,
    counted,
    is_drain,
    last_end_s,
    media_errors,
    open_input,
    pick_stream,
)
from fdvs.media.resize import MAX_PIXELS, display_size, right_angle
from fdvs.types import VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

NUM_PEEK_FRAMES = 32
_RATES = (Fraction(1, 100), Fraction(1000))
_DEFAULT_RATE = Fraction(25)
_SHORT = 0.95
_MAX_UNTIMED = 0.01
# Time stamps that make pictures last for more than an hour on average are garbage; ignoring them
# keeps a damaged file from being cut into a million clips.
_MAX_S_PER_PACKET = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a reader needs beside VideoInfo.

    `ticks` are integers: presentation time stamps of the stream if they are reliable, otherwise
    frame numbers. A picture is shown at `(ticks - origin) * tick_s`. `key_ticks` are the places
    to seek to, sorted; empty for an untimed file, which is read from its start.
    `coded_size` is (width, height) as stored, before rotation and aspect ratio.
    """

    info: VideoInfo
    origin: int
    tick_s: Fraction
    key_ticks: tuple[int, ...]
    coded_size: tuple[int, int]


@dataclass(slots=True)
class _Tally:
    """Time stamps of the packets in file order, without those that are never shown."""

    pts: array[int] = field(default_factory=lambda: array("q"))
    key_pts: list[int] = field(default_factory=list)
    key_ordinals: list[int] = field(default_factory=list)
    last_pts: int = -(1 << 62)
    last_duration: int = 0
    last_dts: int | None = None
    num_shown: int = 0
    num_packets: int = 0
    num_corrupt: int = 0
    num_backwards: int = 0

    def add(self, packet: Packet[VideoStream]) -> None:
        self.num_packets += 1
        self.num_corrupt += packet.is_corrupt
        if packet.dts is not None:
            if self.last_dts is not None and packet.dts < self.last_dts:
                self.num_backwards += 1
            self.last_dts = packet.dts
        if packet.is_discard:
            return
        if packet.is_keyframe:
            self.key_ordinals.append(self.num_shown)
        self.num_shown += 1
        if packet.pts is not None:
            self._add_pts(packet, packet.pts)

    def _add_pts(self, packet: Packet[VideoStream], pts: int) -> None:
        self.pts.append(pts)
        if packet.is_keyframe:
            self.key_pts.append(pts)
        if pts > self.last_pts:
            self.last_pts, self.last_duration = pts, packet.duration or 0

    def is_ordered(self) -> bool:
        """Return whether presentation times are reliable; decoding time must never go back.

        A few packets without a time of their own are accepted: their pictures are skipped and
        counted. Numbering all pictures instead would shift every later one.
        """
        return self.num_backwards == 0 and self.num_untimed() <= _MAX_UNTIMED * self.num_shown

    def num_untimed(self) -> int:
        """Return the number of shown packets whose presentation time is missing or repeated."""
        pts = np.frombuffer(self.pts, dtype=np.int64) if self.pts else np.empty(0, np.int64)
        return self.num_shown - len(np.unique(pts))


@dataclass(slots=True)
class _Peek:
    """The first decoded pictures."""

    pts: list[int | None] = field(default_factory=list)
    rotation_deg: int = 0
    size: tuple[int, int] = (0, 0)
    num_errors: int = 0

    def feed(self, packet: Packet[VideoStream]) -> None:
        import av

        if len(self.pts) >= NUM_PEEK_FRAMES:
            return
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, EOFError):
            self.num_errors += 1
            return
        for frame in frames:
            if not self.pts:
                self.rotation_deg = right_angle(frame.rotation)
                self.size = (frame.width, frame.height)
            self.pts.append(frame.pts)

    def is_ordered(self) -> bool:
        known = [pts for pts in self.pts if pts is not None]
        return len(known) == len(self.pts) and all(a < b for a, b in pairwise(known))


def scan(path: Path, *, timeout_s: float) -> Scan:
    """Read every packet of an absolute path that `check_file` has passed.

    Raises:
        NotAVideo: no video stream in an allowed container.
        UndecodableVideo: no picture can be decoded, or the file does not answer.
    """
    with open_input(path, timeout_s) as container, media_errors(timeout_s):
        stream = pick_stream(container)
        _check_size(stream.codec_context.width, stream.codec_context.height)
        tally, peek = _Tally(), _Peek()
        packets = Packets(container, stream)
        for packet in packets:
            if not is_drain(packet):
                tally.add(packet)
            peek.feed(packet)
        if not peek.pts:
            raise UndecodableVideo(_why_no_picture(tally, peek))
        _check_size(*peek.size)
        found = _facts(container, stream, tally, peek)
    warnings = _warnings(path, found, tally, packets.error, timeout_s)
    return replace(found, info=replace(found.info, warnings=warnings))


def _check_size(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise NotAVideo(f"picture of {width_px}x{height_px} is too large; allowed: {MAX_PIXELS} px")


def _why_no_picture(tally: _Tally, peek: _Peek) -> str:
    if tally.num_packets == 0:
        return "no picture in the video stream (0 packets)"
    packets, errors = counted(tally.num_packets, "packet"), counted(peek.num_errors, "error")
    return f"no picture can be decoded ({packets}, {errors})"


def _facts(container: InputContainer, stream: VideoStream, tally: _Tally, peek: _Peek) -> Scan:
    timed = _timed(stream, tally, peek)
    scanned = timed or _untimed(stream, tally, peek)
    tick_s = scanned.tick_s
    duration_s = float(scanned.num_ticks * tick_s)
    key_times_s = {0.0, *(float((key - scanned.origin) * tick_s) for key in scanned.key_ticks)}
    width_px, height_px = display_size(*peek.size, stream.sample_aspect_ratio, peek.rotation_deg)
    info = VideoInfo(
        width_px=width_px,
        height_px=height_px,
        duration_s=duration_s,
        declared_duration_s=_declared_s(container, stream),
        fps=scanned.num_shown / duration_s,
        rotation_deg=peek.rotation_deg,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        stream_index=stream.index,
        has_audio=len(container.streams.audio) > 0,
        is_timed=timed is not None,
        num_packets=tally.num_packets,
        key_times_s=tuple(sorted(key_times_s)),
    )
    return Scan(
        info=info,
        origin=scanned.origin,
        tick_s=tick_s,
        key_ticks=tuple(scanned.key_ticks) if timed is not None else (),
        coded_size=peek.size,
    )


class _Clock(NamedTuple):
    origin: int
    tick_s: Fraction
    key_ticks: list[int]
    num_ticks: int
    num_shown: int


def _timed(stream: VideoStream, tally: _Tally, peek: _Peek) -> _Clock | None:
    """Return presentation times; None if they are unreliable."""
    time_base = stream.time_base
    origin = peek.pts[0]
    if time_base is None or origin is None or not (tally.is_ordered() and peek.is_ordered()):
        return None
    tick_s = Fraction(time_base)
    last = tally.last_duration or _frame_ticks(stream, tally, tick_s)
    num_ticks = max(1, tally.last_pts + last - origin)
    if num_ticks * tick_s > _MAX_S_PER_PACKET * tally.num_packets:
        return None
    keys = sorted(pts for pts in set(tally.key_pts) if pts >= origin)
    return _Clock(origin, tick_s, keys, num_ticks, sum(pts >= origin for pts in tally.pts))


def _frame_ticks(stream: VideoStream, tally: _Tally, tick_s: Fraction) -> int:
    """Return how long the last picture is shown if its packet does not say so."""
    if len(tally.pts) > 1:
        return max(1, (max(tally.pts) - min(tally.pts)) // (len(tally.pts) - 1))
    return max(1, round(1 / (_rate(stream) * tick_s)))


def _untimed(stream: VideoStream, tally: _Tally, peek: _Peek) -> _Clock:
    """Number the frames; keyframes are known only by their place in decoding order."""
    num_frames = max(tally.num_shown, len(peek.pts))
    return _Clock(0, 1 / _rate(stream), tally.key_ordinals, num_frames, num_frames)


def _rate(stream: VideoStream) -> Fraction:
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate is not None and _RATES[0] <= rate <= _RATES[1]:
            return Fraction(rate)
    return _DEFAULT_RATE


def _declared_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Return the duration in the header, of this stream or else of the whole file."""
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    tag = _tag_s(stream.metadata)
    if tag is not None:
        return tag
    return container.duration / 1e6 if container.duration and container.duration > 0 else None


def _tag_s(metadata: dict[str, Any]) -> float | None:
    """Read Matroska's DURATION tag, `00:00:10.000000000`."""
    parts = str(metadata.get("DURATION", "")).split(":")
    try:
        hours, minutes, seconds = (float(part) for part in parts)
    except ValueError:
        return None
    total_s = hours * 3600 + minutes * 60 + seconds
    return total_s if 0 < total_s < 1e9 else None


def _warnings(
    path: Path, found: Scan, tally: _Tally, read_error: str | None, timeout_s: float
) -> tuple[str, ...]:
    info = found.info
    warnings = []
    if not info.is_timed:
        rate = float(1 / found.tick_s)
        warnings.append(
            f"time stamps are missing, repeated or run backwards: frames numbered at {rate:g} fps"
        )
    elif num_untimed := tally.num_untimed():
        warnings.append(f"{counted(num_untimed, 'packet')} without a time stamp of its own")
    if read_error is not None:
        warnings.append(f"reading stopped at {info.duration_s:.1f} s: {read_error}")
    if tally.num_corrupt:
        warnings.append(f"{counted(tally.num_corrupt, 'packet')} flagged damaged")
    declared_s = info.declared_duration_s
    # Packets before the first picture (a file cut at its front) are included.
    covered_s = info.duration_s
    if info.is_timed:
        covered_s += float((found.origin - min(tally.pts)) * found.tick_s)
    if declared_s is not None and covered_s < _SHORT * declared_s:
        # Sound may continue after the last picture; that is not damage.
        others_s = last_end_s(path, timeout_s) if info.has_audio else 0.0
        if others_s < _SHORT * declared_s:
            warnings.append(f"truncated: {info.duration_s:.1f} s of {declared_s:.1f} s declared")
    return tuple(warnings)
