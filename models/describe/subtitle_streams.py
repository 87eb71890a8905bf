"""Embedded text subtitles of a video file, read with PyAV; bitmap formats (PGS, VobSub) are not.

Times count from the first picture, as everywhere: a container's clock may start anywhere.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from fdvs.errors import BadModelOutput, MediaError
from fdvs.media.pyav_input import media_errors, open_input
from fdvs.models.describe.audio import first_picture_s
from fdvs.models.describe.subtitle_text import MAX_CUES, Line, clean_line

TEXT_CODECS = ("subrip", "srt", "mov_text", "ass", "ssa", "webvtt", "text")
TIMEOUT_S = 30.0
# An ASS event: ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect, Text
ASS_FIELDS_BEFORE_TEXT = 8

logger = logging.getLogger(__name__)


def embedded_lines(path: Path, *, language: str) -> tuple[Line, ...]:
    """Return the lines of the file's text subtitles, () where it has none (in that language).

    Of several streams the default one is read, else the first. Raises BadModelOutput
    where the file cannot be read.
    """
    try:
        with (
            media_errors(TIMEOUT_S),
            open_input(path.absolute(), TIMEOUT_S) as container,
        ):
            stream = _choose(container, language)
            return () if stream is None else _read(container, stream, first_picture_s(container))
    except MediaError as error:
        raise BadModelOutput(f"subtitles inside {path.name} cannot be read: {error}") from None


def _choose(container: Any, language: str) -> Any:
    from av.stream import Disposition

    usable = [
        stream
        for stream in container.streams.subtitles
        if stream.codec_context is not None
        and stream.codec_context.name in TEXT_CODECS
        and (not language or _same_language(stream.language or "", language))
    ]
    defaults = [stream for stream in usable if stream.disposition & Disposition.default]
    return next(iter(defaults or usable), None)


def _same_language(tag: str, wanted: str) -> bool:
    """Whether two tags agree in the first two letters: files have `eng`, people write `en`."""
    return bool(tag) and tag.lower()[:2] == wanted.lower()[:2]


def _read(container: Any, chosen: Any, zero_s: float) -> tuple[Line, ...]:
    from av.stream import Discard

    for stream in container.streams:
        if stream.index != chosen.index:
            stream.discard = Discard.all
    lines: list[Line] = []
    for packet in container.demux(chosen):
        if packet.pts is None or not packet.duration or not packet.size:
            continue
        start_s = float(packet.pts * packet.time_base) - zero_s
        end_s = start_s + float(packet.duration * packet.time_base)
        if (text := _text(packet)) and end_s > 0:
            lines.append(Line(start_s=max(0.0, start_s), end_s=end_s, text=text))
        if len(lines) > MAX_CUES:
            raise BadModelOutput(f"more than {MAX_CUES} subtitles inside {container.name}")
    return tuple(sorted(lines, key=lambda line: (line.start_s, line.end_s)))


def _text(packet: Any) -> str:
    """Return a packet's text; decoders return every text format as an ASS event."""
    import av

    try:
        rects = packet.decode()
    except av.FFmpegError as error:
        logger.warning("a subtitle at pts %s cannot be decoded (%s); left out", packet.pts, error)
        return ""
    parts = [_plain(rect) for rect in rects]
    return clean_line(" ".join(part for part in parts if part))


def _plain(rect: Any) -> str:
    raw = getattr(rect, "ass", b"") or getattr(rect, "text", b"")
    text = raw.decode("utf-8", errors="replace") if isinstance(raw, bytes) else str(raw)
    parts = text.split(",", ASS_FIELDS_BEFORE_TEXT)
    words = parts[-1] if len(parts) > ASS_FIELDS_BEFORE_TEXT else text
    return words.replace("\\N", " ").replace("\\n", " ").replace("\\h", " ")
