"""Embedded text subtitles of a video file, read with PyAV; bitmap formats (PGS, VobSub) are not.

Times are those of the container's clock; `subtitles` moves them to the first picture.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.errors import BadModelOutput, MediaError
from fdvs.media.pyav_input import (
    demux_safely,
    is_cover,
    media_errors,
    open_input,
    read_only,
)
from fdvs.models.describe.languages import language_code
from fdvs.models.describe.sidecars import Tags
from fdvs.models.describe.subtitle_files import (
    MAX_CUES,
    Cue,
    Parsed,
    ass_rows,
    clean_rows,
)

TEXT_CODECS = frozenset({"subrip", "srt", "mov_text", "ass", "ssa", "webvtt", "text"})
TIMEOUT_S = 30.0
# A subtitle without a duration is displayed until the next one, at most this long.
MAX_UNTIMED_S = 10.0
# An ASS event: ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect, Text
ASS_FIELDS_BEFORE_TEXT = 8

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class InnerTrack:
    """An embedded subtitle stream. `number` is its index in the file."""

    number: int
    codec: str
    tags: Tags

    @property
    def is_text(self) -> bool:
        return self.codec in TEXT_CODECS


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The subtitle streams of a file and its frame rate, None if unknown."""

    tracks: tuple[InnerTrack, ...] = ()
    fps: float | None = None


def list_tracks(path: Path) -> Inside:
    """Return the subtitle streams of a file. Raises BadModelOutput where it cannot be read."""
    with _opened(path) as container:
        rates = [s.average_rate for s in container.streams.video if not is_cover(s)]
        return Inside(
            tracks=tuple(_track(stream) for stream in container.streams.subtitles),
            fps=next((float(rate) for rate in rates if rate), None),
        )


def read_inner_track(path: Path, number: int) -> Parsed:
    """Return the cues of one text stream, in time order, in seconds of the container's clock.

    Cues before that clock's zero are kept. Raises BadModelOutput where the file cannot be read
    or contains more than MAX_CUES subtitles.
    """
    with _opened(path) as container:
        events = sorted(_events(container, number), key=lambda event: event[0])
    starts_s = [*(start_s for start_s, _, _ in events), float("inf")]
    cues = []
    for (start_s, end_s, rows), next_s in zip(events, starts_s[1:], strict=True):
        if end_s is None:
            end_s = min(max(next_s, start_s), start_s + MAX_UNTIMED_S)
        if rows and end_s > start_s:
            cues.append(Cue(start_s=start_s, end_s=end_s, rows=rows))
    return Parsed(cues=tuple(cues))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with media_errors(TIMEOUT_S), open_input(path.absolute(), TIMEOUT_S) as container:
            yield container
    except MediaError as error:
        raise BadModelOutput(f"subtitles inside {path.name} cannot be read: {error}") from None


def _track(stream: Any) -> InnerTrack:
    from av.stream import Disposition

    context = stream.codec_context
    title = str(stream.metadata.get("title", "")).lower()
    marks = stream.disposition
    return InnerTrack(
        number=stream.index,
        codec="unknown" if context is None else context.name,
        tags=Tags(
            language=language_code(stream.language or ""),
            is_forced=bool(marks & Disposition.forced) or "forced" in title or "signs" in title,
            is_sdh=bool(marks & Disposition.hearing_impaired) or "sdh" in title,
            is_default=bool(marks & Disposition.default),
        ),
    )


def _events(container: Any, number: int) -> list[tuple[float, float | None, tuple[str, ...]]]:
    """Return (start_s, end_s where known, rows) of a stream's packets."""
    found: list[tuple[float, float | None, tuple[str, ...]]] = []
    chosen = container.streams[number]
    read_only(container, [chosen])
    for packet in demux_safely(container, chosen):
        if packet.pts is None or not packet.size:
            continue
        start_s = float(packet.pts * packet.time_base)
        length_s = float((packet.duration or 0) * packet.time_base)
        found.append((start_s, start_s + length_s if length_s > 0 else None, _rows(packet)))
        if len(found) > MAX_CUES:
            raise BadModelOutput(f"it contains more than {MAX_CUES} subtitles")
    return found


def _rows(packet: Any) -> tuple[str, ...]:
    """Return a packet's rows; decoders return every text format as an ASS event."""
    import av

    try:
        rects = packet.decode()
    except (av.FFmpegError, ValueError) as error:
        logger.warning("a subtitle at pts %s cannot be decoded (%s); skipped", packet.pts, error)
        return ()
    return clean_rows(row for rect in rects for row in _plain(rect))


def _plain(rect: Any) -> list[str]:
    raw = getattr(rect, "ass", b"") or getattr(rect, "text", b"")
    text = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else str(raw)
    parts = text.split(",", ASS_FIELDS_BEFORE_TEXT)
    return ass_rows(parts[-1] if len(parts) > ASS_FIELDS_BEFORE_TEXT else text)
