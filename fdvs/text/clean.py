"""Clean untrusted text: subtitles, text on screen, file names, and what models or people write.

`clean_text` is for what is stored, embedded or given to a language model, `show_text` for names in
the database, and `one_line` for what is printed (JSON output is escaped by its encoder).
"""

from __future__ import annotations

import re
import unicodedata

from fdvs.errors import InvalidValue

# Terminal escape sequences, removed whole, since what is left of one is not text: CSI (colours,
# cursor), OSC (titles, links; ended by BEL or ST) and the sequences of two characters.
ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)

# Control, format (bidirectional overrides disguise a name), surrogate, line and paragraph
# separators: none of them belongs into a table, a prompt or a terminal.
HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
MAX_QUERY_CHARS = 2000  # embedders read a few hundred words
CUT_MARK = "..."

# invisible, besides the categories below: fillers and variation selectors
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0]")
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Co", "Cs"})
# at most this many characters are read for each one that may remain
_READ_AHEAD = 20


def clean_text(text: str, *, max_chars: int) -> str:
    """Return one line of visible text, at most `max_chars` long.

    Unicode NFKC, without terminal escape sequences, control, format, bidirectional and other
    invisible characters; white space becomes single spaces; a text that is too long is cut at the
    end of a word and marked by `...`.
    """
    if max_chars < len(CUT_MARK):
        raise ValueError(f"max_chars is {max_chars}; need at least {len(CUT_MARK)}")
    cut_early = len(text) > max_chars * _READ_AHEAD
    folded = " ".join(_visible(text[: max_chars * _READ_AHEAD]).split())
    if len(folded) <= max_chars and not cut_early:
        return folded
    return _cut(folded, max_chars)


def _visible(text: str) -> str:
    """Normalise, drop what is invisible, and normalise characters that are now adjacent."""
    shown = (_shown(c) for c in unicodedata.normalize("NFKC", ESCAPES.sub("", text)))
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", "".join(shown)))


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    return "" if unicodedata.category(character) in _UNSEEN_CATEGORIES else character


def _cut(text: str, max_chars: int) -> str:
    room = max_chars - len(CUT_MARK)
    head = text[:room]
    space = head.rfind(" ")
    # words are not cut, unless one alone is longer than half of the room
    if not text[room : room + 1].isspace() and space > room // 2:
        head = head[:space]
    return head.rstrip(" .") + CUT_MARK


def clean_query(query: str) -> str:
    """Return one line of visible text. Raises InvalidValue if nothing remains."""
    cleaned = clean_text(query, max_chars=MAX_QUERY_CHARS)
    if not cleaned:
        raise InvalidValue("query", query[:40], "text with at least one visible character")
    return cleaned


def show_text(text: str) -> str:
    r"""Return text for any terminal and database; undecodable bytes (PEP 383) as `\xNN`."""
    escaped = ESCAPED_BYTE.sub(lambda found: f"\\x{ord(found[0]) - 0xDC00:02x}", text)
    composed = unicodedata.normalize("NFC", escaped)
    return "".join(c for c in composed if unicodedata.category(c) not in HIDDEN_CATEGORIES)


# Direction overrides can make a name read backwards; other format characters join emoji.
_DIRECTIONS = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def one_line(text: str) -> str:
    """Return one line without escape sequences and controls, white space as single spaces.

    A byte of a name that is not UTF-8 (a lone surrogate) becomes the replacement character.

    >>> one_line("a\\x1b[31mred\\n name")
    'ared name'
    """
    shown = "".join(map(_printable, ESCAPES.sub("", text)))
    return " ".join(shown.split())


def _printable(char: str) -> str:
    if char.isspace():
        return " "
    if char in _DIRECTIONS:
        return ""
    kind = unicodedata.category(char)
    if kind == "Cs":
        return "\ufffd"
    return "" if kind == "Cc" else char
