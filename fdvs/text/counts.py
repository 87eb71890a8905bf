"""Counts in words, with the noun and the verb that go with their number."""

from __future__ import annotations


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return `1 video`, `2 videos`; `plural` where an `s` does not make it.

    >>> counted(1, "word was cut", "words were cut"), counted(0, "file")
    ('1 word was cut', '0 files')
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def counted_of(number: int, total: int, noun: str, verb: str, plural_verb: str) -> str:
    """Return a part of a whole: the noun goes with the whole, the verb with the part.

    >>> counted_of(1, 10, "chapter", "holds", "hold"), counted_of(2, 2, "file", "has", "have")
    ('1 of 10 chapters holds', '2 of 2 files have')
    """
    return f"{number} of {counted(total, noun)} {verb if number == 1 else plural_verb}"
