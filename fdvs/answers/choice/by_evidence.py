"""Options judged by what the passages say, without a language model.

Scores are added: the option's words heard in the passages (`fdvs.answers.choice.by_words`), the
cosine between the option and the passages nearest to it, and, where options are short, the same of
the statement that the option makes of the question. What all statements share, they share with the
question, so a part of their mean is taken off. An option that is near to any video tells little: a
share of its nearness to other videos is taken off each cosine. Passages at the time that the
question names are a little nearer (`fdvs.answers.choice.temporal`). The longer the options are, the
more passages carry one.

N options, P passages, B passages of other videos, D dimensions.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_words import SaidWords, WordMatcher
from fdvs.answers.choice.choice_settings import ChoiceSettings
from fdvs.answers.choice.chooser import Choice
from fdvs.answers.choice.options import best_place, check_asked, put_back, text_order
from fdvs.answers.choice.temporal import time_fit
from fdvs.answers.evidence import Material, Passage
from fdvs.answers.question import Asked, read_question
from fdvs.protocols import TextEmbedder
from fdvs.vectors import Doubles, unit_rows

MAX_EVIDENCE = 5  # passages that a choice is shown with


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Scores [N] of options in text order, and the likeness [N, P] that ranks the passages.

    `parts` holds the scores by name, unweighted: `words`, `meaning` of the option itself and, of
    short options, `statement`. `total` is their weighted sum.
    """

    parts: Mapping[str, Doubles]
    total: Doubles
    near: Doubles


class EvidenceChooser:
    """A Chooser by words and meaning. `background` holds the words of other videos, too."""

    backend = "evidence"

    def __init__(
        self,
        embedder: TextEmbedder,
        *,
        background: Background | None = None,
        settings: ChoiceSettings | None = None,
    ) -> None:
        self.settings = settings or ChoiceSettings()
        self._embedder = embedder
        self._background = background or Background()
        self._words = WordMatcher(
            embedder,
            self._background,
            enough_mentions=self.settings.enough_mentions,
            likeness=self.settings.likeness,
        )
        self._material: Material | None = None
        self._said: SaidWords | None = None

    def choose(self, question: str, options: Sequence[str], material: Material) -> Choice:
        """Return the chosen option with the scores of all.

        Raises InvalidValue for fewer than two options, NotFound where there is no passage.
        """
        check_asked(options, material)
        began = time.monotonic()
        order = text_order(options)
        judged = self.judge(question, [options[place] for place in order], material)
        scores = put_back(judged.total, order)
        chosen = best_place(scores, options)
        return Choice(
            scores=scores,
            chosen=chosen,
            evidence=nearest(judged.near[order.index(chosen)], material, MAX_EVIDENCE),
            backend=self.backend,
            parts={name: put_back(part, order) for name, part in judged.parts.items()},
            seconds=time.monotonic() - began,
        )

    def judge(self, question: str, options: Sequence[str], material: Material) -> Judged:
        """Score options, which come in text order, from at least one passage."""
        settings, asked = self.settings, read_question(question)
        time_P = settings.time_weight * self._time_fit(asked, material)
        rows_ND = unit_rows(self._embedder.embed_texts(options))
        others_N = self._nearness_to_others(rows_ND, material)
        near_NP = rows_ND @ unit_rows(material.vectors).T + time_P
        num = max(1, round(num_words(options)))
        parts = {
            "words": self._words.scores(options, self._said_in(material)),
            "meaning": mean_of_best(near_NP, num) - others_N,
        }
        if not stand_alone(options, settings):
            near_NP = self._statements(asked, options) @ unit_rows(material.vectors).T + time_P
            parts["statement"] = mean_of_best(near_NP, num) - others_N
        return Judged(parts=parts, total=weighted(parts, settings), near=near_NP)

    def _statements(self, asked: Asked, options: Sequence[str]) -> Doubles:
        statements = [asked.with_option(option) for option in options]
        rows_ND = unit_rows(self._embedder.embed_texts(statements))
        return unit_rows(rows_ND - self.settings.shared * rows_ND.mean(axis=0))

    def _time_fit(self, asked: Asked, material: Material) -> Doubles:
        if not asked.anchor:
            return time_fit(asked, material.passages, None)
        anchor_D = unit_rows(self._embedder.embed_texts([asked.anchor]))[0]
        return time_fit(asked, material.passages, unit_rows(material.vectors) @ anchor_D)

    def _nearness_to_others(self, rows_ND: Doubles, material: Material) -> Doubles:
        own = {passage.video_id for passage in material.passages}
        rows_BD = self._background.rows_beside(own)
        if not len(rows_BD):
            return np.zeros(len(rows_ND))
        near_N = mean_of_best(rows_ND @ rows_BD.T, self.settings.background_nearest)
        return self.settings.shared * near_N

    def _said_in(self, material: Material) -> SaidWords:
        """Return the words of the passages; those of the last material are kept."""
        if self._said is None or self._material is not material:
            self._said = self._words.said([passage.text for passage in material.passages])
            self._material = material
        return self._said


def weighted(parts: Mapping[str, ArrayLike], settings: ChoiceSettings) -> Doubles:
    """Return the sum [N] of the evidence's parts, weighted; other parts do not count."""
    weights = {"meaning": settings.meaning_weight, "statement": settings.statement_weight}
    total_N = np.array(parts["words"], dtype=np.float64)
    for name, weight in weights.items():
        if name in parts:
            total_N = total_N + weight * np.asarray(parts[name], dtype=np.float64)
    return total_N


def num_words(options: Sequence[str]) -> float:
    """Return the number of words of an option, on average over all: no option decides it."""
    return sum(len(option.split()) for option in options) / len(options)


def stand_alone(options: Sequence[str], settings: ChoiceSettings) -> bool:
    """Whether options are long enough to be judged without the question."""
    return num_words(options) >= settings.own_words


def mean_of_best(near_NP: Doubles, num: int) -> Doubles:
    """Return the mean of each row's `num` highest values, of all where there are fewer."""
    means_N: Doubles = np.sort(near_NP, axis=1)[:, -num:].mean(axis=1)
    return means_N


def nearest(near_P: Doubles, material: Material, num: int) -> tuple[Passage, ...]:
    """Return the nearest passages in time order, of equals the earlier ones."""
    best = np.argsort(-near_P.round(9), kind="stable")[:num]
    return tuple(material.passages[place] for place in sorted(best.tolist()))
