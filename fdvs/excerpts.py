"""Values and names of others in messages: shown within bounds, however large they are."""

from __future__ import annotations

import reprlib

#: Names and values of others are shown up to this length: enough to find the line.
MAX_SHOWN_CHARS = 160
#: The place of a value may hold the path of a file.
MAX_PLACE_CHARS = 400


class _Shown(reprlib.Repr):
    """`repr` within bounds: a value of a few bytes may stand for one of gigabytes."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 4, MAX_SHOWN_CHARS, MAX_SHOWN_CHARS
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 12

    def repr_int(self, x: int, level: int) -> str:
        """Show a number of thousands of digits, which Python refuses to print, by its length."""
        return repr(x) if x.bit_length() < 512 else f"<a number of {x.bit_length()} bits>"


def shown(value: object) -> str:
    """Return the `repr` of a value of others, cut to MAX_SHOWN_CHARS however large it is.

    >>> shown(["x"] * 100_000)
    "['x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', 'x', ...]"
    """
    return shortened(_Shown().repr(value))


def shortened(text: str, max_chars: int = MAX_SHOWN_CHARS) -> str:
    """Return a text of at most `max_chars` characters: the middle of a longer one is left out.

    >>> len(shortened("x" * 100_000))
    160
    """
    if len(text) <= max_chars:
        return text
    tail = (max_chars - 3) // 2
    return f"{text[: max_chars - 3 - tail]}...{text[-tail:]}"
