"""Hold a reply against the chapters that were given: what they carry is cited, the rest goes.

A sentence stays where a chapter supports it (`fdvs.answers.support`) and every time that it names
lies in the evidence. It is cited by the chapter that the model named, where that one is in the
evidence and carries the sentence, else by the one that carries it best. A chapter that reads like
an order supports nothing. What stays out is returned, never lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.answers.citations import (
    WrittenCitation,
    WrittenSentence,
    cited_moments,
    seconds,
    times_in,
)
from fdvs.answers.evidence import Material
from fdvs.answers.support import ChapterKey, chapter_support
from fdvs.prompting.injection import has_prompt_injection
from fdvs.protocols import TextEmbedder
from fdvs.text.sentences import finish
from fdvs.text.timecode import citation
from fdvs.types import AnswerSentence, Citation, Moment

UNSUPPORTED = "(not in the evidence)"
_DENIAL = re.compile(r"\b(?:no|not|none|nobody|nothing|never|neither|without|cannot)\b|n't\b", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A reply's sentences in their order, those without support, and what was wrong.

    `num_citations_removed` counts those of the model that lie outside of the evidence or in
    chapters that do not carry the sentence; `num_orders` the chapters that read like an order.
    """

    sentences: tuple[AnswerSentence, ...]
    unsupported: tuple[AnswerSentence, ...]
    num_citations_removed: int
    num_orders: int


def check_reply(
    written: Sequence[WrittenSentence],
    *,
    question: str,
    evidence: Sequence[Moment],
    material: Material,
    embedder: TextEmbedder,
    min_support: float,
) -> Checked:
    """Return the sentences with what supports them.

    Args:
        evidence: the chapters that were given, one moment each: only these are cited.
        material: their sentences.
        min_support: from here on a chapter carries a sentence.
    """
    moments = {(m.video_id, m.clips[0]): m for m in evidence}
    orders = {key for key, moment in moments.items() if has_prompt_injection(moment.text)}
    support = chapter_support([w.text for w in written], material, embedder, question=question)
    allowed = np.array([key in moments and key not in orders for key in support.chapters], bool)
    scores_SC = np.where(allowed, support.both, 0.0)
    denying = {key for key, moment in moments.items() if _denies(moment.text)}
    checked, num_removed = [], 0
    for sentence, scores_C in zip(written, scores_SC, strict=True):
        rows = dict(zip(support.chapters, scores_C.tolist(), strict=True))
        if _denies(sentence.text):  # nearness cannot tell "no car" from a car
            rows = {key: score if key in denying else 0.0 for key, score in rows.items()}
        found, num_bad = _one(sentence, rows, moments, min_support)
        checked.append(found)
        num_removed += num_bad
    return Checked(
        sentences=tuple(checked),
        unsupported=tuple(s for s in checked if not s.is_supported),
        num_citations_removed=num_removed,
        num_orders=len(orders),
    )


def _one(
    sentence: WrittenSentence,
    scores: Mapping[ChapterKey, float],
    moments: Mapping[ChapterKey, Moment],
    min_support: float,
) -> tuple[AnswerSentence, int]:
    """Return a sentence with its citations, and how many of the model's own were dropped."""
    best = max(scores.values(), default=0.0)
    text = finish(sentence.text)
    good, num_bad = _own_citations(sentence.citations, scores, moments, min_support)
    if best < min_support or not _times_hold(sentence.text, list(moments.values())):
        return AnswerSentence(text=text, support=best), len(sentence.citations)
    keys = good or [max(scores, key=lambda key: (scores[key], -key[1]))]  # of equals the earliest
    cited = tuple(_citation(moments[key], scores[key]) for key in keys)
    return AnswerSentence(text=text, support=best, citations=cited), num_bad


def _own_citations(
    written: Sequence[WrittenCitation],
    scores: Mapping[ChapterKey, float],
    moments: Mapping[ChapterKey, Moment],
    min_support: float,
) -> tuple[list[ChapterKey], int]:
    """Return the chapters that the model named rightly, and how many citations were wrong."""
    good: list[ChapterKey] = []
    num_bad = 0
    for one in written:
        keys = [(m.video_id, m.clips[0]) for m in cited_moments(one, list(moments.values()))]
        holding = [key for key in keys if scores.get(key, 0.0) >= min_support]
        num_bad += not holding
        good += [key for key in holding if key not in good]
    return good, num_bad


def _times_hold(text: str, evidence: Sequence[Moment]) -> bool:
    """Whether every time that the words name lies in the evidence, or stands in its text."""
    for time in times_in(text):
        at = WrittenCitation(name="", start_s=seconds(time), end_s=seconds(time))
        if not cited_moments(at, evidence) and not any(time in m.text for m in evidence):
            return False
    return True


def _denies(text: str) -> bool:
    return bool(_DENIAL.search(text))


def _citation(moment: Moment, support: float) -> Citation:
    return Citation(
        video_id=moment.video_id,
        name=moment.name,
        start_s=moment.start_s,
        end_s=moment.end_s,
        support=support,
    )


def told(sentences: Sequence[AnswerSentence]) -> str:
    """Return sentences as one text, each with its citations; without any it is marked so."""
    return " ".join(_told(sentence) for sentence in sentences)


def _told(sentence: AnswerSentence) -> str:
    cited = dict.fromkeys(citation(c.name, c.start_s, c.end_s) for c in sentence.citations)
    return " ".join([sentence.text, *(cited or [UNSUPPORTED])])
