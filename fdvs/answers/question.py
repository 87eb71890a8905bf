"""A question, taken apart once: what to search for, what it states, and the time that it names.

Works on the words alone, by a few English patterns. A question that fits none of them is its own
statement and names no time. Knows neither videos nor models.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fdvs.answers.reach import Reach
from fdvs.errors import InvalidValue
from fdvs.text.clean import clean_query, clean_text
from fdvs.text.vocabulary import STOP_WORDS, WORD

Relation = Literal["", "after", "before", "at"]
Position = Literal["", "start", "middle", "end"]

MAX_OPTIONS = 26
MAX_OPTION_CHARS = 500
# A question with fewer content words than this is searched together with the one before it.
MIN_CONTENT_WORDS = 2
# Words that refer to something said before.
_REFERRING = frozenset(
    """
he she it they him her them his hers its their that this those these there then one ones else
again same other afterwards instead
""".split()
)

_HELPING = r"(?:did|does|do|is|are|was|were|has|have|had|can|could|will|would)"
_OPENING = re.compile(rf"(?P<word>what|how|why|where|who|which|when)\b\s*(?:{_HELPING}\b)?\s*")
_TIME_CLAUSE = re.compile(
    r"\b(?P<word>after|before|while|when|as|during|once|until|upon)\b\s+(?P<anchor>.+)$"
)
_RELATIONS: dict[str, Relation] = {
    "after": "after", "once": "after", "upon": "after", "before": "before", "until": "before",
}  # fmt: skip
# In "what does he do" and "how does she react" the option is the verb, so this one goes.
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
# The fit keeps the clause about time, and was calibrated with these patterns (decision 013).
_FIT_OPENING = re.compile(
    r"^(?:how many|how|why|where|when|what|who|whom|whose|which)\b\s*", re.IGNORECASE
)
_FIT_HELPING = re.compile(
    r"^(?:did|does|do|is|are|was|were|has|have|had|can|could|will)\b\s*", re.IGNORECASE
)
_FIT_EMPTY_VERB = re.compile(r"\b(?:do|doing) (after|before|while|when|as|at|in|on)\b", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question of a chat and the checked answer that was given."""

    question: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question and everything that its words say.

    Attributes:
        text: the question.
        search_text: what is searched for: `text`, after the previous question of the chat where it
            refers back to that ("What colour is it?").
        history: the chat so far, oldest turn first.
        options: the answers to choose from; none for an open question.
        statement: `text` in lower case, without its asking words and without the clause about time.
        fit_statement: `search_text` without its asking words, as a passage would say it.
        relation: where the answer lies from the anchor: after it, before it, or at it.
        anchor: the event that the question names, in its words; empty without a relation.
        position: the part of the video that the question names.
        reach: one matter, the whole, topics or videos, and the time named (`fdvs.answers.reach`).
    """

    text: str
    search_text: str
    history: tuple[Turn, ...] = ()
    options: tuple[str, ...] = ()
    statement: str
    fit_statement: str
    relation: Relation = ""
    anchor: str = ""
    position: Position = ""
    reach: Reach = field(default_factory=Reach)

    @classmethod
    def parse(
        cls, text: str, *, history: Sequence[Turn] = (), options: Sequence[str] = ()
    ) -> Question:
        """Clean and take apart a question that somebody asks.

        With options the chat is not searched: a question to choose from stands for itself.

        Raises:
            InvalidValue: the question holds no visible text, or there are fewer than two options,
                too many, an empty one, or equal ones.
        """
        cleaned = clean_query(text)
        if options:
            return cls.of(cleaned, _clean_options(options))
        search_text = _search_text(cleaned, history)
        return replace(
            cls.of(cleaned),
            history=tuple(history),
            search_text=search_text,
            fit_statement=_fit_statement(search_text),
        )

    @classmethod
    def of(cls, text: str, options: Sequence[str] = ()) -> Question:
        """Take apart a question as it is, unchecked: for records of a dataset.

        >>> asked = Question.of("What does the dog do after it jumps?")
        >>> asked.statement, asked.relation, asked.anchor, asked.fit_statement
        ('the dog', 'after', 'it jumps', 'the dog after it jumps')
        """
        words = " ".join(text.lower().split()).rstrip("?!. ")
        clause = _TIME_CLAUSE.search(words)
        if clause is not None and clause.start() == 0:
            clause = None
        return cls(
            text=text,
            search_text=text,
            options=tuple(options),
            statement=_statement(words if clause is None else words[: clause.start()].strip()),
            fit_statement=_fit_statement(text),
            relation="" if clause is None else _RELATIONS.get(clause["word"], "at"),
            anchor="" if clause is None else clause["anchor"],
            position=next((name for name, pattern in _POSITIONS if pattern.search(words)), ""),
            reach=Reach() if options else Reach.of(text),
        )

    def with_options(self, options: Sequence[str]) -> Question:
        """Return the question with these options."""
        return replace(self, options=tuple(options))

    @property
    def statements(self) -> list[str]:
        """The statement that each option makes of the question."""
        return [f"{self.statement} {option}".strip() for option in self.options]

    @property
    def fit_statements(self) -> list[str]:
        """The same of `fit_statement`; that alone for an open question."""
        if not self.options:
            return [self.fit_statement]
        return [f"{self.fit_statement} {option}" for option in self.options]


def _clean_options(options: Sequence[str]) -> tuple[str, ...]:
    """Return options as single visible lines. Raises InvalidValue, see `Question.parse`."""
    cleaned = tuple(clean_text(option, max_chars=MAX_OPTION_CHARS) for option in options)
    if not 2 <= len(cleaned) <= MAX_OPTIONS:
        raise InvalidValue("options", len(cleaned), f"2 to {MAX_OPTIONS} of them")
    if not all(cleaned):
        raise InvalidValue("options", "an empty text", "texts with at least one visible character")
    if len(set(cleaned)) < len(cleaned):
        raise InvalidValue("options", list(cleaned), "different texts")
    return cleaned


def _search_text(text: str, history: Sequence[Turn]) -> str:
    """Return the question, after the one before it where it refers back."""
    if not history or not _refers_back(text):
        return text
    return clean_query(f"{history[-1].question} {text}")


def _refers_back(text: str) -> bool:
    words = WORD.findall(text.lower())
    content = [word for word in words if word not in STOP_WORDS and word not in _REFERRING]
    return len(content) < MIN_CONTENT_WORDS or any(word in _REFERRING for word in words)


def _statement(words: str) -> str:
    opening = _OPENING.match(words)
    if opening is None:
        return words
    rest = words[opening.end() :]
    if opening["word"] in ("what", "how"):
        rest = _EMPTY_VERB.sub("", _EMPTY_VERB_LAST.sub("", rest))
    return rest.strip()


def _fit_statement(text: str) -> str:
    words = text.strip().rstrip("?.! ")
    rest = _FIT_EMPTY_VERB.sub(r"\1", _FIT_HELPING.sub("", _FIT_OPENING.sub("", words)))
    return rest.strip() or words
