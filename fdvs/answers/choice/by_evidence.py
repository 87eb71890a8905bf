"""Score options by what the passages say, without a language model.

Scores are added: how well the option's words occur in the passages
(`fdvs.answers.choice.by_words`), the cosine between the option and the passages nearest to it, and,
where options are short, the same of the statement that the option makes of the question. What all
statements share, they share with the question, so a part of their mean is subtracted. That an
option is near to any video says little, so a share of its nearness to other videos is subtracted
from each cosine. The longer the options are, the more passages are averaged.

Passages at the time that the question names (after, before or at an event, or at the end) are a
little nearer: a fit between 0 and 1 is added with a small weight, so that time decides between
passages that are about equally near, and never against all of them. The event is found among the
passages themselves: the one most like the question's clause.

N options, P passages, B passages of other videos, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_words import PassageWords, WordMatcher
from fdvs.answers.choice.chooser import ChoiceSettings, Scores, ScoringChooser
from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.fit import mean_of_largest
from fdvs.answers.question import Question
from fdvs.protocols import TextEmbedder
from fdvs.vectors import Doubles, unit_rows

MAX_EVIDENCE = 5  # passages that an option rests on


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EvidenceScores(Scores):
    """Scores by evidence, and the likeness `near` [N, P] of options and passages.

    Unweighted, the parts are `words`, `meaning` of the option itself and, of short options,
    `statement`.
    """

    near: Doubles


class EvidenceChooser(ScoringChooser):
    """A Chooser by words and meaning. `background` holds what other videos say."""

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
        self._last: tuple[Evidence, PassageWords] | None = None

    def scores(self, question: Question, evidence: Evidence) -> EvidenceScores:
        """Score options, which come in text order, from at least one passage."""
        settings, options = self.settings, question.options
        time_P = settings.time_weight * self._time_fit(question, evidence)
        rows_ND = unit_rows(self._embedder.embed_texts(options))
        others_N = self._nearness_to_others(rows_ND, evidence)
        near_NP = rows_ND @ unit_rows(evidence.vectors).T + time_P
        num = max(1, round(num_words(options)))
        parts = {
            "words": self._words.scores(options, self._words_of(evidence)),
            "meaning": mean_of_largest(near_NP, num) - others_N,
        }
        total_N = parts["words"] + settings.meaning_weight * parts["meaning"]
        if not stand_alone(options, settings):
            near_NP = self._statements(question) @ unit_rows(evidence.vectors).T + time_P
            parts["statement"] = mean_of_largest(near_NP, num) - others_N
            total_N = total_N + settings.statement_weight * parts["statement"]
        return EvidenceScores(
            total=total_N,
            parts=parts,
            passages=[nearest(near_P, evidence, MAX_EVIDENCE) for near_P in near_NP],
            num_background=self._background.num_beside({p.video_id for p in evidence.passages}),
            near=near_NP,
        )

    def _statements(self, question: Question) -> Doubles:
        rows_ND = unit_rows(self._embedder.embed_texts(question.statements))
        return unit_rows(rows_ND - self.settings.shared * rows_ND.mean(axis=0))

    def _time_fit(self, question: Question, evidence: Evidence) -> Doubles:
        if not question.anchor:
            return time_fit(question, evidence.passages, None)
        anchor_D = unit_rows(self._embedder.embed_texts([question.anchor]))[0]
        return time_fit(question, evidence.passages, unit_rows(evidence.vectors) @ anchor_D)

    def _nearness_to_others(self, rows_ND: Doubles, evidence: Evidence) -> Doubles:
        own = {passage.video_id for passage in evidence.passages}
        rows_BD = self._background.rows_beside(own)
        if not len(rows_BD):
            return np.zeros(len(rows_ND))
        near_N = mean_of_largest(rows_ND @ rows_BD.T, self.settings.background_nearest)
        return self.settings.shared * near_N

    def _words_of(self, evidence: Evidence) -> PassageWords:
        """Return the words of the passages; those of the last evidence are kept."""
        if self._last is None or self._last[0] is not evidence:
            words = self._words.words_of([passage.text for passage in evidence.passages])
            self._last = evidence, words
        return self._last[1]


def num_words(options: Sequence[str]) -> float:
    """Return the number of words of an option, on average over all: no option decides it."""
    return sum(len(option.split()) for option in options) / len(options)


def stand_alone(options: Sequence[str], settings: ChoiceSettings) -> bool:
    """Return whether options are long enough to be compared without the question."""
    return num_words(options) >= settings.own_words


def nearest(near_P: Doubles, evidence: Evidence, num: int) -> tuple[Passage, ...]:
    """Return the nearest passages in time order, of equals the earlier ones."""
    best = np.argsort(-near_P.round(9), kind="stable")[:num]
    return tuple(evidence.passages[place] for place in sorted(best.tolist()))


def time_fit(
    question: Question, passages: Sequence[Passage], near_anchor_P: NDArray[np.floating] | None
) -> Doubles:
    """Return how well each passage stands at the time that the question names. Shape [P].

    `near_anchor_P` is each passage's likeness to `question.anchor`; None without an anchor. With a
    position and an event both count, and the sum is returned; zeros where the question names none.
    """
    shares_P = video_shares(passages)
    fit_P = _position_fit(question, shares_P)
    if question.relation and near_anchor_P is not None:
        fit_P = fit_P + _relation_fit(question, passages, shares_P, near_anchor_P)
    return fit_P


def video_shares(passages: Sequence[Passage]) -> Doubles:
    """Return where each passage's middle lies in its own video, from 0 to 1. Shape [P]."""
    last: dict[str, float] = {}
    for passage in passages:
        last[passage.video_id] = max(last.get(passage.video_id, 0.0), passage.end_s)
    return np.array(
        [
            (p.start_s + p.end_s) / 2 / last[p.video_id] if last[p.video_id] else 0.0
            for p in passages
        ]
    )


def _position_fit(question: Question, shares_P: Doubles) -> Doubles:
    if question.position == "end":
        return shares_P
    if question.position == "start":
        return 1 - shares_P
    if question.position == "middle":
        return 1 - 2 * np.abs(shares_P - 0.5)
    return np.zeros_like(shares_P)


def _relation_fit(
    question: Question,
    passages: Sequence[Passage],
    shares_P: Doubles,
    near_anchor_P: NDArray[np.floating],
) -> Doubles:
    """Return the fit to an event, 0 in other videos; the event's own moment fits only "at" it."""
    at = int(np.argmax(near_anchor_P))
    anchor = passages[at]
    is_there_P = np.array([p.video_id == anchor.video_id for p in passages])
    if question.relation == "after":
        fits_P = np.array([p.start_s > anchor.start_s for p in passages], dtype=np.float64)
    elif question.relation == "before":
        fits_P = np.array([p.start_s < anchor.start_s for p in passages], dtype=np.float64)
    else:
        fits_P = 1 - np.abs(shares_P - shares_P[at])
    return np.where(is_there_P, fits_P, 0.0)
