"""decord as a selectable reader (extra `decord`, the maintained fork decord2).

Not the default: it was measured to return wrong pictures for edit lists, MPEG-TS and open HEVC
groups, grows by gigabytes while idle, and has no whitelist of formats. So a file must first pass
the scan of the default reader, and decord runs in a child process per request that is killed when
it does not answer. Files without reliable time stamps are refused.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from fdvs.errors import ModelUnavailable, UndecodableVideo, how_to_install
from fdvs.media.pyav_input import MAX_THREADS, message_of
from fdvs.media.readers import FileReader, Sizes
from fdvs.media.resize import MAX_PIXELS
from fdvs.types import Frame, Image

_MAX_HEAD_BYTES = 1000


def is_installed() -> bool:
    """Whether decord is there, without importing it: that alone loads every NVIDIA library."""
    return importlib.util.find_spec("decord") is not None


class DecordReader(FileReader):
    """Reads a local file with decord, in one child process per call."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        """Scan the file.

        Raises:
            ModelUnavailable: decord is not installed.
            MediaError: not a readable video, or one without usable time stamps.
        """
        if not is_installed():
            raise ModelUnavailable(
                f"reader 'decord' is not installed; {how_to_install('decord')}, "
                "or use reader 'pyav'"
            )
        super().__init__(path, timeout_s=timeout_s)
        if not self.info.is_timed:
            raise UndecodableVideo("reader 'decord' needs time stamps in order; use reader 'pyav'")

    def _frames_at(self, times_s: Sequence[float], sizes: Sizes) -> Iterator[Frame]:
        return self._ask({"times_s": list(times_s)}, sizes)

    def _iter_frames(self, every_s: float, sizes: Sizes) -> Iterator[Frame]:
        return self._ask({"every_s": every_s}, sizes)

    def _ask(self, request: dict[str, Any], sizes: Sizes) -> Iterator[Frame]:
        self._check_open()
        request |= {"path": os.fsencode(self._path).hex(), "num_threads": MAX_THREADS}
        for time_s, image in _answers(request, self._timeout_s):
            yield self._frame(time_s, image, sizes)


def _answers(request: dict[str, Any], timeout_s: float) -> Iterator[tuple[float, Image]]:
    """Run one child and give its pictures as they come; it is dead when this ends."""
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(
            # -P: the working folder must not be where modules come from.
            [sys.executable, "-P", "-m", "fdvs.media.decord_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(json.dumps(request).encode())
            child.stdin.close()
            pipe = _Pipe(child.stdout.fileno(), timeout_s)
            while (line := pipe.line()) is not None:
                yield _picture(line, pipe)
            if child.wait(timeout_s) != 0:
                raise UndecodableVideo(f"decord cannot decode it: {_last_line(log)}")
        finally:
            child.kill()
            child.wait()
            for end in (child.stdin, child.stdout):
                if end is not None:
                    end.close()


def _picture(line: bytes, pipe: _Pipe) -> tuple[float, Image]:
    head = json.loads(line)
    height_px, width_px, depth = head["shape"]
    if depth != 3 or height_px * width_px > MAX_PIXELS:
        raise UndecodableVideo(f"decord gave a picture of shape {head['shape']}")
    data = pipe.read(height_px * width_px * depth)
    return float(head["time_s"]), np.frombuffer(data, np.uint8).reshape(head["shape"])


class _Pipe:
    """Reads a pipe with a time limit on every wait."""

    def __init__(self, fd: int, timeout_s: float) -> None:
        self._fd = fd
        self._timeout_s = timeout_s
        self._buffer = bytearray()

    def line(self) -> bytes | None:
        while b"\n" not in self._buffer:
            if len(self._buffer) > _MAX_HEAD_BYTES or not self._more():
                return None
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer = bytearray(rest)
        return line

    def read(self, num_bytes: int) -> bytearray:
        while len(self._buffer) < num_bytes:
            if not self._more():
                raise UndecodableVideo("decord stopped within a picture")
        data = self._buffer[:num_bytes]
        del self._buffer[:num_bytes]
        return data

    def _more(self) -> bool:
        end_s = time.monotonic() + self._timeout_s
        while not select.select([self._fd], [], [], max(0.0, end_s - time.monotonic()))[0]:
            if time.monotonic() >= end_s:
                raise UndecodableVideo(f"decord gave nothing for {self._timeout_s:g} s")
        data = os.read(self._fd, 1 << 18)
        self._buffer += data
        return bool(data)


def _last_line(log: IO[bytes]) -> str:
    log.seek(0, os.SEEK_END)
    log.seek(max(0, log.tell() - 2000))
    lines = [line for line in log.read().decode("utf-8", "replace").splitlines() if line.strip()]
    return message_of(lines[-1]) if lines else "no reason given"
