"""Turn the cues of a subtitle track into lines, each said once.

A cue is what is displayed, a line is what is said. The two differ: roll-up and paint-on captions
repeat their rows, styled subtitles draw one text in several layers, and a sentence continues in
the next cue. Knows no files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from fdvs.models.describe.subtitle_files import Cue

# A row that appears again within this time is the same line, not a repetition.
REPEAT_GAP_S = 0.5
# Paint-on captions, which grow word by word, follow each other without a gap.
GROWTH_GAP_S = 0.1
SENTENCE_GAP_S = 1.0
MAX_SENTENCE_S = 20.0
MAX_SENTENCE_CHARS = 300
# A track is punctuated if at least this share of its lines ends with a punctuation mark.
MIN_PUNCTUATED = 0.3
MIN_TELEMETRY = 0.6

# A dash that marks a speaker; a minus sign and a double dash do not.
_DASH = re.compile(r"[-–—‐](?:\s+(?=\S)|(?=[^\W\d_]|[\"'“«¿¡(\[.…]))")
_ENDS = re.compile("[.!?…:;。！？؟।―—–-][\"'”’»)\\]」』]*$")
_OPEN_END = re.compile(r"(?:\.\.\.|…)$")
_ASIDE = re.compile(r"[(\[（【*#]")
_FIELD = re.compile(
    r"\b(iso|shutter|fnum|ev|ct|ss|gps|lat(?:itude)?|long?(?:itude)?|longtitude|alt(?:itude)?|"
    r"rel_alt|abs_alt|focal_len|framecnt|difftime|home|baro(?:meter)?|f|d|h|h\.s|v\.s)\b"
    r"\s{0,3}[:=(/ ]\s{0,3}[(\[]?[-+]?\d",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What is said in [start_s, end_s)."""

    start_s: float
    end_s: float
    text: str


@dataclass(slots=True, kw_only=True)
class _Shown:
    """A line under construction. `until_s` is the time at which it was last displayed."""

    start_s: float
    end_s: float
    until_s: float
    text: str
    num_rows: int = 1
    is_turn: bool = False
    has_rolled: bool = False


def lines_of(cues: Sequence[Cue]) -> tuple[Line, ...]:
    """Return the lines of cues in time order, in time order.

    A cue whose rows are all still displayed extends their lines. If it also has a new row, the
    captions roll up: only the new row becomes a line. A row that starts with the text of the line
    before replaces it (paint-on captions). Two or more rows that start with dashes are lines of
    different speakers. Lines of one sentence are joined where punctuation shows it.
    """
    found: list[_Shown] = []
    known: dict[str, _Shown] = {}
    for cue in cues:
        old = [_still_shown(known.get(row), cue.start_s) for row in cue.rows]
        if all(old):
            for line in old:
                _prolong(line, cue.end_s, new_row=False)
            continue
        for line in old:
            _prolong(line, cue.end_s, new_row=True)
        new_rows = [row for row, line in zip(cue.rows, old, strict=True) if line is None]
        if found and _grows(found[-1], new_rows, cue.start_s):
            found[-1].text, found[-1].num_rows = new_rows[0], 1
            found[-1].end_s = found[-1].until_s = cue.end_s
            known[new_rows[0]] = found[-1]
            continue
        for rows in _turns(new_rows):
            line = _line(cue, rows)
            found.append(line)
            known.update(dict.fromkeys(rows, line))
    return _join_sentences(found)


def _still_shown(line: _Shown | None, time_s: float) -> _Shown | None:
    return line if line is not None and time_s <= line.until_s + REPEAT_GAP_S else None


def _prolong(line: _Shown | None, end_s: float, *, new_row: bool) -> None:
    """Record that a line is displayed until `end_s`; rolling up does not extend its own time."""
    if line is None:
        return
    line.until_s = max(line.until_s, end_s)
    line.has_rolled |= new_row
    if not line.has_rolled:
        line.end_s = max(line.end_s, end_s)


def _grows(last: _Shown, new_rows: Sequence[str], start_s: float) -> bool:
    return (
        len(new_rows) == 1
        and last.num_rows == 1
        and start_s <= last.until_s + GROWTH_GAP_S
        and new_rows[0].startswith(last.text + " ")
    )


def _turns(rows: Sequence[str]) -> Iterator[list[str]]:
    """Yield the rows of each speaker: with two or more dashes, each dash starts a speaker."""
    starts = [at for at, row in enumerate(rows) if _DASH.match(row)]
    if len(starts) < 2:
        yield list(rows)
        return
    bounds = sorted({0, *starts, len(rows)})
    for begin, end in pairwise(bounds):
        yield list(rows[begin:end])


def _line(cue: Cue, rows: Sequence[str]) -> _Shown:
    dash = _DASH.match(rows[0])
    text = " ".join(rows)
    return _Shown(
        start_s=cue.start_s,
        end_s=cue.end_s,
        until_s=cue.end_s,
        text=text[dash.end() :] if dash else text,
        num_rows=len(rows),
        is_turn=dash is not None,
    )


def _join_sentences(lines: Sequence[_Shown]) -> tuple[Line, ...]:
    """Join consecutive lines of one sentence.

    Only in punctuated tracks, and never across a change of speaker, a pause, brackets, a change to
    capitals, or the bounds on a sentence's length.
    """
    num_ended = sum(bool(_ENDS.search(line.text)) for line in lines)
    is_punctuated = num_ended >= MIN_PUNCTUATED * len(lines)
    joined: list[_Shown] = []
    for line in lines:
        if joined and is_punctuated and _is_one_sentence(joined[-1], line):
            last = joined[-1]
            last.text = f"{_OPEN_END.sub('', last.text)} {line.text.lstrip('.…')}"
            last.end_s = line.end_s
        else:
            joined.append(line)
    return tuple(Line(start_s=x.start_s, end_s=x.end_s, text=x.text) for x in joined)


def _is_one_sentence(last: _Shown, line: _Shown) -> bool:
    pause_s = line.start_s - last.end_s
    goes_on = line.text[:1].islower() or line.text.startswith(("...", "…"))
    return (
        not line.is_turn
        and -GROWTH_GAP_S <= pause_s <= SENTENCE_GAP_S
        and (goes_on if _OPEN_END.search(last.text) else not _ENDS.search(last.text))
        and not _ASIDE.match(line.text)
        and not _ASIDE.match(last.text)
        and last.text.isupper() == line.text.isupper()
        and line.end_s - last.start_s <= MAX_SENTENCE_S
        and len(last.text) + len(line.text) < MAX_SENTENCE_CHARS
    )


def is_telemetry(cues: Sequence[Cue]) -> bool:
    """Whether most cues are camera telemetry (position, exposure, speed), as drones record."""
    texts = (" ".join(cue.rows) for cue in cues)
    num_readings = sum(_is_reading(text) for text in texts)
    return bool(cues) and num_readings >= MIN_TELEMETRY * len(cues)


def _is_reading(text: str) -> bool:
    """Whether a text has three named readings, or is mostly digits in three or more numbers."""
    if len({name.lower() for name in _FIELD.findall(text)}) >= 3:
        return True
    num_shown = sum(not c.isspace() for c in text)
    num_letters = sum(c.isalpha() for c in text)
    numbers = _NUMBER.findall(text)
    return len(numbers) >= 3 and sum(map(len, numbers)) >= 10 and num_letters * 2 < num_shown
