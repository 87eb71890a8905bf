"""Open a local video file: which reader, and what is in it.

    with open_reader(path) as reader:
        for frame in reader.frames_at([0.0, 2.5], short_side_px=224):
            ...

Whatever is wrong with a file is a MediaError whose message is one line.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

from fdvs.config import ReaderName
from fdvs.media.files import check_file
from fdvs.protocols import FrameReader
from fdvs.registry import Registry
from fdvs.types import VideoInfo

READERS = Registry(
    "reader",
    {
        "pyav": "fdvs.media.pyav_reader:PyAVReader",
        "ffmpeg": "fdvs.media.ffmpeg_reader:FfmpegReader",
        "decord": "fdvs.media.decord_reader:DecordReader",
    },
)


def open_reader(path: Path, *, reader: ReaderName = "pyav", timeout_s: float = 30.0) -> FrameReader:
    """Open a file for reading; use it as a context manager, an open decoder holds memory.

    Raises:
        MissingVideo: no such file, not a regular file, not readable.
        NotAVideo: no video stream in an allowed container.
        UndecodableVideo: not one picture can be decoded, or no answer within `timeout_s`.
        ModelUnavailable: the reader's package is not installed.
    """
    make = READERS.get(reader)
    return cast(FrameReader, make(path, timeout_s=timeout_s))


def probe(path: Path, *, timeout_s: float = 30.0) -> VideoInfo:
    """Return the facts of a file without reading its pictures (but the first few).

    Raises as `open_reader`.
    """
    from fdvs.media.scan import scan

    return scan(check_file(path), timeout_s=timeout_s).info
