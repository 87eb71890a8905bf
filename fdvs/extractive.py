"""Scenes and stories without a language model: the most telling sentences of the chapters.

Central chapters are chosen by their vectors: near the middle of their scene, unlike what is
chosen already (maximal marginal relevance, Carbonell and Goldstein 1998). Every sentence is a
chapter's own, so its link to the clips is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.linking import content_words, word_weights
from fdvs.perception import same_words
from fdvs.quartile import PHRASES, QUARTILES, quartile
from fdvs.sentences import shorten, split_sentences
from fdvs.types import Chapter, Quartile, Sentence, Vectors
from fdvs.vectors import unit_rows

# weight of being central against being unlike what is already chosen
CENTRAL = 0.7
MAX_SENTENCE_CHARS = 300

_CONNECTORS = ("Then", "After that")
# first words that lose their capital after a connector; others may be names
_LOWERED_WORDS = """
a an the it its there this these that those he she they we someone nothing in on at here one two
three several many some no
"""
_LOWERED = frozenset(_LOWERED_WORDS.split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """A sentence, the clips that say it, when the first of them starts, its place in a chapter."""

    text: str
    clips: tuple[int, ...]
    start_s: float
    place: int


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
    """Return all different sentences of one scene, the most telling first.

    Chapters take turns by relevance; each gives its sentence with the most weight of words. A
    sentence is linked to every chapter of the scene that says it.
    """
    said = [split_sentences(chapter.text) for chapter in chapters]
    sources = _sources(said)
    queues = [_by_weight(sentences, said) for sentences in said]
    picked: dict[str, tuple[int, int]] = {}
    order = by_relevance(vectors)
    for turn in range(max(map(len, queues), default=0)):
        for row in order:
            if turn < len(queues[row]):
                place = queues[row][turn]
                picked.setdefault(same_words(said[row][place]), (row, place))
    return [
        Telling(
            text=shorten(said[row][place], max_chars=MAX_SENTENCE_CHARS),
            clips=tuple(chapters[i].index for i in sources[key]),
            start_s=chapters[sources[key][0]].start_s,
            place=place,
        )
        for key, (row, place) in picked.items()
    ]


def _sources(said: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    """Return which chapters (rows) say each sentence."""
    sources: dict[str, list[int]] = {}
    for row, sentences in enumerate(said):
        for key in dict.fromkeys(map(same_words, sentences)):
            sources.setdefault(key, []).append(row)
    return sources


def _by_weight(sentences: Sequence[str], said: Sequence[Sequence[str]]) -> list[int]:
    """Return the places of a chapter's sentences, those with most weight of words first."""
    everything = [set(content_words(" ".join(chapter))) for chapter in said]
    weights = word_weights(everything)

    def weight(place: int) -> tuple[float, int]:
        words = sorted(set(content_words(sentences[place])))
        return -round(sum(weights[word] for word in words), 9), place

    return sorted(range(len(sentences)), key=weight)


def story_sentences(
    ranked_scenes: Sequence[Sequence[Telling]],
    vectors: Vectors,
    *,
    duration_s: float,
    num_per_scene: int,
    max_sentences: int,
) -> tuple[Sentence, ...]:
    """Return the story: sentences of the scenes, each said once, with words that say when.

    Every part of the video (quartile) that has something new to say is heard first, then scenes
    take turns by relevance, up to `num_per_scene` times, until `max_sentences` are chosen.

    Args:
        ranked_scenes: what each scene can tell, the most telling first.
        vectors: one vector [number of scenes, D] per scene.
        duration_s: of the video.
        num_per_scene: sentences that a scene may tell, besides those for a part.
        max_sentences: of the story.
    """
    order = by_relevance(vectors)
    turns = [
        *_part_openers(_rounds(ranked_scenes, order), duration_s=duration_s),
        *_rounds([tellings[:num_per_scene] for tellings in ranked_scenes], order),
    ]
    chosen: dict[str, Telling] = {}
    for telling in turns:
        if len(chosen) < max_sentences:
            chosen.setdefault(same_words(telling.text), telling)
    in_time = sorted(chosen.values(), key=lambda t: (t.start_s, t.place))
    return tuple(_connected(in_time, duration_s=duration_s))


def _rounds(scenes: Sequence[Sequence[Telling]], order: Sequence[int]) -> list[Telling]:
    """Return what scenes say when they take turns in this order."""
    most = max(map(len, scenes), default=0)
    return [scenes[s][turn] for turn in range(most) for s in order if turn < len(scenes[s])]


def _part_openers(rounds: Sequence[Telling], *, duration_s: float) -> list[Telling]:
    """Return for each part of the video the first telling that no earlier part has."""
    by_part: dict[Quartile, list[Telling]] = {part: [] for part in QUARTILES}
    for telling in rounds:
        by_part[quartile(telling.start_s, duration_s)].append(telling)
    openers: dict[str, Telling] = {}
    for tellings in by_part.values():
        new = next((t for t in tellings if same_words(t.text) not in openers), None)
        if new is not None:
            openers[same_words(new.text)] = new
    return list(openers.values())


def _connected(tellings: Iterable[Telling], *, duration_s: float) -> Iterable[Sentence]:
    """Yield sentences that begin with the part of the video, later ones with then, after that."""
    part: Quartile | None = None
    place = 0
    for telling in tellings:
        here = quartile(telling.start_s, duration_s)
        place = place + 1 if here == part else 0
        part = here
        lead = PHRASES[here] if place == 0 else _CONNECTORS[(place - 1) % len(_CONNECTORS)]
        yield Sentence(text=f"{lead}, {_lowered(telling.text)}", clips=telling.clips)


def _lowered(sentence: str) -> str:
    first = sentence.split(" ", 1)[0].lower().rstrip(",:")
    return sentence[0].lower() + sentence[1:] if first in _LOWERED else sentence
