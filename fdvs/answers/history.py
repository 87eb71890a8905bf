"""What was said before in a chat: bounded, fenced, and used to find what a short question means.

A turn is a question and the checked answer that was given. A question that says too little alone
("and then?", "what colour is it?") is looked up together with the question before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fdvs.prompting.fence import fence
from fdvs.text.vocabulary import STOP_WORDS, WORD

MAX_TURN_CHARS = 600
MIN_TELLING_WORDS = 2
# Words that point back to something said before.
_POINTING = frozenset(
    [
        "he",
        "she",
        "it",
        "they",
        "him",
        "her",
        "them",
        "his",
        "hers",
        "its",
        "their",
        "that",
        "this",
        "those",
        "these",
        "there",
        "then",
        "one",
        "ones",
        "else",
        "again",
        "same",
        "other",
        "afterwards",
        "instead",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A question of a chat and what was answered."""

    question: str
    answer: str


def looked_up(question: str, history: Sequence[Turn]) -> str:
    """Return what to search for: the question, behind the one before where it points back.

    >>> looked_up("And then?", [Turn(question="What does the hare eat?", answer="Grass.")])
    'What does the hare eat? And then?'
    """
    return f"{history[-1].question} {question}" if history and _points_back(question) else question


def _points_back(question: str) -> bool:
    words = WORD.findall(question.lower())
    telling = [word for word in words if word not in STOP_WORDS and word not in _POINTING]
    return len(telling) < MIN_TELLING_WORDS or any(word in _POINTING for word in words)


def fenced_history(history: Sequence[Turn], *, num_turns: int) -> str:
    """Return the last turns for a prompt, oldest first; "" where there are none."""
    last = history[-num_turns:] if num_turns else ()
    lines = [
        (mark, text[:MAX_TURN_CHARS])
        for turn in last
        for mark, text in (("Asked:", turn.question), ("Answered:", turn.answer))
    ]
    return fence("earlier", lines) if lines else ""
