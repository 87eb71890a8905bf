"""The default reader: PyAV, one seek per group of pictures, exact frames, constant memory.

A seek goes to the keyframe at or before the time asked for; if the first picture after it
is too late (MPEG-TS, open groups), earlier keyframes are tried, at last the start of the
file. Files without usable time stamps are read from the start, without seeking.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from fdvs.errors import UndecodableVideo
from fdvs.media.pyav_input import (
    Packets,
    counted,
    decoded,
    is_drain,
    media_errors,
    open_input,
    pick_stream,
    read_only,
)
from fdvs.media.readers import FileReader, Sizes
from fdvs.media.resize import MAX_PIXELS, display_size, orientation_of
from fdvs.media.scan import Scan
from fdvs.types import Frame, Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Times come from `(ticks - origin) * tick_s` in floating point; a microsecond makes the way
# back land on the same tick.
_SLACK_S = 1e-6


@dataclass(slots=True)
class Counts:
    """Operations of a reader since it was opened."""

    opens: int = 0
    seeks: int = 0
    back_offs: int = 0
    decoded: int = 0
    conversions: int = 0
    damaged: int = 0
    out_of_order: int = 0


class _Shown(NamedTuple):
    ticks: int
    frame: VideoFrame


class _Cursor:
    """A position in the decoded pictures, in presentation order."""

    def __init__(self, path: Path, facts: Scan, counts: Counts, timeout_s: float) -> None:
        self._path = path
        self._facts = facts
        self._counts = counts
        self._timeout_s = timeout_s
        self._container: InputContainer | None = None
        self._pictures: Iterator[_Shown] = iter(())

    def restart(self) -> None:
        """Go to the start of the file by opening it again: seeking there is not always exact."""
        self.close()
        self._container = open_input(self._path, self._timeout_s)
        self._counts.opens += 1
        stream = pick_stream(self._container)
        if stream is None:
            raise UndecodableVideo("no video stream; was the file replaced while it was read?")
        read_only(self._container, [stream])
        self._pictures = self._decode(stream)

    def seek(self, ticks: int) -> bool:
        """Go to the keyframe at or before `ticks`; False if the file cannot be sought."""
        import av

        if self._container is None:
            self.restart()
        assert self._container is not None
        stream = cast("VideoStream", self._container.streams[self._facts.info.stream_index])
        self._pictures = iter(())
        self._counts.seeks += 1
        try:
            self._container.seek(ticks, stream=stream)
        except (av.error.FFmpegError, OSError):
            return False
        self._pictures = self._decode(stream)
        return True

    def next(self) -> _Shown | None:
        with media_errors(self._timeout_s):
            return next(self._pictures, None)

    def close(self) -> None:
        self._pictures = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _decode(self, stream: VideoStream) -> Iterator[_Shown]:
        assert self._container is not None
        last = -(1 << 62)
        number = 0
        for packet in Packets(self._container, stream):
            for frame in self._frames(packet):
                ticks = frame.pts if self._facts.info.is_timed else number
                number += 1
                if ticks is None or ticks <= last:
                    self._counts.out_of_order += 1
                    continue
                last = ticks
                yield _Shown(ticks, frame)

    def _frames(self, packet: Packet[VideoStream]) -> list[VideoFrame]:
        frames = decoded(packet)
        # A drained decoder may complain once more; that is not damage.
        self._counts.damaged += frames is None and not is_drain(packet)
        self._counts.decoded += len(frames or ())
        return frames or []


class PyAVReader(FileReader):
    """The default reader of a local file."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        """Scan the file. Raises MediaError if it is not a readable video."""
        super().__init__(path, timeout_s=timeout_s)
        self.counts = Counts()
        self._cursor = _Cursor(self._path, self._facts, self.counts, timeout_s)
        self._held: _Shown | None = None  # the picture shown at the present position
        self._ahead: _Shown | None = None  # the one after it, if it was decoded already
        self._can_seek = True
        self._reformatter: object | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        warnings = list(self.info.warnings)
        if self.counts.damaged:
            warnings.append(f"{counted(self.counts.damaged, 'damaged packet')} skipped")
        if self.counts.out_of_order:
            warnings.append(f"{counted(self.counts.out_of_order, 'picture')} out of order skipped")
        return tuple(warnings)

    def close(self) -> None:
        super().close()
        self._held = self._ahead = None
        self._cursor.close()

    def _ticks(self, time_s: float) -> int:
        return self._facts.origin + int((time_s + _SLACK_S) / float(self._facts.tick_s))

    def _frames_at(self, times_s: Sequence[float], sizes: Sizes) -> Iterator[Frame]:
        last: tuple[int, Frame] | None = None
        for time_s in times_s:
            shown = self._show(self._ticks(time_s))
            if last is None or last[0] != shown.ticks:
                last = shown.ticks, self._picture(shown, sizes)
            yield last[1]

    def _iter_frames(self, every_s: float, sizes: Sizes) -> Iterator[Frame]:
        shown: _Shown | None = self._restart()
        step = (every_s - _SLACK_S) / float(self._facts.tick_s)
        due = float(shown.ticks) if shown is not None else 0.0
        while shown is not None:
            if shown.ticks >= due:
                due = shown.ticks + step
                yield self._picture(shown, sizes)
            self._check_open()
            shown = self._held = self._cursor.next()

    def _show(self, target: int) -> _Shown:
        """Move forward to the last picture at or before `target` and return it."""
        self._check_open()
        held = self._held
        if held is None or target < held.ticks or self._is_key_ahead(target):
            held = self._go_to(target)
        while True:
            following = self._ahead or self._cursor.next()
            if following is None or following.ticks > target:
                self._held, self._ahead = held, following
                return held
            held, self._ahead = following, None

    def _is_key_ahead(self, target: int) -> bool:
        """Return whether a keyframe lies between the decoder's position and the target."""
        if not self._can_seek:
            return False
        position = self._ahead or self._held
        place = bisect_right(self._facts.key_ticks, target) - 1
        return place >= 0 and position is not None and self._facts.key_ticks[place] > position.ticks

    def _is_key(self, ticks: int) -> bool:
        place = bisect_right(self._facts.key_ticks, ticks) - 1
        return place >= 0 and self._facts.key_ticks[place] == ticks

    def _go_to(self, target: int) -> _Shown:
        """Seek to a picture at or before `target`, further back as long as needed."""
        self._held = self._ahead = None
        place, step = bisect_right(self._facts.key_ticks, target) - 1, 1
        while self._can_seek and place > 0 and self._cursor.seek(self._facts.key_ticks[place]):
            first = self._cursor.next()
            if first is not None and not self._is_key(first.ticks):
                # Not a clean entry point (intra refresh, broken references): the pictures that
                # follow may be wrong, and other entry points are no better. Read forward.
                self._can_seek = False
            elif first is not None and first.ticks <= target:
                return first
            self.counts.back_offs += 1
            place, step = place - step, 2 * step
        return self._restart()

    def _restart(self) -> _Shown:
        self._check_open()
        self._held = self._ahead = None
        self._cursor.restart()
        first = self._cursor.next()
        if first is None:
            raise UndecodableVideo("no picture can be decoded")
        self._held = first
        return first

    def _picture(self, shown: _Shown, sizes: Sizes) -> Frame:
        """Convert at once, to keep only the small picture."""
        from av.video.reformatter import VideoReformatter

        frame = shown.frame
        if frame.width * frame.height > MAX_PIXELS:
            raise UndecodableVideo(f"picture of {frame.width}x{frame.height} is too large")
        if not isinstance(self._reformatter, VideoReformatter):
            self._reformatter = VideoReformatter()
        # One thread: the default pool costs up to twenty times the wall time on a busy machine.
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        self.counts.conversions += 1
        turn = orientation_of(frame)
        return self._frame(
            max(0.0, float((shown.ticks - self._facts.origin) * self._facts.tick_s)),
            cast(Image, rgb.to_ndarray()),
            sizes,
            orientation=turn,
            shape=display_size(frame.width, frame.height, self._facts.sar, turn.rotation_deg),
        )
