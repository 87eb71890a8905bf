"""Choosers: what they take and return, their settings, and the way from scores to a choice.

Scores are computed on options sorted by text and put back afterwards: the same options give the
same answer in any order, to the last bit.

N options.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.question import Question
from fdvs.errors import InvalidValue, NotFound
from fdvs.vectors import Doubles

DECIMALS = 9  # scores nearer than this are equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The chosen option of a multiple-choice question.

    Attributes:
        scores: one number per option, higher is better, comparable only within the question.
        chosen: the place of the best; of equals the first by its text, whatever its place.
        evidence: the passages that decided for the chosen option, in time order.
        parts: what each backend scored, by its name.
        num_background: the chapters of other videos that the options were weighed against.
    """

    scores: tuple[float, ...]
    chosen: int
    evidence: tuple[Passage, ...] = ()
    backend: str = ""
    parts: dict[str, tuple[float, ...]] = field(default_factory=dict)
    num_prompt_tokens: int = 0
    num_background: int = 0
    seconds: float = 0.0


@runtime_checkable
class Chooser(Protocol):
    """Answers multiple-choice questions. Its answer does not depend on the options' order."""

    backend: str

    def choose(self, question: Question, evidence: Evidence) -> Choice:
        """Return the chosen option of `question.options` with the scores of all.

        Raises InvalidValue for fewer than two options, NotFound where there is no passage.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceSettings:
    """Ten numbers, the same for every dataset and kind of question.

    Chosen by cross-validation by video on about half of EgoSchema's public questions (268) and of
    NExT-QA's validation questions (2,530, 285 videos), rounded; docs/decisions/012-answers.md has
    what was tried. None of them depends on an option's place or on how often it is right.

    Attributes:
        enough_mentions: a word that this many passages mention counts half.
        likeness: power of the cosine between two words; higher asks for nearer ones.
        own_words: options with at least this many words on average are compared as they are;
            shorter ones are also completed to statements with the question, and no language model
            is asked.
        shared: how much of what options share is subtracted: of a statement what all statements
            have in common (the question), of a cosine the nearness to other videos.
        meaning_weight: of the cosine between option and passages, beside the words' score.
        statement_weight: of the cosine between statement and passages, where options are short.
        time_weight: added to the cosine of a passage at the time that the question names.
        background_nearest: how many passages of other videos, of 2,000, that nearness is the mean
            of.
        blind_share: how much of an option's likelihood without evidence is subtracted.
        llm_weight: of a nat of likelihood, beside words and meaning.
    """

    enough_mentions: float = 3.0
    likeness: float = 6.0
    own_words: float = 8.0
    shared: float = 0.5
    meaning_weight: float = 2.5
    statement_weight: float = 3.5
    time_weight: float = 0.1
    background_nearest: int = 20
    blind_share: float = 0.5
    llm_weight: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """Scores of the options of a question, which come in text order.

    Attributes:
        total: higher is better, [N].
        parts: what `total` was made of, by name, each [N].
        passages: what each option rests on, in time order.
        num_prompt_tokens, num_background: see `Choice`.
    """

    total: Doubles
    parts: Mapping[str, Doubles]
    passages: Sequence[tuple[Passage, ...]]
    num_prompt_tokens: int = 0
    num_background: int = 0


class ScoringChooser(ABC):
    """A Chooser that takes the option of the highest score."""

    backend: str

    @abstractmethod
    def scores(self, question: Question, evidence: Evidence) -> Scores:
        """Score options, which come in text order, from at least one passage."""

    def choose(self, question: Question, evidence: Evidence) -> Choice:
        """Return the chosen option with the scores of all.

        Raises InvalidValue for fewer than two options, NotFound where there is no passage, and
        what the language model raises, where one is asked.
        """
        if len(question.options) < 2:
            raise InvalidValue("options", len(question.options), "two or more")
        if not evidence.passages:
            raise NotFound("there is no text about the video; build it first: fdvs build PATH")
        began = time.monotonic()
        order = text_order(question.options)
        in_order = question.with_options([question.options[place] for place in order])
        found = self.scores(in_order, evidence)
        total = put_back(found.total, order)
        chosen = best_place(total, question.options)
        return Choice(
            scores=total,
            chosen=chosen,
            evidence=found.passages[order.index(chosen)],
            backend=self.backend,
            parts={name: put_back(part, order) for name, part in found.parts.items()},
            num_prompt_tokens=found.num_prompt_tokens,
            num_background=found.num_background,
            seconds=time.monotonic() - began,
        )


def text_order(options: Sequence[str]) -> list[int]:
    """Return the places of the options in the order of their texts."""
    return sorted(range(len(options)), key=lambda place: options[place])


def put_back(scores: NDArray[np.floating], order: Sequence[int]) -> tuple[float, ...]:
    """Return scores of options in text order as scores in the order they were given in."""
    placed = [0.0] * len(order)
    for score, place in zip(scores, order, strict=True):
        placed[place] = round(float(score), DECIMALS)
    return tuple(placed)


def best_place(scores: Sequence[float], options: Sequence[str]) -> int:
    """Return the place of the best score; of equals the option that comes first by its text."""
    return min(range(len(options)), key=lambda place: (-scores[place], options[place]))
