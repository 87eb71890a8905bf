"""Extractive summaries: scenes and story from sentences of the chapters, without an LLM.

Central chapters are chosen by their vectors: near the centre of their scene, and unlike those
chosen before (maximal marginal relevance, Carbonell and Goldstein, SIGIR 1998). The story takes
sentences of every quarter of the video, and others only if they have a word that it does not have
yet. Every sentence is a chapter's own, so its link to the clips is exact.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from fdvs.story.linking import content_words
from fdvs.text.sentences import shorten, split_sentences
from fdvs.text.timecode import PHRASES, QUARTILES, Quartile, quartile
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter, Sentence, Vectors
from fdvs.vectors import unit_rows

# the lambda of maximal marginal relevance: centrality against novelty
CENTRAL = 0.7
MAX_SENTENCE_CHARS = 300

_CONNECTORS = ("Then", "After that")
# first words that lose their capital after a connector; others may be names
_LOWERED_WORDS = """
a an the it its there this these that those he she they we someone nothing in on at here one two
three several many some no likely perhaps
"""
_LOWERED = frozenset(_LOWERED_WORDS.split())
_DOUBT = re.compile(r"\b(?:perhaps|maybe|possibly|might)\b", re.IGNORECASE)


class Priority(IntEnum):
    """Priority of a sentence; lower is chosen first.

    EMPTY sentences have no content word, like "the picture stands still".
    """

    SURE = 0
    DOUBTFUL = 1
    EMPTY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A sentence that may be chosen.

    `clips` are those whose chapters contain it, `start_s` is when the first of them starts, and
    `place` is its position in its chapter.
    """

    text: str
    clips: tuple[int, ...]
    start_s: float
    place: int
    priority: Priority


def by_relevance(vectors: Vectors) -> list[int]:
    """Return all rows [N] of vectors [N, D] by maximal marginal relevance, the most central first.

    Similarities are rounded; ties go to the earlier row.
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


def ranked_candidates(chapters: Sequence[Chapter], vectors: Vectors) -> list[Candidate]:
    """Return all different sentences of one scene, sure ones first, then by relevance.

    Chapters take turns by relevance; each gives the sentence with most of the words that many
    chapters of the scene use (Luhn, 1958). A sentence is linked to every chapter of the scene that
    contains it.
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
    candidates = [
        Candidate(
            text=shorten(said[row][place], max_chars=MAX_SENTENCE_CHARS),
            clips=tuple(chapters[i].index for i in sources[key]),
            start_s=chapters[sources[key][0]].start_s,
            place=place,
            priority=_priority(said[row][place]),
        )
        for key, (row, place) in picked.items()
    ]
    return sorted(candidates, key=lambda c: c.priority)


def _priority(sentence: str) -> Priority:
    if not content_words(sentence):
        return Priority.EMPTY
    return Priority.DOUBTFUL if _DOUBT.search(sentence) else Priority.SURE


def scene_sentences(ranked: Sequence[Candidate], *, num_sentences: int) -> tuple[Sentence, ...]:
    """Return the sentences of a scene, in order of time; an empty one only if there is no other."""
    chosen = (_informative(ranked) or list(ranked[:1]))[:num_sentences]
    return tuple(Sentence(text=c.text, clips=c.clips) for c in _in_time_order(chosen))


def _sources(said: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return the chapters (rows) that contain each sentence, by its words."""
    sources: dict[str, list[int]] = {}
    for row, sentences in enumerate(said):
        for key in dict.fromkeys(map(same_words, sentences)):
            sources.setdefault(key, []).append(row)
    return sources


def _by_weight(sentences: Sequence[str], counts: Mapping[str, int]) -> list[int]:
    """Return the positions of a chapter's sentences, those with the most frequent words first."""

    def weight(place: int) -> tuple[int, int]:
        return -sum(counts[word] for word in set(content_words(sentences[place]))), place

    return sorted(range(len(sentences)), key=weight)


def _informative(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return the candidates that have a content word."""
    return [c for c in candidates if c.priority is not Priority.EMPTY]


def _in_time_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (c.start_s, c.place))


def story_sentences(
    ranked_scenes: Sequence[Sequence[Candidate]],
    vectors: Vectors,
    *,
    duration_s: float,
    num_per_scene: int,
    max_sentences: int,
) -> tuple[Sentence, ...]:
    """Return the story, in order of time.

    First each quarter of the video gives a sentence that no earlier quarter gave; then scenes take
    turns by relevance, up to `num_per_scene` times, with sentences that have a new word. An empty
    sentence is chosen only if its quarter has no other.

    Args:
        ranked_scenes: the candidates of each scene, the best first.
        vectors: one vector per scene [number of scenes, D].
        duration_s: of the video.
        num_per_scene: sentences of a scene, besides those chosen for a quarter.
        max_sentences: of the story.
    """
    order = by_relevance(vectors)
    chosen = _quarter_openers(_rounds(ranked_scenes, order), duration_s=duration_s)[:max_sentences]
    known = {word for candidate in chosen for word in content_words(candidate.text)}
    informative = [_informative(candidates)[:num_per_scene] for candidates in ranked_scenes]
    for candidate in _rounds(informative, order):
        words = set(content_words(candidate.text))
        if len(chosen) < max_sentences and not words <= known:
            chosen.append(candidate)
            known |= words
    return tuple(_connected(_in_time_order(chosen), duration_s=duration_s))


def _rounds(scenes: Sequence[Sequence[Candidate]], order: Sequence[int]) -> list[Candidate]:
    """Return the candidates of all scenes, which take turns in this order."""
    most = max(map(len, scenes), default=0)
    return [scenes[s][turn] for turn in range(most) for s in order if turn < len(scenes[s])]


def _quarter_openers(rounds: Sequence[Candidate], *, duration_s: float) -> list[Candidate]:
    """Return for each quarter of the video the best candidate that no earlier quarter gave.

    Those with new words come first (sure before doubtful ones), then others, then empty ones.
    """
    by_quarter: dict[Quartile, list[Candidate]] = {quarter: [] for quarter in QUARTILES}
    for candidate in rounds:
        by_quarter[quartile(candidate.start_s, duration_s)].append(candidate)
    openers: dict[str, Candidate] = {}
    known: set[str] = set()
    for candidates in by_quarter.values():
        new = [c for c in candidates if same_words(c.text) not in openers]
        if new:
            best = min(new, key=lambda c: _staleness(c, known))
            openers[same_words(best.text)] = best
            known |= set(content_words(best.text))
    return list(openers.values())


def _staleness(candidate: Candidate, known: Set[str]) -> tuple[bool, bool, Priority]:
    is_known = set(content_words(candidate.text)) <= known
    return candidate.priority is Priority.EMPTY, is_known, candidate.priority


def _connected(candidates: Iterable[Candidate], *, duration_s: float) -> Iterable[Sentence]:
    """Yield sentences that begin with their quarter of the video or with a connector."""
    quarter: Quartile | None = None
    place = 0
    for candidate in candidates:
        here = quartile(candidate.start_s, duration_s)
        place = place + 1 if here == quarter else 0
        quarter = here
        lead = PHRASES[here] if place == 0 else _CONNECTORS[(place - 1) % len(_CONNECTORS)]
        yield Sentence(text=f"{lead}, {_lowered(candidate.text)}", clips=candidate.clips)


def _lowered(sentence: str) -> str:
    first = sentence.split(" ", 1)[0].lower().rstrip(",:")
    return sentence[0].lower() + sentence[1:] if first in _LOWERED else sentence
