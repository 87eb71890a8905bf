"""Scenes without a language model: the most telling sentences of their chapters.

Central chapters are chosen by their vectors: near the middle of their scene, unlike what is
chosen already (maximal marginal relevance, Carbonell and Goldstein 1998). Every sentence is a
chapter's own, so its link to the clips is exact.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from fdvs.story.linking import content_words
from fdvs.text.sentences import shorten, split_sentences
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter, Sentence, Vectors
from fdvs.vectors import unit_rows

# weight of being central against being unlike what is already chosen
CENTRAL = 0.7
MAX_SENTENCE_CHARS = 300

_DOUBT = re.compile(r"\b(?:perhaps|maybe|possibly|might)\b", re.IGNORECASE)


class Value(IntEnum):
    """What a sentence is worth: the lower, the sooner it is told.

    EMPTY holds no word that carries meaning, like "the picture stands still".
    """

    SURE = 0
    DOUBTFUL = 1
    EMPTY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A sentence, the clips that say it, when the first of them starts, its place in a chapter."""

    text: str
    clips: tuple[int, ...]
    start_s: float
    place: int
    value: Value


def by_relevance(vectors: Vectors) -> list[int]:
    """Return all rows, the most central first, each next one central and unlike those before.

    Similarities are rounded, ties go to the earlier row.
    """
    rows = unit_rows(vectors)
    if not len(rows):
        return []
    central = np.round(rows @ unit_rows(rows.mean(axis=0, keepdims=True))[0], 4)
    nearest = np.zeros(len(rows))
    chosen: list[int] = []
    left = np.ones(len(rows), dtype=np.bool_)
    while left.any():
        score = np.round(CENTRAL * central - (1 - CENTRAL) * nearest, 6)
        best = int(np.argmax(np.where(left, score, -np.inf)))
        chosen.append(best)
        left[best] = False
        alike = np.round(rows @ rows[best], 4)
        nearest = alike if len(chosen) == 1 else np.maximum(nearest, alike)
    return chosen


def ranked_tellings(chapters: Sequence[Chapter], vectors: Vectors) -> list[Telling]:
    """Return all different sentences of one scene, sure ones first, then by relevance.

    Chapters take turns by relevance; each gives the sentence with most of the words that many
    chapters of the scene use (Luhn, 1958). A sentence is linked to every chapter of the scene that
    says it.
    """
    said = [split_sentences(chapter.text) for chapter in chapters]
    sources = _sources(said)
    counts = Counter(w for sentences in said for w in set(content_words(" ".join(sentences))))
    queues = [_by_weight(sentences, counts) for sentences in said]
    picked: dict[str, tuple[int, int]] = {}
    order = by_relevance(vectors)
    for turn in range(max(map(len, queues), default=0)):
        for row in order:
            if turn < len(queues[row]):
                place = queues[row][turn]
                picked.setdefault(same_words(said[row][place]), (row, place))
    tellings = [
        Telling(
            text=shorten(said[row][place], max_chars=MAX_SENTENCE_CHARS),
            clips=tuple(chapters[i].index for i in sources[key]),
            start_s=chapters[sources[key][0]].start_s,
            place=place,
            value=value_of(said[row][place]),
        )
        for key, (row, place) in picked.items()
    ]
    return sorted(tellings, key=lambda t: t.value)


def value_of(sentence: str) -> Value:
    """Return what a sentence is worth by its words."""
    if not content_words(sentence):
        return Value.EMPTY
    return Value.DOUBTFUL if _DOUBT.search(sentence) else Value.SURE


def scene_sentences(ranked: Sequence[Telling], *, num_sentences: int) -> tuple[Sentence, ...]:
    """Return what a scene tells, in order of time; an empty sentence only if it is the only one."""
    telling = telling_ones(ranked) or list(ranked[:1])
    chosen = sorted(telling[:num_sentences], key=lambda t: (t.start_s, t.place))
    return tuple(Sentence(text=t.text, clips=t.clips) for t in chosen)


def _sources(said: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return which chapters (rows) say each sentence."""
    sources: dict[str, list[int]] = {}
    for row, sentences in enumerate(said):
        for key in dict.fromkeys(map(same_words, sentences)):
            sources.setdefault(key, []).append(row)
    return sources


def _by_weight(sentences: Sequence[str], counts: Mapping[str, int]) -> list[int]:
    """Return the places of a chapter's sentences, those with most weight of words first."""

    def weight(place: int) -> tuple[int, int]:
        return -sum(counts[word] for word in set(content_words(sentences[place]))), place

    return sorted(range(len(sentences)), key=weight)


def telling_ones(tellings: Sequence[Telling]) -> list[Telling]:
    """Return the tellings that are not empty."""
    return [t for t in tellings if t.value is not Value.EMPTY]
