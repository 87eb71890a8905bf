"""The second reader: the ffmpeg program, which decodes a file from its start into a pipe.

An independent decoder in a process of its own that can be killed: it checks the first reader and
replaces it if that one fails. It costs more, since every picture is converted and nothing is
skipped by seeking. Facts of the file come from the scan, pictures and their times from ffmpeg: a
filter writes each picture's time to a second pipe before the picture itself is written.
"""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import subprocess
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from fdvs.errors import ModelUnavailable, UndecodableVideo, how_to_install
from fdvs.media.files import FORMATS, PROTOCOLS
from fdvs.media.pyav_input import MAX_THREADS, counted, message_of
from fdvs.media.readers import FileReader, Sizes
from fdvs.media.scan import Scan
from fdvs.types import Frame, Image

_TICKS_PER_S = 1_000_000
# Times are rounded to microseconds by ffmpeg and compared with unrounded ones.
_SLACK_S = 2e-6
_TIME_LINE = re.compile(rb"frame:\d+ +pts:(-?\d+|NOPTS) ")
_DAMAGED = b"Error submitting packet to decoder"
_MAX_LINE_BYTES = 4096
_INPUT = "file:input"


def ffmpeg_program() -> str:
    """Return the ffmpeg to run: FDVS_FFMPEG, else the one of imageio-ffmpeg.

    Raises ModelUnavailable if there is none.
    """
    named = os.environ.get("FDVS_FFMPEG")
    if named:
        if not os.access(named, os.X_OK):
            raise ModelUnavailable(f"FDVS_FFMPEG is {named!r}: no such program; unset it or fix it")
        return named
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ModelUnavailable(
            f"no ffmpeg program ({message_of(error)}); {how_to_install()}, or set FDVS_FFMPEG"
        ) from None


def command(program: str, path: Path, facts: Scan, times_fd: int) -> list[str]:
    """Return the argument list that writes RGB pictures to stdout and times to `times_fd`."""
    import ffmpeg

    width_px, height_px = _upright(facts)
    filters = (
        f"settb=1/{_TICKS_PER_S},metadata=mode=add:key=fdvs:value=1,"
        f"metadata=mode=print:key=fdvs:file='pipe\\:{times_fd}':direct=1,"
        # A fixed size: a picture of another size in mid-stream would shift all that follow. It
        # keeps its shape, between black bars.
        f"scale={width_px}:{height_px}:force_original_aspect_ratio=decrease,format=rgb24,"
        f"pad={width_px}:{height_px}:(ow-iw)/2:(oh-ih)/2:black"
    )
    source = ffmpeg.input(
        _INPUT,
        protocol_whitelist=PROTOCOLS,
        format_whitelist=FORMATS,
        threads=MAX_THREADS,
    )
    output = ffmpeg.output(
        source[str(facts.info.stream_index)],
        "pipe:1",
        vf=filters,
        fps_mode="passthrough",
        max_error_rate=1,
        format="rawvideo",
    )
    arguments: list[str] = ffmpeg.compile(output, cmd=[program, "-v", "error", "-nostdin"])
    # Replaced afterwards: ffmpeg-python accepts only names in UTF-8.
    return ["file:" + os.fspath(path) if word == _INPUT else word for word in arguments]


def _upright(facts: Scan) -> tuple[int, int]:
    width_px, height_px = facts.coded_size
    return (height_px, width_px) if facts.info.rotation_deg % 180 else (width_px, height_px)


class _Process:
    """A running ffmpeg, which yields (microseconds or None, picture) in file order."""

    def __init__(self, path: Path, facts: Scan, timeout_s: float) -> None:
        self._size = _upright(facts)
        self._timeout_s = timeout_s
        self._times: deque[int | None] = deque()
        self._rest = {"times": b"", "log": b""}
        self.num_damaged = 0
        self.last_words = ""
        read_fd, write_fd = os.pipe()
        try:
            self._process = subprocess.Popen(
                command(ffmpeg_program(), path, facts, write_fd),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=(write_fd,),
            )
        except BaseException:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)
        self._times_fd = read_fd
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._pictures_fd = self._process.stdout.fileno()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pictures_fd, selectors.EVENT_READ, "pictures")
        self._selector.register(read_fd, selectors.EVENT_READ, "times")
        self._selector.register(self._process.stderr.fileno(), selectors.EVENT_READ, "log")

    def next(self) -> tuple[int | None, Image] | None:
        """Return the next picture, None at the end."""
        width_px, height_px = self._size
        image = np.empty((height_px, width_px, 3), dtype=np.uint8)
        buffer = memoryview(image.data).cast("B")
        filled = 0
        while filled < len(buffer):
            read = self._step(buffer[filled:])
            if read is None:
                return None
            filled += read
        # The time was written first, so it is in the pipe by now.
        while not self._times:
            if not self._read_lines(self._times_fd, "times"):
                return None
        return self._times.popleft(), image

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._selector.close()
        os.close(self._times_fd)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _step(self, wanted: memoryview) -> int | None:
        """Wait for any pipe; return the number of picture bytes read, None at their end."""
        ready = self._selector.select(self._timeout_s)
        if not ready:
            self._process.kill()
            raise UndecodableVideo(f"ffmpeg gave nothing for {self._timeout_s:g} s")
        num_read: int | None = 0
        for key, _ in ready:
            if key.data == "pictures":
                num_read = os.readv(key.fd, [wanted]) or None
            elif not self._read_lines(key.fd, key.data):
                self._selector.unregister(key.fd)
        return num_read

    def _read_lines(self, fd: int, name: str) -> bool:
        data = os.read(fd, 1 << 16)
        *lines, rest = (self._rest[name] + data).split(b"\n")
        self._rest[name] = rest[-_MAX_LINE_BYTES:]
        for line in lines:
            if name == "log":
                self.num_damaged += _DAMAGED in line
                self.last_words = message_of(line.decode("utf-8", "replace"))
            elif found := _TIME_LINE.match(line):
                self._times.append(None if found[1] == b"NOPTS" else int(found[1]))
        return bool(data)


class FfmpegReader(FileReader):
    """Reads a local file through the ffmpeg program."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        """Scan the file.

        Raises:
            MediaError: it is not a readable video.
            ModelUnavailable: there is no ffmpeg program.
        """
        super().__init__(path, timeout_s=timeout_s)
        ffmpeg_program()
        self._process: _Process | None = None
        self._pictures: Iterator[Frame] = iter(())
        self._held: Frame | None = None
        self._ahead: Frame | None = None
        self._num_damaged = 0
        self.num_starts = 0

    @property
    def warnings(self) -> tuple[str, ...]:
        running = self._process.num_damaged if self._process is not None else 0
        num_damaged = max(running, self._num_damaged)
        damaged = (f"{counted(num_damaged, 'damaged packet')} skipped",) if num_damaged else ()
        return self.info.warnings + damaged

    def close(self) -> None:
        super().close()
        self._stop()

    def _stop(self) -> None:
        self._held = self._ahead = None
        self._pictures = iter(())
        if self._process is not None:
            self._num_damaged = max(self._num_damaged, self._process.num_damaged)
            self._process.close()
            self._process = None

    def _restart(self) -> Frame:
        self._check_open()
        self._stop()
        self._process = _Process(self._path, self._facts, self._timeout_s)
        self.num_starts += 1
        self._pictures = self._decode(self._process)
        first = next(self._pictures, None)
        if first is None:
            words = self._process.last_words or "no picture"
            raise UndecodableVideo(f"ffmpeg cannot decode it: {words}")
        self._held = first
        return first

    def _decode(self, process: _Process) -> Iterator[Frame]:
        """Yield full-size pictures with rising times from 0 on."""
        first: int | None = None
        last_s = -1.0
        number = 0
        while (item := process.next()) is not None:
            ticks, image = item
            if not self.info.is_timed:
                time_s = float(number * self._facts.tick_s)
            elif ticks is None:
                continue
            else:
                first = ticks if first is None else first
                time_s = (ticks - first) / _TICKS_PER_S
            number += 1
            if time_s > last_s:
                last_s = time_s
                yield Frame(time_s=time_s, image=image)

    def _frames_at(self, times_s: Sequence[float], sizes: Sizes) -> Iterator[Frame]:
        last: tuple[float, Frame] | None = None
        for time_s in times_s:
            shown = self._show(time_s + _SLACK_S)
            if last is None or last[0] != shown.time_s:
                last = shown.time_s, self._frame(shown.time_s, shown.image, sizes)
            yield last[1]

    def _iter_frames(self, every_s: float, sizes: Sizes) -> Iterator[Frame]:
        shown: Frame | None = self._restart()
        due_s = 0.0
        while shown is not None:
            if shown.time_s >= due_s - _SLACK_S:
                due_s = shown.time_s + every_s
                yield self._frame(shown.time_s, shown.image, sizes)
            self._check_open()
            shown = self._held = next(self._pictures, None)

    def _show(self, time_s: float) -> Frame:
        held = self._held
        if held is None or self._is_closed or time_s < held.time_s:
            held = self._restart()
        while True:
            following = self._ahead or next(self._pictures, None)
            if following is None or following.time_s > time_s:
                self._held, self._ahead = held, following
                return held
            held, self._ahead = following, None
