"""The clock of a file: where its pictures and its sound lie, and where nothing happens.

Everything is measured from packets. Times of a container start anywhere, so they are moved to the
first picture that can be decoded (in a file without pictures, to the first sound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fdvs.text.timecode import timecode
from fdvs.types import Timeline

if TYPE_CHECKING:
    from av.packet import Packet

# Sound usually ends some packets after the pictures. A longer tail gets clips of its own.
MIN_TAIL_S = 1.0
# Longer than any useful clip: cutting such a stretch would describe one picture many times.
MIN_STILL_S = 60.0
# Sound packets lie in order and about 20 ms apart; a step back of a second is a restarted clock.
_RESTART_S = 1.0


@dataclass(slots=True)
class SoundTally:
    """Times of all sound packets in container seconds; all tracks count together."""

    start_s: float | None = None
    end_s: float = 0.0
    num_packets: int = 0
    seconds: set[int] = field(default_factory=set)
    _restarts: bool = False
    _lengths_s: dict[int, float] = field(default_factory=dict)
    _ends_s: dict[int, float] = field(default_factory=dict)
    _units_s: dict[int, float] = field(default_factory=dict)

    def add(self, packet: Packet[Any]) -> None:
        ticks = packet.pts if packet.pts is not None else packet.dts
        if ticks is None or packet.size == 0:
            return
        track = packet.stream_index
        if track not in self._units_s:
            self._units_s[track] = float(packet.time_base)
            self._lengths_s[track], self._ends_s[track] = 0.0, ticks * self._units_s[track]
        unit_s = self._units_s[track]
        start_s, length_s = ticks * unit_s, (packet.duration or 0) * unit_s
        self._restarts |= start_s < self._ends_s[track] - _RESTART_S
        self._ends_s[track] = start_s + length_s
        self._lengths_s[track] += length_s
        self.num_packets += 1
        self.start_s = start_s if self.start_s is None else min(self.start_s, start_s)
        self.end_s = max(self.end_s, start_s + length_s)
        self.seconds.add(int(start_s))

    def measured_end_s(self) -> float | None:
        """Return the end of the sound; where its clock restarts, the sum of the packets."""
        if self.start_s is None:
            return None
        if self._restarts:
            return self.start_s + max(self._lengths_s.values())
        return max(self.end_s, self.start_s)


def timeline(*, origin_s: float, pictures_end_s: float, sound: SoundTally) -> Timeline:
    """Return the file's timeline; `origin_s` is in container seconds, `pictures_end_s` after it."""
    end_s = sound.measured_end_s()
    sound_end_s = None if end_s is None else end_s - origin_s
    duration_s = pictures_end_s
    if sound_end_s is not None and sound_end_s >= pictures_end_s + MIN_TAIL_S:
        duration_s = sound_end_s
    return Timeline(
        origin_s=origin_s,
        pictures_end_s=pictures_end_s,
        sound_start_s=None if sound.start_s is None else sound.start_s - origin_s,
        sound_end_s=sound_end_s,
        duration_s=duration_s,
    )


def stills(
    pictures_s: NDArray[np.float64], sound: SoundTally, line: Timeline
) -> tuple[tuple[float, float], ...]:
    """Return the stretches of more than MIN_STILL_S without a new picture or sound, in order.

    `pictures_s` are the pictures' times on the file's clock. The end of the file bounds the last.
    """
    sounds_s = np.fromiter(sound.seconds, np.float64, len(sound.seconds)) - line.origin_s
    times_s = np.concatenate([pictures_s, sounds_s, [line.duration_s]])
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
