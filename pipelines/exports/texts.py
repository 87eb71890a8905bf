"""Text formats for players and video sites: subtitles, chapter marks, metadata.

Texts come from videos and models, so each writer breaks what its format would read as structure:
line breaks, arrows, tags, separators.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

from fdvs.text.clean import one_line

MIN_YOUTUBE_CHAPTERS = 3
MIN_YOUTUBE_S = 10.0
_ARROW = re.compile(r"-{2,}>")
_ASS_TAG = re.compile(r"[{}]")
_FFMETADATA = re.compile(r"([=;#\\])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One item of an export: a text with its time, [start_s, end_s)."""

    start_s: float
    end_s: float
    text: str
    title: str = ""

    @property
    def line(self) -> str:
        """The title, or else the text, as one line."""
        return one_line(self.title or self.text)


def srt(marks: Sequence[Mark]) -> str:
    """Return SubRip: numbered cues, times with a comma; braces, which players read as tags, go."""
    cues = (
        f"{number}\n{_span(one, ',')}\n{_srt_text(one.text)}\n"
        for number, one in enumerate(marks, start=1)
    )
    return "\n".join(cues)


def vtt(marks: Sequence[Mark]) -> str:
    """Return WebVTT; `&`, `<` and `>` are escaped, so that no text is a tag."""
    cues = (f"{_span(one, '.')}\n{_vtt_text(one.text)}\n" for one in marks)
    return "\n".join(["WEBVTT\n", *cues])


def vtt_chapters(marks: Sequence[Mark]) -> str:
    """Return WebVTT chapters, for players: the titles, numbered."""
    cues = (
        f"chapter-{number}\n{_span(one, '.')}\n{_vtt_text(one.line)}\n"
        for number, one in enumerate(marks, start=1)
    )
    return "\n".join(["WEBVTT\n", *cues])


def youtube(marks: Sequence[Mark]) -> str:
    """Return chapters for a video's description: the first at 0:00, each at least 10 s long.

    Shorter ones are joined with the one before. A video with fewer than three has none there; the
    lines are returned all the same.
    """
    lines: list[tuple[float, str]] = []
    for one in marks:
        if lines and one.start_s - lines[-1][0] < MIN_YOUTUBE_S:
            continue
        lines.append((one.start_s if lines else 0.0, one.line))
    if len(lines) > 1 and marks[-1].end_s - lines[-1][0] < MIN_YOUTUBE_S:
        lines.pop()
    return "".join(f"{_short(start_s)} {text}\n" for start_s, text in lines)


def ffmetadata(marks: Sequence[Mark], *, title: str) -> str:
    """Return ffmpeg's metadata file with chapters, in milliseconds."""
    head = f";FFMETADATA1\ntitle={_escaped(one_line(title))}\n"
    parts = (
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={round(one.start_s * 1000)}\n"
        f"END={round(one.end_s * 1000)}\ntitle={_escaped(one.line)}\n"
        for one in marks
    )
    return head + "".join(parts)


def _escaped(text: str) -> str:
    return _FFMETADATA.sub(r"\\\1", text)


def _srt_text(text: str) -> str:
    return _ARROW.sub("→", _ASS_TAG.sub("", one_line(text))) or "-"


def _vtt_text(text: str) -> str:
    return html.escape(_ARROW.sub("→", one_line(text)), quote=False) or "-"


def _span(one: Mark, point: str) -> str:
    end_s = max(one.end_s, one.start_s + 0.001)
    return f"{_clock(one.start_s, point)} --> {_clock(end_s, point)}"


def _clock(time_s: float, point: str) -> str:
    seconds, milliseconds = divmod(round(time_s * 1000), 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}{point}{milliseconds:03d}"


def _short(time_s: float) -> str:
    seconds = int(time_s)
    if seconds >= 3600:
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{seconds // 60}:{seconds % 60:02d}"
