"""Words as plain text: nothing in them can be taken for a citation of ours, for Markdown or HTML.

What a video says or shows may hold `[other.mp4 @ 0:00-0:05]`, `![x](http://...)` or `<img ...>`. A
reader would take the first for a citation, and a chat that renders answers would load the others.
So words lose these meanings where they enter (docs/decisions/027), and stay readable: `x < y`,
`C++ [1]` and addresses as they are said remain as they are. Applying it twice changes nothing.
"""

from __future__ import annotations

import re

from fdvs.text.clean import clean_text, one_line

_OPENS, _CLOSES = "[［【〔〖〚⟦❲⁅﹝", "]］】〕〗〛⟧❳⁆﹞"
_AT = "@＠﹫"
_TIME = r"\d{1,3}\s*[:：∶꞉ː˸]\s*\d{2}"
_INSIDE = f"[^{re.escape(_OPENS + _CLOSES)}]"
_TOUCHED = re.compile(f"[<＜{re.escape(_OPENS + _CLOSES)}{_AT}]")
_AT_TIME = re.compile(rf"[{_AT}](?=\s*{_TIME})")
_TIMED = re.compile(
    rf"[{re.escape(_OPENS)}]({_INSIDE}{{0,300}}?{_TIME}{_INSIDE}{{0,300}}?)[{re.escape(_CLOSES)}]"
)
_OPEN_TIMED = re.compile(rf"[{re.escape(_OPENS)}](?={_INSIDE}{{0,200}}{_TIME})")
_TIME_CLOSED = re.compile(rf"({_TIME}\s*)[{re.escape(_CLOSES)}]")
# ![alt](address), [text](address), [text][name], [name]: address
_LINKS = ((re.compile(r"!(?=\[)"), "! "), (re.compile(r"\](?=[(\[:])"), "] "))
# a tag, a comment or an address: "<" in front of a letter or of one of / ! ? | $
_TAG = re.compile(r"[<＜]+(?=[^\W\d_]|[/!?|｜$])([^<>＜＞]{0,1000})[>＞]+")
_LONE_TAG = re.compile(r"[<＜](?=[<＜]*(?:[^\W\d_]|[/!?|｜$]))")
AT = "(at)"
_NAME = str.maketrans(
    {**dict.fromkeys(_OPENS, "("), **dict.fromkeys(_CLOSES, ")"), **dict.fromkeys(_AT, AT)}
)


def plain_words(text: str) -> str:
    """Return a text in which nothing reads as our citation, as a link, an image or a tag.

    >>> plain_words("See [a.mp4 @ 0:00-0:05] ![x](http://e) <b>x < y</b>, C++ [1]")
    'See (a.mp4 (at) 0:00-0:05) ! [x] (http://e) ‹b›x < y‹/b›, C++ [1]'
    """
    if not _TOUCHED.search(text):
        return text
    text = _AT_TIME.sub(AT, text)
    text = _TIMED.sub(r"(\1)", text)
    text = _TIME_CLOSED.sub(r"\1)", _OPEN_TIMED.sub("(", text))
    for pattern, instead in _LINKS:
        text = pattern.sub(instead, text)
    return _LONE_TAG.sub("‹", _TAG.sub(r"‹\1›", text))


def clean_words(text: str, *, max_chars: int) -> str:
    """Return a text from outside as one bounded line of plain words."""
    words = plain_words(clean_text(text, max_chars=max_chars))
    return words if len(words) <= max_chars else clean_text(words, max_chars=max_chars)


def plain_line(text: str) -> str:
    """Return a name as one line that draws nothing on a terminal and reads as no citation."""
    return plain_words(one_line(text))


def name_in_words(name: str) -> str:
    """Return a file's name without brackets and `@`, so that it ends no citation and begins none.

    >>> name_in_words("x @ 0:00-0:10] [y.mp4")
    'x (at) 0:00-0:10) (y.mp4'
    """
    return name.translate(_NAME)
