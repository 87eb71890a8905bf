"""Times in words: time stamps, citations, and the quarter of a video that a time lies in."""

from __future__ import annotations

import math
from typing import Literal

from fdvs.text.clean import one_line

SLACK_S = 0.1

Quartile = Literal["beginning", "early", "later", "end"]

QUARTILES: tuple[Quartile, ...] = ("beginning", "early", "later", "end")

PHRASES: dict[Quartile, str] = {
    "beginning": "At the beginning of the video",
    "early": "Early in the video",
    "later": "Later in the video",
    "end": "At the end of the video",
}


def timecode(time_s: float) -> str:
    """Return `m:ss`, or `h:mm:ss` from an hour on; fractions are cut off.

    Raises ValueError if the time is negative or not finite.

    >>> timecode(65.9), timecode(3600)
    ('1:05', '1:00:00')
    """
    if not math.isfinite(time_s) or time_s < 0:
        raise ValueError(f"time_s is {time_s!r}; need a finite number >= 0")
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds:02d}"
    return f"{minutes}:{seconds:02d}"


def rounded_end_s(time_s: float) -> float:
    """Return an end or a length in whole seconds, rounded up but for less than a tenth: a film of
    20.04 s is twenty seconds long.

    >>> rounded_end_s(64.5), rounded_end_s(20.04), rounded_end_s(0.05)
    (65.0, 20.0, 1.0)
    """
    return float(max(math.ceil(time_s - SLACK_S), math.ceil(min(time_s, 1.0))))


def end_code(time_s: float) -> str:
    """Return the time code of an end or a length, as citations and lists show it."""
    return timecode(rounded_end_s(time_s))


def citation(name: str, start_s: float, end_s: float) -> str:
    """Return `[NAME @ m:ss-m:ss]`; the end is rounded up as `rounded_end_s` does.

    The name is one line, and its brackets and `@` are written otherwise: no name can end this
    citation or begin another.

    >>> citation("film.mp4", 3.2, 64.5), citation("a [1080p].mp4", 0, 1)
    ('[film.mp4 @ 0:03-1:05]', '[a (1080p).mp4 @ 0:00-0:01]')
    """
    return f"[{cited_name(name)} @ {timecode(start_s)}-{end_code(end_s)}]"


def cited_name(name: str) -> str:
    """Return a video's name as citations write it."""
    from fdvs.text.plain import name_in_words  # its patterns take a twentieth of `fdvs --help`

    return name_in_words(one_line(name))


def quartile(start_s: float, duration_s: float) -> Quartile:
    """Return the quarter of the video in which a chapter starts; a start after the end is `end`.

    >>> quartile(0.0, 100.0), quartile(25.0, 100.0), quartile(99.0, 100.0)
    ('beginning', 'early', 'end')
    """
    if duration_s <= 0:
        raise ValueError(f"duration_s is {duration_s}; need more than 0")
    return QUARTILES[min(3, max(0, int(4 * start_s / duration_s)))]
