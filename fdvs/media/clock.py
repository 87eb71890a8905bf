"""The clock of a file: where its pictures and its sound lie, and where nothing happens.

Everything is measured from packets. Times of a container start anywhere, so they are moved to the
first picture that can be decoded (in a file without pictures, to the first sound).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fdvs.media.pyav_input import decoded
from fdvs.media.resize import UPRIGHT, Orientation, orientation_of
from fdvs.text.timecode import timecode
from fdvs.types import Timeline

if TYPE_CHECKING:
    from av.packet import Packet

# Sound usually ends some packets after the pictures. A longer tail gets clips of its own.
MIN_TAIL_S = 1.0
# 115 days: a clock that claims more is garbage.
MAX_DURATION_S = 1e7
# Longer than any useful clip: cutting such a stretch would describe one picture many times.
MIN_STILL_S = 60.0
# Sound packets lie in order and about 20 ms apart; a step back of a second is a restarted clock.
_RESTART_S = 1.0

NUM_PEEK_FRAMES = 32
_MAX_UNTIMED = 0.01


@dataclass(slots=True)
class PictureTally:
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

    def add(self, packet: Packet[Any]) -> None:
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

    def _add_pts(self, packet: Packet[Any], pts: int) -> None:
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
class Peek:
    """The first decoded pictures."""

    pts: list[int | None] = field(default_factory=list)
    orientation: Orientation = UPRIGHT
    size: tuple[int, int] = (0, 0)
    num_errors: int = 0

    def feed(self, packet: Packet[Any]) -> None:
        if len(self.pts) >= NUM_PEEK_FRAMES:
            return
        frames = decoded(packet)
        self.num_errors += frames is None
        for frame in frames or ():
            if not self.pts:
                self.orientation = orientation_of(frame)
                self.size = (frame.width, frame.height)
            self.pts.append(frame.pts)

    def is_ordered(self) -> bool:
        known = [pts for pts in self.pts if pts is not None]
        return len(known) == len(self.pts) and all(a < b for a, b in pairwise(known))


class Sound(NamedTuple):
    """Where the sound of a file lies, in container seconds, all tracks together.

    `active_s` are the whole seconds in which a packet begins, unsorted.
    """

    start_s: float
    end_s: float
    active_s: NDArray[np.float64]


@dataclass(slots=True)
class _Track:
    unit_s: float
    first_length: int
    pts: array[int] = field(default_factory=lambda: array("q"))

    def measured(self) -> Sound:
        times_s = np.frombuffer(self.pts, np.int64) * self.unit_s
        steps_s = np.diff(times_s)
        length_s = float(np.median(steps_s)) if len(steps_s) else self.first_length * self.unit_s
        length_s = max(0.0, length_s)
        start_s, end_s = float(times_s.min()), float(times_s.max()) + length_s
        if np.any(steps_s < -_RESTART_S) or end_s - start_s > MAX_DURATION_S:
            end_s = start_s + len(times_s) * length_s
        return Sound(start_s, end_s, np.unique(np.floor(times_s)))


@dataclass(slots=True)
class SoundTally:
    """Times of all sound packets. There are many: counting one must be cheap."""

    _tracks: dict[int, _Track] = field(default_factory=dict)

    def add(self, packet: Packet[Any]) -> None:
        ticks = packet.pts
        if ticks is None and (ticks := packet.dts) is None:
            return
        track = self._tracks.get(packet.stream_index)
        if track is None:
            track = _Track(float(packet.time_base), packet.duration or 0)
            self._tracks[packet.stream_index] = track
        track.pts.append(ticks)

    @property
    def num_packets(self) -> int:
        return sum(len(track.pts) for track in self._tracks.values())

    def measured(self) -> Sound | None:
        """Return where the sound lies, None without any.

        Where a track's clock restarts or is garbage, its end is counted by its packets.
        """
        found = [track.measured() for track in self._tracks.values()]
        if not found:
            return None
        return Sound(
            min(sound.start_s for sound in found),
            max(sound.end_s for sound in found),
            np.concatenate([sound.active_s for sound in found]),
        )


@dataclass(slots=True)
class HoleTally:
    """Finds the largest part of a file that no packet came from, by the packets' byte positions."""

    last_byte: int = 0
    num_bytes: int = 0
    before: int | None = None

    def add(self, start_byte: int | None, size_bytes: int, *, before: int | None) -> None:
        """Count a packet; `before` is the time stamp of the last picture before it."""
        if start_byte is None or start_byte < 0:
            return
        if start_byte - self.last_byte > self.num_bytes:
            self.num_bytes, self.before = start_byte - self.last_byte, before
        self.last_byte = max(self.last_byte, start_byte + size_bytes)


def timeline(*, origin_s: float, pictures_end_s: float, sound: Sound | None) -> Timeline:
    """Return the file's timeline; `origin_s` is in container seconds, `pictures_end_s` after it."""
    sound_end_s = None if sound is None else sound.end_s - origin_s
    duration_s = pictures_end_s
    if sound_end_s is not None and sound_end_s >= pictures_end_s + MIN_TAIL_S:
        duration_s = sound_end_s
    return Timeline(
        origin_s=origin_s,
        pictures_end_s=pictures_end_s,
        sound_start_s=None if sound is None else sound.start_s - origin_s,
        sound_end_s=sound_end_s,
        duration_s=duration_s,
    )


def stills(
    pictures_s: NDArray[np.float64], sound: Sound | None, line: Timeline
) -> tuple[tuple[float, float], ...]:
    """Return the stretches of more than MIN_STILL_S without a new picture or sound, in order.

    `pictures_s` are the pictures' times on the file's clock. The end of the file bounds the last.
    """
    times_s = np.concatenate([pictures_s, [line.duration_s]])
    if sound is not None:
        times_s = np.concatenate([times_s, sound.active_s - line.origin_s])
    times_s = np.unique(times_s[(times_s >= 0) & (times_s <= line.duration_s)])
    places = np.flatnonzero(np.diff(times_s) > MIN_STILL_S)
    return tuple((float(times_s[at]), float(times_s[at + 1])) for at in places)


def note_of_stills(stills_s: Sequence[tuple[float, float]]) -> str:
    """Return one sentence on the stretches where nothing happens; "" if there are none."""
    if not stills_s:
        return ""
    start_s, end_s = max(stills_s, key=lambda still: still[1] - still[0])
    where = f"from {timecode(start_s)} to {timecode(end_s)}"
    if len(stills_s) == 1:
        return f"no new picture and no sound {where}: cut as one clip"
    return (
        f"{len(stills_s)} stretches of more than {MIN_STILL_S:g} s without a new picture or sound, "
        f"the longest {where}: each cut as one clip"
    )
