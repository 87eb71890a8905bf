"""Answers without a language model: the evidence is quoted, or the question is refused."""

from __future__ import annotations

import numpy as np

from fdvs.answers.check import with_citations
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.protocols import TextEmbedder
from fdvs.search.moments import NEAR_BEST
from fdvs.text.sentences import finish
from fdvs.types import Answer, AnswerSentence, Citation, Moment
from fdvs.vectors import unit_rows

MAX_QUOTED = 3
REFUSAL = "Not in the evidence: the videos do not show an answer to this."
FIT_BACKEND = "the fit of question and chapters"
QUOTE_BACKEND = "evidence: the sentences of the chapters nearest to the question, no language model"


def too_little_fit(evidence: Evidence, needed: float) -> str:
    """Return the reason of a refusal for want of fit."""
    return f"no chapter fits the question (fit {evidence.fit:.2f}, needed {needed:g})"


def refuse(question: Question, evidence: Evidence, reason: str) -> Answer:
    """Say that the evidence does not hold an answer; the nearest chapters are shown."""
    return Answer(
        question=question.text,
        text=REFUSAL,
        evidence=evidence.moments,
        backend=FIT_BACKEND,
        attention="none",
        refused=True,
        reason=reason,
        fit=evidence.fit,
    )


def quote(question: Question, evidence: Evidence, embedder: TextEmbedder) -> Answer:
    """Quote the sentences of the evidence that are nearest to the question, in time order."""
    moments = {(m.video_id, m.clips[0]): m for m in evidence.moments}
    places: dict[str, int] = {}  # each text once, where it stands first
    for place, passage in enumerate(evidence.passages):
        if (passage.video_id, passage.chapter) in moments:
            places.setdefault(passage.text, place)
    sentences = []
    for place in _nearest(list(places.values()), question, evidence, embedder):
        passage = evidence.passages[place]
        sentences.append(_quoted(passage.text, moments[passage.video_id, passage.chapter]))
    return Answer(
        question=question.text,
        text=with_citations(sentences),
        evidence=evidence.moments,
        backend=QUOTE_BACKEND,
        attention="none",
        sentences=tuple(sentences),
        support=1.0,
        fit=evidence.fit,
    )


def _nearest(
    places: list[int], question: Question, evidence: Evidence, embedder: TextEmbedder
) -> list[int]:
    """Return the places of the passages nearest to the question, and about as near as the best."""
    asked_D = unit_rows(embedder.embed_texts([question.text]))[0]
    cosines = np.round(unit_rows(evidence.vectors[places]) @ asked_D, 6)
    best = sorted(range(len(places)), key=lambda i: (-cosines[i], i))[:MAX_QUOTED]
    near = [i for i in best if cosines[i] >= NEAR_BEST * cosines[best[0]] or i == best[0]]
    return [places[i] for i in sorted(near)]


def _quoted(text: str, moment: Moment) -> AnswerSentence:
    inside = finish(text).replace("“", "‘").replace("”", "’")
    cited = Citation(**moment.where(), support=1.0)
    return AnswerSentence(text=f"“{inside}”", support=1.0, citations=(cited,))
