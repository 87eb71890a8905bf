"""What a question says before it is answered: its statement, and the time that it names.

Works on the words of the question alone, by a few English patterns. A question that fits none of
them is its own statement and names no time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Relation = Literal["", "after", "before", "at"]
Position = Literal["", "start", "middle", "end"]

_HELPING = r"(?:did|does|do|is|are|was|were|has|have|had|can|could|will|would)"
_OPENING = re.compile(rf"(?P<word>what|how|why|where|who|which|when)\b\s*(?:{_HELPING}\b)?\s*")
_TIME_CLAUSE = re.compile(
    r"\b(?P<word>after|before|while|when|as|during|once|until|upon)\b\s+(?P<anchor>.+)$"
)
_RELATIONS: dict[str, Relation] = {
    "after": "after", "once": "after", "upon": "after", "before": "before", "until": "before",
}  # fmt: skip
# "what does he do", "how does she react": the option is the verb, so this one goes
_EMPTY_VERB_LAST = re.compile(r"\b(?:do|does|did|doing|react|reacted|respond|responded)\s*$")
_EMPTY_VERB = re.compile(
    r"\b(?:do|doing|react|respond)\b\s*(?=(?:at|in|near|to|towards|with|for|on|during)\b)"
)
_POSITIONS: tuple[tuple[Position, re.Pattern[str]], ...] = (
    ("end", re.compile(
        r"\b(?:at|in|near|towards?|by) (?:the )?(?:very )?(?:end|ending)\b|\blast\b|\bfinally\b"
        r"|\beventually\b")),
    ("start", re.compile(
        r"\b(?:at|in|near|from) (?:the )?(?:very )?(?:start|beginning)\b|\bfirst\b|\binitially\b")),
    ("middle", re.compile(r"\bin the middle of the (?:video|film|clip)\b|\bin the middle\s*$")),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A question taken apart, in lower case.

    Attributes:
        statement: the question without its asking words and without the clause about time.
        relation: where the answer lies from the anchor: after it, before it, or at it.
        anchor: the event that the question names, in its words; empty without a relation.
        position: the part of the video that the question names.
    """

    statement: str
    relation: Relation = ""
    anchor: str = ""
    position: Position = ""

    def with_option(self, option: str) -> str:
        """Return the statement that an option makes of the question."""
        return f"{self.statement} {option}".strip()


def read_question(question: str) -> Asked:
    """Take a question apart.

    >>> read_question("What does the dog do after it jumps?")
    Asked(statement='the dog', relation='after', anchor='it jumps', position='')
    """
    words = " ".join(question.lower().split()).rstrip("?!. ")
    clause = _TIME_CLAUSE.search(words)
    if clause is None or clause.start() == 0:
        return Asked(statement=_statement(words), position=_position(words))
    return Asked(
        statement=_statement(words[: clause.start()].strip()),
        relation=_RELATIONS.get(clause["word"], "at"),
        anchor=clause["anchor"],
        position=_position(words),
    )


def _statement(words: str) -> str:
    opening = _OPENING.match(words)
    if opening is None:
        return words
    rest = words[opening.end() :]
    if opening["word"] in ("what", "how"):
        rest = _EMPTY_VERB.sub("", _EMPTY_VERB_LAST.sub("", rest))
    return rest.strip()


def _position(words: str) -> Position:
    return next((name for name, pattern in _POSITIONS if pattern.search(words)), "")
