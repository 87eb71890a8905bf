"""The citation check: what the evidence supports is cited, everything else is removed.

A sentence stays where a chapter supports it (`fdvs.answers.support`) and every time that it names
lies in the evidence. It is cited by the chapter that the model named, where that one is in the
evidence and supports the sentence, else by the one that supports it best. What is marked as an
order supports nothing, nor does a chapter with a prompt injection that is not marked. What is
removed is returned, never lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.answers.evidence import Evidence
from fdvs.answers.reply import (
    WrittenCitation,
    WrittenSentence,
    cited_moments,
    seconds,
    times_in,
)
from fdvs.answers.support import ChapterKey, chapter_support
from fdvs.prompting.injection import has_prompt_injection
from fdvs.prompting.marks import unmarked
from fdvs.protocols import TextEmbedder
from fdvs.text.plain import plain_words
from fdvs.text.sentences import finish
from fdvs.text.timecode import citation
from fdvs.types import AnswerSentence, Citation, Moment

UNSUPPORTED = "(not in the evidence)"
_NEGATION = re.compile(
    r"\b(?:no|not|none|nobody|nothing|never|neither|without|cannot)\b|n't\b", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A reply's sentences in their order, those without support, and what was wrong.

    `num_citations_removed` counts those of the model that lie outside of the evidence or in
    chapters that do not support the sentence; `num_injected` the chapters that hold a
    prompt injection.
    """

    sentences: tuple[AnswerSentence, ...]
    unsupported: tuple[AnswerSentence, ...]
    num_citations_removed: int
    num_injected: int

    @property
    def supported(self) -> tuple[AnswerSentence, ...]:
        return tuple(sentence for sentence in self.sentences if sentence.is_supported)


def check_reply(
    written: Sequence[WrittenSentence],
    *,
    question: str,
    evidence: Evidence,
    embedder: TextEmbedder,
    min_support: float,
) -> Checked:
    """Return the sentences with what supports them.

    Args:
        evidence: only chapters of its moments are cited.
        min_support: from here on a chapter supports a sentence, 0 to 1.
    """
    moments = {(m.video_id, m.clips[0]): m for m in evidence.moments}
    injected = {
        key for key, moment in moments.items() if has_prompt_injection(unmarked(moment.text))
    }
    support = chapter_support([w.text for w in written], evidence, embedder, question=question)
    allowed = np.array([key in moments and key not in injected for key in support.chapters], bool)
    scores_SC = np.where(allowed, support.both, 0.0)
    negating = {key for key, moment in moments.items() if _negates(unmarked(moment.text))}
    checked, num_removed = [], 0
    for sentence, scores_C in zip(written, scores_SC, strict=True):
        scores = dict(zip(support.chapters, scores_C.tolist(), strict=True))
        if _negates(sentence.text):  # nearness cannot tell "no car" from a car
            scores = {key: score if key in negating else 0.0 for key, score in scores.items()}
        found, num_bad = _checked(sentence, scores, moments, min_support)
        checked.append(found)
        num_removed += num_bad
    return Checked(
        sentences=tuple(checked),
        unsupported=tuple(sentence for sentence in checked if not sentence.is_supported),
        num_citations_removed=num_removed,
        num_injected=len(injected),
    )


def _checked(
    sentence: WrittenSentence,
    scores: Mapping[ChapterKey, float],
    moments: Mapping[ChapterKey, Moment],
    min_support: float,
) -> tuple[AnswerSentence, int]:
    """Return a sentence with its citations, and how many of the model's own were dropped."""
    best = max(scores.values(), default=0.0)
    text = finish(plain_words(sentence.text))
    good, num_bad = _right_citations(sentence.citations, scores, moments, min_support)
    if best < min_support or not _times_hold(sentence.text, list(moments.values())):
        return AnswerSentence(text=text, support=best), len(sentence.citations)
    keys = good or [max(scores, key=lambda key: (scores[key], -key[1]))]  # of equals the earliest
    cited = tuple(Citation(**moments[key].where(), support=scores[key]) for key in keys)
    return AnswerSentence(text=text, support=best, citations=cited), num_bad


def _right_citations(
    written: Sequence[WrittenCitation],
    scores: Mapping[ChapterKey, float],
    moments: Mapping[ChapterKey, Moment],
    min_support: float,
) -> tuple[list[ChapterKey], int]:
    """Return the chapters that the model cited rightly, and how many citations were wrong."""
    good: list[ChapterKey] = []
    num_bad = 0
    for one in written:
        keys = [(m.video_id, m.clips[0]) for m in cited_moments(one, list(moments.values()))]
        supporting = [key for key in keys if scores.get(key, 0.0) >= min_support]
        num_bad += not supporting
        good += [key for key in supporting if key not in good]
    return good, num_bad


def _times_hold(text: str, moments: Sequence[Moment]) -> bool:
    """Whether every time that the words name lies in the evidence, or stands in its text."""
    for time in times_in(text):
        at = WrittenCitation(name="", start_s=seconds(time), end_s=seconds(time))
        if not cited_moments(at, moments) and not any(time in unmarked(m.text) for m in moments):
            return False
    return True


def _negates(text: str) -> bool:
    return bool(_NEGATION.search(text))


def with_citations(sentences: Sequence[AnswerSentence]) -> str:
    """Return sentences as one text, each with its citations; one without any is marked."""
    return " ".join(_with_citations(sentence) for sentence in sentences)


def _with_citations(sentence: AnswerSentence) -> str:
    cited = dict.fromkeys(citation(c.name, *c.at_s) for c in sentence.citations)
    return " ".join([sentence.text, *(cited or [UNSUPPORTED])])
