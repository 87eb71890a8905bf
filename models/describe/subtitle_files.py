"""Read subtitle files as timed cues: SubRip, WebVTT, ASS/SSA, MicroDVD, MPL2, SBV, LRC.

Files are untrusted: every loop is linear and every length bounded; a cue with unusable times is
skipped and counted. The format is detected from the text, since suffixes are often wrong. A SubRip
cue ends at the next cue (players show what follows a stray blank line), a WebVTT cue at a blank
line. Knows no videos. docs/decisions/019-subtitles.md says why no library does this.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Literal

from fdvs.errors import BadModelOutput
from fdvs.models.describe.text_encoding import decode_text
from fdvs.text.clean import clean_text

Format = Literal["srt", "vtt", "ass", "microdvd", "mpl2", "sbv", "lrc"]

MAX_FILE_BYTES = 20 << 20
MAX_CUES = 100_000
MAX_CUE_CHARS = 1000
MAX_TIMING_CHARS = 300
MAX_ROWS = 40
# LRC has no end times: a line ends at the next one, at most this long after its start.
MAX_LYRIC_S = 10.0

_TIME = r"(?:(\d{1,4}):)?([0-5]?\d):([0-5]?\d)(?:[.,:](\d{1,3}))?"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
# The start of a timing line; arrows also occur in spoken text.
_MARK = re.compile(r"\s*-?\d[\d:.,]{0,20}\s*-->")
_SBV_TIME = r"(\d{1,4}):([0-5]?\d):([0-5]?\d)\.(\d{1,3})"
_SBV_TIMING = re.compile(rf"{_SBV_TIME}\s?,\s?{_SBV_TIME}\s*")
_FRAMES = re.compile(r" {0,9}\{(\d{1,9})\}\{(\d{1,9})\}(.*)")
_TENTHS = re.compile(r" {0,9}\[(\d{1,9})\]\[(\d{1,9})\](.*)")
_LYRIC = re.compile(r"\[(\d{1,4}):([0-5]?\d)(?:[.:](\d{1,3}))?\]")
_OFFSET = re.compile(r"\[offset:\s?([+-]?\d{1,9})\s?\]", re.IGNORECASE)
_ASS_TIME = re.compile(r"\s*(\d{1,4}):([0-5]?\d):([0-5]?\d)[.:](\d{1,3})\s*")
_ASS_FIELDS = ("layer", "start", "end", "style", "name", "ml", "mr", "mv", "effect", "text")
_ASS_HEAD = re.compile(
    r"^[ \t]{0,9}\[(?:script info|v4\+? styles|events)\]", re.IGNORECASE | re.MULTILINE
)
_DRAWING = re.compile(r"\\p(\d)")
_TAG = re.compile(
    r"</?(?:i|b|u|s|c|v|lang|ruby|rt|font|span|br|p)(?:[.\s][^<>]{0,200})?/?>"
    r"|<[\d:.]{5,16}>"
    r"|\{\\[^{}]{0,200}\}"
    r"|\{[a-zA-Z]:[^{}]{0,100}\}",
    re.IGNORECASE,
)
_MUSIC = str.maketrans("", "", "♩♪♫♬")
_VTT_BLOCKS = ("NOTE", "STYLE", "REGION")

_Times = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """What is displayed in [start_s, end_s): rows from top to bottom, without markup."""

    start_s: float
    end_s: float
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The cues of a track in time order, and the problems in reading them.

    `num_bad` cues with unusable times were skipped, `num_damaged` characters could not be decoded,
    `guessed_encoding` is "" unless the encoding is a guess.
    """

    cues: tuple[Cue, ...]
    num_bad: int = 0
    guessed_encoding: str = ""
    num_damaged: int = 0


def read_subtitle_file(path: Path, *, language: str = "", fps: float | None = None) -> Parsed:
    """Read a subtitle file.

    `language` (ISO 639-1) helps to guess a legacy encoding, `fps` is the video's frame rate. Raises
    BadModelOutput if the file cannot be read, is larger than MAX_FILE_BYTES or contains no
    subtitles; the message is a reason that can follow the file's name.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadModelOutput(f"it cannot be read: {error.strerror or error}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadModelOutput(f"it is larger than {MAX_FILE_BYTES} bytes; split it")
    if data.startswith(b"\x00\x00\x01\xba"):
        raise BadModelOutput("bitmap subtitles are not read; add a .srt file")
    decoded = decode_text(data, language=language)
    parsed = parse_subtitles(decoded.text, fps=fps)
    return replace(parsed, guessed_encoding=decoded.guessed, num_damaged=decoded.num_damaged)


def parse_subtitles(text: str, *, fps: float | None = None) -> Parsed:
    """Return the cues of a text in time order, without those that have no visible text.

    `fps` is the video's frame rate, needed by MicroDVD. Raises BadModelOutput if there is no usable
    cue.
    """
    text = text.lstrip("\ufeff")
    if not text.strip():
        raise BadModelOutput("it is empty")
    kind = guess_format(text)
    if kind is None:
        raise BadModelOutput(f"it is not a subtitle file but {_what_it_is(text)}")
    cues: list[Cue] = []
    num_bad = 0
    for number, cue in enumerate(_PARSERS[kind](text.splitlines(), fps)):
        if cue is None:
            num_bad += 1
        elif cue.rows:
            cues.append(cue)
        if number >= MAX_CUES:
            raise BadModelOutput(f"it contains more than {MAX_CUES} subtitles; split the file")
    if not cues:
        raise BadModelOutput(
            f"none of its {num_bad} subtitles has usable times"
            if num_bad
            else "it contains no text"
        )
    cues.sort(key=lambda cue: (cue.start_s, cue.end_s))
    return Parsed(cues=tuple(cues), num_bad=num_bad)


def guess_format(text: str) -> Format | None:
    """Return the format detected in the first thousand lines, None if there is none."""
    head = text[:200_000]
    if head.startswith("WEBVTT"):
        return "vtt"
    if _ASS_HEAD.search(head):
        return "ass"
    looks: dict[Format, Callable[[str], object]] = {
        "srt": _MARK.match,
        "microdvd": _FRAMES.match,
        "mpl2": _TENTHS.match,
        "sbv": _SBV_TIMING.fullmatch,
        "lrc": _LYRIC.match,
    }
    for row in head.splitlines()[:1000]:
        for kind, look in looks.items():
            if look(row[:MAX_TIMING_CHARS]):
                return kind
    return None


def _what_it_is(text: str) -> str:
    """Return a few words on a text, none of its own: it may be a link to somebody's secrets."""
    start = text[:200].lstrip().lower()
    if start.startswith(("<!doctype", "<html", "<head", "<?xml")):
        return "a web page or XML"
    hidden = sum(not (c.isprintable() or c.isspace()) for c in text[:2000])
    if hidden * 20 > len(text[:2000]):
        return "binary data"
    return f"text without times ({len(text.splitlines())} lines)"


def clean_rows(rows: Iterable[str]) -> tuple[str, ...]:
    """Return the visible rows without markup, entities and music notes, bounded in length."""
    found: list[str] = []
    room = MAX_CUE_CHARS
    for row in islice(filter(str.strip, rows), 4 * MAX_ROWS):
        plain = html.unescape(_TAG.sub("", row[: 4 * MAX_CUE_CHARS])).translate(_MUSIC)
        if room >= 20 and (plain := clean_text(plain, max_chars=room)) and _is_visible(plain):
            found.append(plain)
            room -= len(plain) + 1
        if len(found) == MAX_ROWS or room < 20:
            break
    return tuple(found)


def _is_visible(text: str) -> bool:
    """Whether there is more than the dashes and number signs that surround music notes."""
    return bool(text.strip("-–—# "))


# SubRip, WebVTT, SBV: a timing line, then text


def _srt(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    marks = [at for at, row in enumerate(rows) if _MARK.match(row)]
    for at, end in pairwise([*marks, len(rows)]):
        body = _without_counter(rows[at + 1 : end], last=end == len(rows))
        yield _cue(_times(_TIMING, rows[at]), body)


def _vtt(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    marks = [at for at, row in enumerate(rows) if _MARK.match(row)]
    for at, end in pairwise([*marks, len(rows)]):
        if not _inside_block(rows, at):
            yield _cue(_times(_TIMING, rows[at]), _until_blank(rows[at + 1 : end]))


def _sbv(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    marks = [at for at, row in enumerate(rows) if _SBV_TIMING.fullmatch(row[:MAX_TIMING_CHARS])]
    for at, end in pairwise([*marks, len(rows)]):
        body = " \n ".join(_until_blank(rows[at + 1 : end])).replace("[br]", "\n")
        yield _cue(_times(_SBV_TIMING, rows[at]), body.split("\n"))


def _cue(times: _Times | None, rows: Sequence[str]) -> Cue | None:
    if times is None or not 0 <= times[0] < times[1]:
        return None
    return Cue(start_s=times[0], end_s=times[1], rows=clean_rows(rows))


def _times(pattern: re.Pattern[str], row: str) -> _Times | None:
    match = pattern.fullmatch(row) if len(row) <= MAX_TIMING_CHARS else None
    if match is None:
        return None
    return seconds(*match.groups()[:4]), seconds(*match.groups()[4:8])


def seconds(hours: str | None, minutes: str, whole: str, fraction: str | None) -> float:
    """Return the seconds of a time given by its parts."""
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(whole) + float(f"0.{fraction or 0}")


def _inside_block(rows: list[str], at: int) -> bool:
    """Whether an arrow is inside a comment or style block of WebVTT."""
    first = at
    while first > 0 and at - first < 50 and rows[first - 1].strip():
        first -= 1
    return first < at and rows[first].split(" ")[0].strip() in _VTT_BLOCKS


def _until_blank(body: list[str]) -> list[str]:
    for at, row in enumerate(body):
        # a row of one space is an empty row of a roll-up caption, not the end
        if not row.strip() and (not row or at + 1 == len(body)):
            return body[:at]
    return body


def _without_counter(body: list[str], *, last: bool) -> list[str]:
    """Drop the number of the next cue from the end of this cue's text."""
    if last or not body or not body[-1].strip().isdigit():
        return body
    alone = len(body) == 1 or not body[-2].strip()
    return body[:-1] if alone else body


# ASS and SSA: one event a line, its fields named by a line of their own


def _ass(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    fields: Sequence[str] = _ASS_FIELDS
    in_events = False
    for row in rows:
        head, _, rest = row[: 8 * MAX_CUE_CHARS].partition(":")
        head = head.strip().lower()
        if head.startswith("["):
            in_events = head == "[events]"
        elif head == "format" and in_events:
            named = tuple(name.strip().lower() for name in rest.split(","))
            if {"start", "end", "text"} <= set(named):
                fields = named
        elif head == "dialogue":
            yield _ass_cue(rest, fields)


def _ass_cue(event: str, fields: Sequence[str]) -> Cue | None:
    values = dict(zip(fields, event.split(",", len(fields) - 1), strict=False))
    start, end = (_ASS_TIME.fullmatch(values.get(key, "")) for key in ("start", "end"))
    if start is None or end is None or "text" not in values:
        return None
    times = seconds(*start.groups()), seconds(*end.groups())
    return _cue(times, ass_rows(values["text"]))


def ass_rows(text: str) -> list[str]:
    """Return the rows of an ASS text without override blocks, comments and drawings."""
    shown: list[str] = []
    drawing = False
    for at, piece in enumerate(text.split("{")):
        block, closed, words = piece.partition("}") if at else ("", "}", piece)
        if not closed:
            words = "{" + block  # never closed: text
        elif mode := _DRAWING.findall(block):
            drawing = mode[-1] != "0"
        if not drawing:
            shown.append(words)
    return "".join(shown).replace("\\h", " ").replace("\\n", "\\N").split("\\N")


# MicroDVD, MPL2, LRC: times and text in one line


def _microdvd(rows: list[str], fps: float | None) -> Iterator[Cue | None]:
    matches = [match for row in rows if (match := _FRAMES.match(row[: 8 * MAX_CUE_CHARS]))]
    declared = _declared_fps(matches[0]) if matches else None
    rate = declared or fps
    if not rate:
        raise BadModelOutput("its times are frame numbers, and the video has no frame rate")
    for match in matches[1:] if declared else matches:
        times = int(match[1]) / rate, int(match[2]) / rate
        yield _cue(times, [row.lstrip("/") for row in match[3].split("|")])


def _declared_fps(match: re.Match[str]) -> float | None:
    """Return the frame rate that a first line such as `{1}{1}23.976` declares."""
    if match[1] not in ("0", "1") or match[2] not in ("0", "1"):
        return None
    number = re.fullmatch(r"\s?(\d{1,3}(?:[.,]\d{1,6})?)\s?", match[3][:20])
    return float(number[1].replace(",", ".")) or None if number else None


def _mpl2(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    for row in rows:
        if match := _TENTHS.match(row[: 8 * MAX_CUE_CHARS]):
            times = int(match[1]) / 10, int(match[2]) / 10
            yield _cue(times, [line.lstrip("/") for line in match[3].split("|")])


def _lrc(rows: list[str], _fps: float | None) -> Iterator[Cue | None]:
    stamped: list[tuple[float, str]] = []
    offset_s = 0.0
    for row in rows:
        row = row[: 4 * MAX_CUE_CHARS]
        if found := _OFFSET.match(row):
            offset_s = int(found[1]) / 1000
        at = 0
        starts = []
        while found := _LYRIC.match(row, at):
            starts.append(seconds(None, *found.groups()))
            at = found.end()
        stamped += [(start_s, row[at:]) for start_s in starts]
        if len(stamped) > MAX_CUES:
            break  # counted, and refused, by who reads
    stamped.sort(key=lambda line: line[0])
    ends = [*(start_s for start_s, _ in stamped[1:]), float("inf")]
    for (start_s, text), end_s in zip(stamped, ends, strict=False):
        begin_s = max(0.0, start_s - offset_s)
        yield _cue((begin_s, min(end_s - offset_s, begin_s + MAX_LYRIC_S)), [text])


_PARSERS: dict[Format, Callable[[list[str], float | None], Iterator[Cue | None]]] = {
    "srt": _srt,
    "vtt": _vtt,
    "ass": _ass,
    "microdvd": _microdvd,
    "mpl2": _mpl2,
    "sbv": _sbv,
    "lrc": _lrc,
}
