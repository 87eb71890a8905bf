"""Scan the packets of a file once for its facts: times, keyframes, duration, size, sound.

The container's own index, frame count and duration are not used: they are in decoding order,
missing or wrong too often. The first pictures are decoded as well: only they tell the orientation,
the first presentation time and whether time stamps run backwards. So is the first sound of a file
without pictures, since almost any bytes pass for the packets of some sound format.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fdvs.errors import NotAVideo, UndecodableVideo
from fdvs.media.clock import (
    MAX_DURATION_S,
    HoleTally,
    Peek,
    PictureTally,
    Sound,
    SoundTally,
    note_of_stills,
    stills,
    timeline,
)
from fdvs.media.pyav_input import (
    Packets,
    counted,
    decoded,
    is_drain,
    media_errors,
    open_input,
    pick_stream,
    read_only,
    why_no_stream,
)
from fdvs.media.resize import MAX_PIXELS, display_size
from fdvs.text.timecode import timecode
from fdvs.types import VideoInfo

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_RATES = (Fraction(1, 100), Fraction(1000))
_DEFAULT_RATE = Fraction(25)
_SHORT = 0.95
# Time stamps that make pictures last for more than an hour on average are garbage; ignoring them
# keeps a damaged file from being cut into a million clips.
_MAX_S_PER_PACKET = 3600.0
# A larger part of a transport or program stream without a packet of the streams that are read
# belongs to streams that begin in mid-file.
_MAX_HOLE = 0.1
_JOINABLE = frozenset({"mpegts", "mpeg"})
# FFmpeg estimates the duration of these from the bit rate.
_GUESSED_LENGTH = frozenset({"mp3", "aac"})
_MIN_SOUND_S = 0.04


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """What a reader needs beside VideoInfo.

    `ticks` are integers: presentation time stamps of the stream if they are reliable, otherwise
    frame numbers. A picture is shown at `(ticks - origin) * tick_s`. `key_ticks` are the places
    to seek to, sorted; empty for an untimed file, which is read from its start.
    `coded_size` is (width, height) as stored, before rotation and the sample aspect ratio `sar`.
    """

    info: VideoInfo
    origin: int
    tick_s: Fraction
    key_ticks: tuple[int, ...]
    coded_size: tuple[int, int]
    sar: Fraction | None = None


@dataclass(slots=True)
class _Seen:
    """What one pass over the packets found."""

    tally: PictureTally = field(default_factory=PictureTally)
    peek: Peek = field(default_factory=Peek)
    sound: Sound | None = None
    hole: HoleTally = field(default_factory=HoleTally)
    read_error: str | None = None


def scan(path: Path, *, timeout_s: float) -> Scan:
    """Read every packet of the pictures and the sound of a path that `check_file` has passed.

    A file without pictures is scanned for its sound alone.

    Raises:
        NotAVideo: no pictures and no sound in an allowed container.
        UndecodableVideo: neither can be decoded, or the file does not answer.
    """
    with open_input(path, timeout_s) as container, media_errors(timeout_s):
        stream = pick_stream(container)
        if stream is None:
            return _scan_sound(container, why="")
        _check_size(stream.codec_context.width, stream.codec_context.height)
        seen = _read(container, stream)
        if seen.peek.pts:
            _check_size(*seen.peek.size)
            facts = _facts(container, stream, seen)
            warnings = _warnings(facts, seen, path.stat().st_size)
            return replace(facts, info=replace(facts.info, warnings=tuple(warnings)))
    why = _why_no_picture(seen.tally, seen.peek)
    if seen.sound is None:
        raise UndecodableVideo(why)
    with open_input(path, timeout_s) as container, media_errors(timeout_s):
        return _scan_sound(container, why=why)


def _read(container: InputContainer, stream: VideoStream) -> _Seen:
    seen, sound = _Seen(), SoundTally()
    streams = [stream, *container.streams.audio]
    read_only(container, streams)
    packets = Packets(container, *streams)
    pictures = stream.index
    is_joinable = container.format.name in _JOINABLE
    for packet in packets:
        if is_joinable:
            seen.hole.add(packet.pos, packet.size, before=seen.tally.last_pts)
        if packet.stream_index != pictures:
            sound.add(packet)
            continue
        if not is_drain(packet):
            seen.tally.add(packet)
        seen.peek.feed(packet)
    seen.sound, seen.read_error = sound.measured(), packets.error
    return seen


def _check_size(width_px: int, height_px: int) -> None:
    if width_px * height_px > MAX_PIXELS:
        raise NotAVideo(f"picture of {width_px}x{height_px} is too large; allowed: {MAX_PIXELS} px")


def _why_no_picture(tally: PictureTally, peek: Peek) -> str:
    if tally.num_packets == 0:
        return "no picture in the video stream (0 packets)"
    packets, errors = counted(tally.num_packets, "packet"), counted(peek.num_errors, "error")
    return f"no picture can be decoded ({packets}, {errors})"


def _facts(container: InputContainer, stream: VideoStream, seen: _Seen) -> Scan:
    tally, peek = seen.tally, seen.peek
    timed = _timed(stream, tally, peek)
    scanned = timed or _untimed(stream, tally, peek)
    tick_s = scanned.tick_s
    pictures_end_s = float(scanned.num_ticks * tick_s)
    key_times_s = {0.0, *(float((key - scanned.origin) * tick_s) for key in scanned.key_ticks)}
    turn = peek.orientation
    width_px, height_px = display_size(*peek.size, stream.sample_aspect_ratio, turn.rotation_deg)
    line = timeline(
        origin_s=_origin_s(stream, tally, peek), pictures_end_s=pictures_end_s, sound=seen.sound
    )
    ticks = np.frombuffer(tally.pts, np.int64) if timed else np.arange(scanned.num_shown)
    pictures_s = (ticks - scanned.origin).astype(np.float64) * float(tick_s)
    info = VideoInfo(
        width_px=width_px,
        height_px=height_px,
        duration_s=line.duration_s,
        declared_duration_s=_declared_s(container, stream),
        fps=scanned.num_shown / pictures_end_s,
        rotation_deg=turn.rotation_deg,
        codec=stream.codec_context.codec.canonical_name,
        container=container.format.name,
        stream_index=stream.index,
        has_audio=len(container.streams.audio) > 0,
        is_timed=timed is not None,
        num_packets=tally.num_packets,
        key_times_s=tuple(sorted(key_times_s)),
        timeline=line,
        is_mirrored=turn.is_mirrored,
        stills_s=stills(pictures_s, seen.sound, line),
    )
    return Scan(
        info=info,
        origin=scanned.origin,
        tick_s=tick_s,
        key_ticks=tuple(scanned.key_ticks) if timed is not None else (),
        coded_size=peek.size,
        sar=stream.sample_aspect_ratio,
    )


def _origin_s(stream: VideoStream, tally: PictureTally, peek: Peek) -> float:
    """Return the first picture's time on the container's clock; 0 where nothing tells it."""
    known = peek.pts[0] if peek.pts[0] is not None else min(tally.pts, default=stream.start_time)
    return float((known or 0) * stream.time_base) if stream.time_base is not None else 0.0


def _scan_sound(container: InputContainer, *, why: str) -> Scan:
    """Scan a file for its sound alone; `why` says what is wrong with its pictures, if any."""
    stream = container.streams.best("audio")
    if stream is None:
        raise NotAVideo(why_no_stream(container))
    if stream.codec_context is None:
        raise NotAVideo("no decoder for the codec of the sound")
    read_only(container, container.streams.audio)
    packets = Packets(container, *container.streams.audio)
    tally, is_decoded = SoundTally(), False
    for packet in packets:
        tally.add(packet)
        if packet.stream_index == stream.index and not is_decoded:
            is_decoded = len(decoded(packet) or ()) > 0
    sound = tally.measured()
    if not is_decoded or sound is None:
        broken = f"no sound can be decoded ({counted(tally.num_packets, 'packet')})"
        raise UndecodableVideo(f"{why}; {broken}" if why else broken)
    info = _sound_info(container, stream, sound, tally.num_packets)
    warnings = [f"only the sound is used: {why}"] if why else []
    warnings += _damage(info, packets.error, covered_s=info.duration_s)
    return Scan(
        info=replace(info, warnings=tuple(warnings)),
        origin=0,
        tick_s=Fraction(1),
        key_ticks=(),
        coded_size=(0, 0),
    )


def _sound_info(
    container: InputContainer, stream: Any, sound: Sound, num_packets: int
) -> VideoInfo:
    line = timeline(origin_s=sound.start_s, pictures_end_s=0.0, sound=sound)
    end_s = max(line.sound_end_s or 0.0, _MIN_SOUND_S)
    line = replace(line, sound_end_s=end_s, duration_s=end_s)
    name = container.format.name
    return VideoInfo(
        width_px=0,
        height_px=0,
        duration_s=end_s,
        declared_duration_s=None if name in _GUESSED_LENGTH else _declared_s(container, stream),
        fps=None,
        rotation_deg=0,
        codec=stream.codec_context.codec.canonical_name,
        container=name,
        stream_index=stream.index,
        has_audio=True,
        is_timed=True,
        num_packets=num_packets,
        key_times_s=(0.0,),
        timeline=line,
        stills_s=stills(np.empty(0), sound, line),
    )


class _Clock(NamedTuple):
    origin: int
    tick_s: Fraction
    key_ticks: list[int]
    num_ticks: int
    num_shown: int


def _timed(stream: VideoStream, tally: PictureTally, peek: Peek) -> _Clock | None:
    """Return presentation times; None if they are unreliable."""
    time_base = stream.time_base
    origin = peek.pts[0]
    if time_base is None or origin is None or not (tally.is_ordered() and peek.is_ordered()):
        return None
    tick_s = Fraction(time_base)
    last = tally.last_duration or _frame_ticks(stream, tally, tick_s)
    num_ticks = max(1, tally.last_pts + last - origin)
    if num_ticks * tick_s > min(_MAX_S_PER_PACKET * tally.num_packets, MAX_DURATION_S):
        return None
    keys = sorted(pts for pts in set(tally.key_pts) if pts >= origin)
    return _Clock(origin, tick_s, keys, num_ticks, sum(pts >= origin for pts in tally.pts))


def _frame_ticks(stream: VideoStream, tally: PictureTally, tick_s: Fraction) -> int:
    """Return how long the last picture is shown if its packet does not say so."""
    if len(tally.pts) > 1:
        return max(1, (max(tally.pts) - min(tally.pts)) // (len(tally.pts) - 1))
    return max(1, round(1 / (_rate(stream) * tick_s)))


def _untimed(stream: VideoStream, tally: PictureTally, peek: Peek) -> _Clock:
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


def _warnings(found: Scan, seen: _Seen, size_bytes: int) -> list[str]:
    info, tally = found.info, seen.tally
    warnings = []
    if not info.is_timed:
        rate = float(1 / found.tick_s)
        warnings.append(f"{_why_untimed(seen)}: frames numbered at {rate:g} fps")
    elif num_untimed := tally.num_untimed():
        warnings.append(f"{counted(num_untimed, 'packet')} without a time stamp of its own")
    if tally.num_corrupt:
        warnings.append(f"{counted(tally.num_corrupt, 'packet')} flagged damaged")
    # Packets before the first picture (a file cut at its front) are included.
    covered_s = info.duration_s
    if info.is_timed:
        covered_s += float((found.origin - min(tally.pts)) * found.tick_s)
    warnings += _damage(info, seen.read_error, covered_s=covered_s)
    warnings += [
        note for note in (note_of_stills(info.stills_s), _hole(found, seen, size_bytes)) if note
    ]
    return warnings


def _why_untimed(seen: _Seen) -> str:
    tally = seen.tally
    if tally.pts and seen.peek.pts[0] is not None and tally.is_ordered() and seen.peek.is_ordered():
        return (
            f"time stamps claim far more time than {counted(tally.num_packets, 'picture')} can last"
        )
    return "time stamps are missing, repeated or run backwards"


def _damage(info: VideoInfo, read_error: str | None, *, covered_s: float) -> list[str]:
    """Return warnings of a file that ends too early; `covered_s` is what was found of it."""
    warnings = []
    if read_error is not None:
        warnings.append(f"reading stopped at {info.duration_s:.1f} s: {read_error}")
    declared_s, line = info.declared_duration_s, info.timeline
    if declared_s is not None and line is not None:
        sound_end_s = line.origin_s + (line.sound_end_s or 0.0)
        if max(covered_s, sound_end_s) < _SHORT * declared_s:
            warnings.append(f"truncated: {info.duration_s:.1f} s of {declared_s:.1f} s declared")
    return warnings


def _hole(found: Scan, seen: _Seen, size_bytes: int) -> str:
    """Return a note on a large part of a joined file that no packet was read from, or ""."""
    if found.info.container not in _JOINABLE:
        return ""
    seen.hole.add(size_bytes, 0, before=seen.tally.last_pts)
    share = seen.hole.num_bytes / size_bytes
    if share < _MAX_HOLE:
        return ""
    where = "at its start"
    if found.info.is_timed and seen.hole.before is not None and seen.tally.num_packets:
        before_s = float((seen.hole.before - found.origin) * found.tick_s)
        if before_s > 0:
            where = f"after {timecode(before_s)}"
    return (
        f"{share:.0%} of the file, {where}, belongs to streams that begin in mid-file and are not "
        "read (joined recordings?); to read all of it, split the file or join it with ffmpeg"
    )
