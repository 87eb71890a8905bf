"""What every answerer offers, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fdvs.answers.evidence import Material, Passage


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen option of a multiple-choice question.

    `scores` has one number per option, higher is better, comparable only within the question;
    `chosen` is the place of the best (the first of equals after comparing texts, never places).
    `evidence` holds the passages that carried the chosen option, in time order.
    `parts` keeps what each backend scored, by its name.
    """

    scores: tuple[float, ...]
    chosen: int
    evidence: tuple[Passage, ...] = ()
    backend: str = ""
    parts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    num_prompt_tokens: int = 0
    seconds: float = 0.0


@runtime_checkable
class Chooser(Protocol):
    """Answers multiple-choice questions. Its answer does not depend on the options' order."""

    backend: str

    def choose(self, question: str, options: Sequence[str], material: Material) -> Choice:
        """Return the chosen option with the scores of all.

        Raises InvalidValue for fewer than two options, NotFound where there is no passage.
        """
        ...
