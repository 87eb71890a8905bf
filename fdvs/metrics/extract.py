"""Which option a model's free words choose: a strict rule and a lenient one, told apart.

Strict: the reply is a letter and nothing else (brackets and closing marks aside). Lenient: a
letter that the words announce, else the only letter in them, else the only option whose text they
hold. Two candidates are no answer. Models that only differ in how they phrase an answer differ
under the strict rule, so a score names the rule; replies that cannot be read are counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from fdvs.errors import InvalidValue

Rule = Literal["strict", "lenient"]

MAX_REPLY_CHARS = 4000
MAX_OPTIONS = 26

_LETTER_ALONE = re.compile(r"[\s(\[*\"'`]*([A-Za-z])[\s)\].:*\"'`]*")
# "the answer is (B)", "Answer: B", "option B", "I choose B"; not "answer is not B"
_ANNOUNCED = re.compile(
    r"\b(?:answer|option|choice|choose|chose|select|pick)\b"
    r"(?:\s+(?:is|would\s+be|must\s+be|should\s+be|option|choice|letter))*"
    r"\s*[:=]?\s*[(\[*\"'`]*([A-Z])(?![A-Za-z'’])"
)
_LEADING = re.compile(r"\s*[(\[*\"'`]*([A-Z])[)\]*\"'`]*\s*[).:,\]\n-]")
_BRACKETED = re.compile(r"[(\[]\s*([A-Z])\s*[)\]]")
_CAPITAL = re.compile(r"(?<![A-Za-z'’])([A-Z])(?![A-Za-z'’])")
_DENIED = re.compile(
    r"\b(?:not|isn['’]t|never|neither|nor|except|rather than)\s+"
    r"(?:option\s+|answer\s+|choice\s+)?[(\[]?[A-Z](?![A-Za-z])[)\]]?",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")


def chosen_option(reply: str, options: Sequence[str], *, rule: Rule) -> int | None:
    """Return the place of the option that a reply chooses; None where it cannot be told.

    Options have the letters A, B, ... in their order. Only the reply's first 4,000 characters are
    read. Raises InvalidValue for fewer than 2 or more than 26 options.
    """
    if not 2 <= len(options) <= MAX_OPTIONS:
        raise InvalidValue("number of options", len(options), f"2 to {MAX_OPTIONS}")
    reply = reply[:MAX_REPLY_CHARS]
    alone = _LETTER_ALONE.fullmatch(reply)
    if alone:
        return _place(alone[1].upper(), len(options))
    return None if rule == "strict" else _lenient(reply, options)


def _lenient(reply: str, options: Sequence[str]) -> int | None:
    """Try the rules from the surest on; the first that finds a letter decides."""
    # long runs of spaces would make the patterns below slow
    reply = "\n".join(" ".join(line.split()) for line in reply.split("\n"))
    reply = _DENIED.sub(" ", re.sub(r"\n+", "\n", reply))
    announced = set(_ANNOUNCED.findall(reply))
    if announced:
        return _only(announced, len(options))
    bracketed = set(_BRACKETED.findall(reply))
    if bracketed:
        return _only(bracketed, len(options))
    leading = _LEADING.match(reply)
    if leading:
        return _place(leading[1], len(options))
    by_text = _by_text(reply, options)
    if by_text is not None:
        return by_text
    # A and I are words of English: alone in a sentence they choose nothing
    letters = {letter for letter in _CAPITAL.findall(reply) if letter not in "AI"}
    return _only(letters, len(options))


def _place(letter: str, num_options: int) -> int | None:
    place = ord(letter) - ord("A")
    return place if 0 <= place < num_options else None


def _only(letters: set[str], num_options: int) -> int | None:
    return _place(next(iter(letters)), num_options) if len(letters) == 1 else None


def _by_text(reply: str, options: Sequence[str]) -> int | None:
    """Return the only option whose words stand in the reply in a row.

    An option inside a longer one that also stands there does not count ("cat", "black cat").
    """
    said = _words(reply)
    texts = [_words(option) for option in options]
    held = [i for i, text in enumerate(texts) if text.strip() and text in said]
    longest = [
        i for i in held if not any(texts[i] in texts[j] and texts[i] != texts[j] for j in held)
    ]
    return longest[0] if len(longest) == 1 else None


def _words(text: str) -> str:
    """Return the words in lower case, one space between, before and after each."""
    return " " + " ".join(word.lower() for word in _WORD.findall(text)) + " "
