"""Where in the video something happens: the four parts by start time of the paper's prompt."""

from __future__ import annotations

from fdvs.types import Quartile

QUARTILES: tuple[Quartile, ...] = ("beginning", "early", "later", "end")

PHRASES: dict[Quartile, str] = {
    "beginning": "At the beginning of the video",
    "early": "Early in the video",
    "later": "Later in the video",
    "end": "At the end of the video",
}


def quartile(start_s: float, duration_s: float) -> Quartile:
    """Return the part of the video in which a chapter starts; a start after the end is `end`.

    >>> quartile(0.0, 100.0), quartile(25.0, 100.0), quartile(99.0, 100.0)
    ('beginning', 'early', 'end')
    """
    if duration_s <= 0:
        raise ValueError(f"duration_s is {duration_s}; need more than 0")
    return QUARTILES[min(3, max(0, int(4 * start_s / duration_s)))]
