"""Whether the videos show what a question is about: how well it fits the passages.

Being near is not enough: "a man in a room" is near to everything. So a question, said as a
statement, is compared with the nearest passages and with sentences about everyday scenes
(`fdvs.answers.everyday`), and what the passages are nearer counts. More passages come nearer by
chance alone, which is taken off as a share of the logarithm of their number. With options, the
nearest statement with an option counts, and the share of its telling words that any passage holds;
everyday sentences then count whole, since a statement with an option names more.

    fit(s) = mean of the 3 nearest passages - EVERYDAY_SHARE mean of the 10 nearest everyday ones
             - PASSAGES ln(number of passages)        [+ WORDS share, with options]

The weights and the bounds `ask.min_fit`, `ask.min_choice_fit` were chosen on half of the videos
of a benchmark and measured on the other half: docs/decisions/013, research/eval_evidence.py. They
hold for the embedder all-MiniLM-L6-v2.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from fdvs.answers.everyday import EVERYDAY
from fdvs.answers.evidence import Material
from fdvs.answers.support import share
from fdvs.protocols import TextEmbedder
from fdvs.text.vocabulary import stems
from fdvs.vectors import Doubles, unit_rows

NUM_NEAREST, NUM_EVERYDAY = 3, 10
EVERYDAY_SHARE, EVERYDAY_SHARE_CHOICE = 0.7, 1.0
PASSAGES, WORDS = 0.04, 0.1
ANY_QUESTION = 1.0  # the fit of a question about nothing in particular
# Stems of questions that every video answers: "what happens at the end?", "where was it taken?"
_GENERAL = frozenset(
    [
        "happen",
        "video",
        "film",
        "clip",
        "scene",
        "stori",
        "end",
        "begin",
        "start",
        "describ",
        "summar",
        "summari",
        "tell",
        "see",
        "seen",
        "show",
        "shown",
        "go",
        "do",
        "first",
        "last",
        "final",
        "thing",
        "take",
        "taken",
        "place",
        "locat",
        "record",
        "occur",
    ]
)

_ASKING = re.compile(r"^(?:how many|how|why|where|when|what|who|whom|whose|which)\b\s*", re.I)
_HELPING = re.compile(r"^(?:did|does|do|is|are|was|were|has|have|had|can|could|will)\b\s*", re.I)
_DOING = re.compile(r"\b(?:do|doing) (after|before|while|when|as|at|in|on)\b", re.I)


def statement_of(question: str) -> str:
    """Return a question without its asking words, as passages would say it.

    >>> statement_of("What does the dog do after it jumps?")
    'the dog after it jumps'
    """
    words = question.strip().rstrip("?.! ")
    said = _DOING.sub(r"\1", _HELPING.sub("", _ASKING.sub("", words)))
    return said.strip() or words


class FitJudge:
    """Says how well questions fit passages; keeps the everyday sentences' vectors."""

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self._everyday: Doubles | None = None
        self._said: tuple[Material | None, frozenset[str]] = (None, frozenset())

    def fit(self, question: str, material: Material, *, num_passages: int | None = None) -> float:
        """Return the fit of an open question; one about nothing in particular always fits.

        `num_passages`: of all that could have been near, where `material` is a choice of them.
        """
        if not frozenset(stems([question])[0]) - _GENERAL:
            return ANY_QUESTION
        (score,) = self._scores([statement_of(question)], material, EVERYDAY_SHARE)
        return round(score - PASSAGES * math.log(num_passages or len(material.passages)), 6)

    def choice_fit(self, question: str, options: Sequence[str], material: Material) -> float:
        """Return the fit of a question with options: that of the nearest one."""
        statement = statement_of(question)
        said = [f"{statement} {option}" for option in options]
        scores = self._scores(said, material, EVERYDAY_SHARE_CHOICE)
        best = options[int(np.argmax(scores))]
        words = share(frozenset(stems([f"{question} {best}"])[0]), self._words_of(material))
        fit = max(scores) - PASSAGES * math.log(len(material.passages)) + WORDS * words
        return round(fit, 6)

    def _words_of(self, material: Material) -> frozenset[str]:
        """Return the stems of a material; those of the last one are kept."""
        if self._said[0] is not material:
            found = stems(passage.text for passage in material.passages)
            self._said = material, frozenset(word for words in found for word in words)
        return self._said[1]

    def _scores(
        self, statements: Sequence[str], material: Material, everyday_share: float
    ) -> list[float]:
        rows_SD = unit_rows(self._embedder.embed_texts(statements))
        if self._everyday is None:
            self._everyday = unit_rows(self._embedder.embed_texts(EVERYDAY))
        near_S = nearest(rows_SD @ unit_rows(material.vectors).T, NUM_NEAREST)
        plain_S = nearest(rows_SD @ self._everyday.T, NUM_EVERYDAY)
        return [float(score) for score in near_S - everyday_share * plain_S]


def nearest(scores_SP: Doubles, num: int) -> Doubles:
    """Return the mean of each row's `num` largest."""
    ordered_SP: Doubles = np.sort(scores_SP, axis=1)[:, ::-1]
    best_S: Doubles = ordered_SP[:, :num].mean(axis=1)
    return best_S
