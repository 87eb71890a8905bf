"""Untrusted text made safe for a terminal: one line, no control characters, never markup.

Names of files and everything that a model, a subtitle or a person wrote go through here before
they are shown. JSON output does not: there, escaping is the encoder's work.
"""

from __future__ import annotations

import unicodedata

from fdvs.escapes import ESCAPES
from fdvs.timecode import citation

# Direction overrides can make a name read backwards: they are format characters of no use here.
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """Return the text without escape sequences and controls, white space as single spaces.

    A byte of a name that is not UTF-8 (a lone surrogate) becomes the replacement character.

    >>> one_line("a\\x1b[31mred\\n name")
    'ared name'
    """
    shown = "".join(map(_shown, ESCAPES.sub("", text)))
    return " ".join(shown.split())


def _shown(char: str) -> str:
    if char.isspace():
        return " "
    if char in _DIRECTIONS:
        return ""
    kind = unicodedata.category(char)
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cc" else char


def safe_citation(name: str, start_s: float, end_s: float) -> str:
    """Return `[NAME @ m:ss-m:ss]` with a name that is safe to print."""
    return citation(one_line(name), start_s, end_s)
