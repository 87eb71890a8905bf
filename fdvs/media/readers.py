"""Video decoders: open a local file with one of three, and what all of them share.

    with open_reader(path) as reader:
        for frame in reader.frames_at([0.0, 2.5], short_side_px=224):
            ...

Whatever is wrong with a file is a MediaError whose message is one line.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, cast

from fdvs.config import ReaderName
from fdvs.files import Closing
from fdvs.media.files import check_file
from fdvs.media.pyav_input import open_input
from fdvs.media.resize import UPRIGHT, Orientation, bounded_size, centred, fit, size_within
from fdvs.media.scan import scan
from fdvs.protocols import FrameReader
from fdvs.registry import Registry
from fdvs.types import Frame, Image, VideoInfo

MAX_TIME_S = 1e9

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
        UndecodableVideo: no picture can be decoded, or no answer within `timeout_s`.
        ModelUnavailable: the reader's package is not installed.
    """
    return cast(FrameReader, READERS.get(reader)(path, timeout_s=timeout_s))


def probe(path: Path, *, timeout_s: float = 30.0) -> VideoInfo:
    """Return the facts of a file; only its first few pictures are decoded.

    Raises as `open_reader`.
    """
    return scan(check_file(path), timeout_s=timeout_s).info


def check_container(path: Path, *, timeout_s: float = 30.0) -> None:
    """Raise as `open_reader` for what is no file of an allowed container; reads its head only."""
    open_input(check_file(path), timeout_s).close()


class Sizes(NamedTuple):
    """Bounds of the short side of a frame's picture (None: the full size) and of its `detail`
    (None: it has none)."""

    short_side_px: int | None
    detail_px: int | None = None


class FileReader(Closing):
    """What the readers share: facts from the scan, and checks of what is asked for.

    See `fdvs.protocols.FrameReader`. Not for several threads at once.
    """

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        """Scan the file. Raises MediaError if it is not a readable video."""
        self._path = check_file(path)
        self._timeout_s = timeout_s
        self._facts = scan(self._path, timeout_s=timeout_s)
        self._is_closed = False

    @property
    def info(self) -> VideoInfo:
        return self._facts.info

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the scan and the reading so far found wrong with the file."""
        return self.info.warnings

    def frames_at(
        self, times_s: Sequence[float], *, short_side_px: int | None, detail_px: int | None = None
    ) -> Iterator[Frame]:
        """Yield the picture shown at each of the sorted times.

        Before the first picture that is the first one, after the last the last one. Nothing is
        yielded of a file without pictures.
        Raises ValueError for times that are not sorted, negative or not finite.
        """
        bounded_size(1, 1, short_side_px)
        bounded_size(1, 1, detail_px)
        for time_s in times_s:
            if not 0 <= time_s < MAX_TIME_S:
                raise ValueError(f"time {time_s!r} s is outside of a video; need 0 or more")
        if any(a > b for a, b in pairwise(times_s)):
            raise ValueError("times_s must be sorted")
        sizes = Sizes(short_side_px, detail_px)
        return self._frames_at(times_s, sizes) if self.info.has_pictures else iter(())

    def iter_frames(self, *, every_s: float, short_side_px: int | None) -> Iterator[Frame]:
        """Yield frames at least `every_s` apart from the start on, in one pass (0: all).

        Raises ValueError for a negative `every_s`.
        """
        bounded_size(1, 1, short_side_px)
        if not every_s >= 0:
            raise ValueError(f"every_s is {every_s!r}; need 0 or more")
        sizes = Sizes(short_side_px)
        return self._iter_frames(every_s, sizes) if self.info.has_pictures else iter(())

    def close(self) -> None:
        self._is_closed = True

    @abstractmethod
    def _frames_at(self, times_s: Sequence[float], sizes: Sizes) -> Iterator[Frame]:
        """Yield the picture shown at each time."""

    @abstractmethod
    def _iter_frames(self, every_s: float, sizes: Sizes) -> Iterator[Frame]:
        """Yield frames at least `every_s` apart."""

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError("the reader is closed")

    def _frame(
        self,
        time_s: float,
        image: Image,
        sizes: Sizes,
        *,
        orientation: Orientation = UPRIGHT,
        shape: tuple[int, int] | None = None,
    ) -> Frame:
        """Return a decoded picture upright and in the sizes that were asked for.

        `shape` is its own (width, height) when upright: a picture of another shape than the
        file's first one is shown whole, with black bars, as players do.
        """

        def fitted(size: tuple[int, int]) -> Image:
            own = size if shape is None else size_within(shape, size)
            return centred(fit(image, size=own, orientation=orientation), size)

        whole = self.info.width_px, self.info.height_px
        size = bounded_size(*whole, sizes.short_side_px)
        larger = size if sizes.detail_px is None else bounded_size(*whole, sizes.detail_px)
        detail = fitted(larger) if larger > size else None
        return Frame(time_s=time_s, image=fitted(size), detail=detail)
