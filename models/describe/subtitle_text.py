"""SubRip and WebVTT: from a file's bytes to timed lines. Knows no videos and opens no files.

The bytes are untrusted: every loop is linear, every length bounded, and a file without a usable
cue is an error. Both formats go through one parser: a cue is a
timing line and what follows it; WebVTT ends it at a blank line, SubRip at the next cue (players
show the rest of a SubRip cue after a stray blank line, so it is kept).
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from fdvs.errors import BadModelOutput
from fdvs.text.clean import clean_text

Kind = Literal["srt", "vtt"]

MAX_CUES = 100_000
MAX_CUE_CHARS = 1000
MAX_TIMING_CHARS = 300

_TIME = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# The start of a timing line; arrows also occur in spoken text.
_MARK = re.compile(r"\s*-?\d[\d:.,]{0,20}\s*-->")
_TAG = re.compile(
    r"</?(?:i|b|u|s|c|v|lang|ruby|rt|font|span|br)(?:[.\s][^<>]{0,200})?/?>"
    r"|<[\d:.]{5,16}>"
    r"|\{\\[^{}]{0,200}\}",
    re.IGNORECASE,
)
_VTT_BLOCKS = ("NOTE", "STYLE", "REGION")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One subtitle, in seconds of the file's own clock, half-open."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The lines in time order, and the number of cues that were skipped."""

    lines: tuple[Line, ...]
    num_bad: int


def decode_bytes(data: bytes) -> tuple[str, str]:
    """Return (text, encoding): by the byte order mark, else UTF-8, else cp1252."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if data.startswith(mark):
            return data.decode(encoding, errors="replace"), encoding
    if encoding := _utf16_without_mark(data):
        return data.decode(encoding, errors="replace"), encoding
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace"), "cp1252"


def _utf16_without_mark(data: bytes) -> str:
    """Return the UTF-16 variant that the zero bytes of ASCII characters indicate, or ''."""
    head = data[:4096]
    if len(head) < 4 or head.count(0) * 4 < len(head):
        return ""
    return "utf-16-le" if head[1::2].count(0) > head[0::2].count(0) else "utf-16-be"


def parse_subtitles(text: str, *, kind: Kind, name: str) -> Parsed:
    """Return a file's lines. `name` is for messages.

    A cue with broken times, or an end not after its start, is skipped and counted. Raises
    BadModelOutput for a WebVTT file without its first line, or a text without a usable cue.
    """
    if kind == "vtt" and not text.lstrip("\ufeff").startswith("WEBVTT"):
        raise BadModelOutput(
            f"{name}: a WebVTT file begins with WEBVTT, this one with {text[:20]!r}"
        )
    lines: list[Line] = []
    num_bad = 0
    for cue in _cues(text.splitlines(), kind):
        if cue is None:
            num_bad += 1
        elif cue.text:
            lines.append(cue)
        if len(lines) > MAX_CUES:
            raise BadModelOutput(f"{name}: more than {MAX_CUES} subtitles; split the file")
    if num_bad and not lines:
        raise BadModelOutput(f"{name}: none of its {num_bad} subtitles has usable times; repair it")
    if not lines and text.strip() and kind == "srt":
        raise BadModelOutput(f"{name}: no subtitle found in it; begins with {text.strip()[:40]!r}")
    return Parsed(lines=tuple(sorted(lines, key=lambda x: (x.start_s, x.end_s))), num_bad=num_bad)


def _cues(rows: list[str], kind: Kind) -> Iterator[Line | None]:
    """Yield each cue, None for one with unusable times."""
    marks = [at for at, row in enumerate(rows) if _MARK.match(row)]
    for at, end in pairwise([*marks, len(rows)]):
        if kind == "vtt" and _inside_block(rows, at):
            continue
        times = _times(rows[at])
        body = rows[at + 1 : end]
        body = (
            _until_blank(body) if kind == "vtt" else _without_counter(body, last=end == len(rows))
        )
        if times is None:
            yield None
        else:
            yield Line(start_s=times[0], end_s=times[1], text=clean_line(" ".join(body)))


def _inside_block(rows: list[str], at: int) -> bool:
    """Whether an arrow is inside a comment or style block of WebVTT."""
    first = at
    while first > 0 and at - first < 50 and rows[first - 1].strip():
        first -= 1
    return first < at and rows[first].split(" ")[0].strip() in _VTT_BLOCKS


def _until_blank(body: list[str]) -> list[str]:
    for at, row in enumerate(body):
        if not row.strip():
            return body[:at]
    return body


def _without_counter(body: list[str], *, last: bool) -> list[str]:
    """Drop the number of the next cue from the end of this cue's text."""
    if last or not body or not body[-1].strip().isdigit():
        return body
    alone = len(body) == 1 or not body[-2].strip()
    return body[:-1] if alone else body


def _times(row: str) -> tuple[float, float] | None:
    match = _TIMING.fullmatch(row) if len(row) <= MAX_TIMING_CHARS else None
    if match is None:
        return None
    start_s, end_s = _seconds(match.groups()[:4]), _seconds(match.groups()[4:8])
    return (start_s, end_s) if start_s < end_s else None


def _seconds(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = groups
    whole_s = int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0)
    return whole_s + float(f"0.{fraction}")


def clean_line(text: str) -> str:
    """Remove markup, entities and control characters; fold white space; bound the length."""
    plain = html.unescape(_TAG.sub("", text[: 4 * MAX_CUE_CHARS]))
    return clean_text(plain, max_chars=MAX_CUE_CHARS)
