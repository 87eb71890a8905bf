"""Whether a written sentence answers the question, beside being supported by a chapter.

Small language models write sentences that a chapter carries and nobody asked for: they talk about
the material, repeat themselves or the question, or name a thing where a number was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fdvs.answers.expects import expected, holds
from fdvs.answers.question import Question
from fdvs.story.linking import content_words
from fdvs.text.vocabulary import same_words
from fdvs.types import AnswerSentence

MIN_NEW_WORDS = 1  # content words that an answer must add to those of the question
# Sentences about the material or the task instead of what the video shows.
_BOILERPLATE = re.compile(
    r"\b(?:story|stories|moments?|material|evidence|passages?)\b.{0,40}\b(?:read|given|provided|above"
    r"|below|describes?|moments?|about)\b|^(?:the )?answer (?:is|to)\b.{0,12}[\"“]"
    r"|\bas an? (?:ai|language model)\b|\bbased on the\b|^(?:sure|certainly|of course)\b",
    re.IGNORECASE,
)


def answering(question: Question, sentences: Iterable[AnswerSentence]) -> list[AnswerSentence]:
    """Return the sentences that answer a question, each said once.

    Of a question that asks for a number, a time, a colour or a reason at least one sentence must
    hold such a thing: else none answers.
    """
    kept: list[AnswerSentence] = []
    said: set[str] = set()
    asked = set(content_words(question.text))
    for sentence in sentences:
        words = same_words(sentence.text)
        if words in said or _BOILERPLATE.search(sentence.text):
            continue
        if question.reach.kind == "matter" and not _adds(sentence.text, asked):
            continue
        said.add(words)
        kept.append(sentence)
    kind = expected(question.text)
    if kind in ("number", "time", "colour") and not any(holds(kind, s.text) for s in kept):
        return []
    return kept


def _adds(text: str, asked: set[str]) -> bool:
    words = set(content_words(text))
    return not words or len(words - asked) >= MIN_NEW_WORDS
