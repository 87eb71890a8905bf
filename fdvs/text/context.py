"""What a sentence leaves out of the one it was taken from: "explains that X" told as "X".

A model that shortens what was said may drop who said it, or that it was an order ("do me a favour
and tell all that X"). A sentence that stands word for word behind such an opening in a passage is
therefore told as the passage tells it. Independent of languages but for the words that open.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fdvs.text.sentences import split_sentences

MIN_CHARS = 8  # letters of a sentence that is looked for; shorter ones are found anywhere
MIN_OPENING = 4  # letters in front of it
# what stands between an opening and what it opens
_OPENS = re.compile(
    "(?:[:：,，、“\"‘'«‹「『(-]|(?<![^\\W_])(?:that|dass|daß|que|qu|che|что|أن|إن|بأن|بغير))\\s*$",
    re.IGNORECASE,
)


def opened_by(sentence: str, passages: Iterable[str]) -> str:
    """Return the sentence of a passage that holds `sentence` behind an opening, "" without one.

    >>> opened_by("Water boils at 100 degrees.", ["She says that water boils at 100 degrees."])
    'She says that water boils at 100 degrees.'
    """
    letters, _ = _letters(sentence)
    found = ""
    if len(letters) < MIN_CHARS:
        return found
    for whole in (part for passage in passages for part in split_sentences(passage)):
        known, places = _letters(whole)
        at = known.find(letters)
        if at < 0:
            continue
        if at < MIN_OPENING or not _OPENS.search(whole[: places[at]]):
            return ""  # it is said so, without an opening
        found = found or whole
    return found


def _letters(text: str) -> tuple[str, list[int]]:
    """Return the letters and digits of a text, folded, and where each stands."""
    pairs = [(c, place) for place, one in enumerate(text) for c in one.casefold() if c.isalnum()]
    return "".join(c for c, _ in pairs), [place for _, place in pairs]


def in_context(text: str, passages: Iterable[str]) -> str:
    """Return a text whose sentences are told as passages tell them, quoted where that differs."""
    known = list(passages)
    told = []
    for sentence in split_sentences(text):
        whole = opened_by(sentence, known)
        told.append(f"“{whole.replace('“', '‘').replace('”', '’')}”" if whole else sentence)
    return " ".join(dict.fromkeys(told))
