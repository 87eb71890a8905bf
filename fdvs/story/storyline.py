"""The story of a video without a language model: sentences of its scenes, and words that say when.

Every part of the video is heard; beyond that a sentence enters the story only if it says something
that the story does not say yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set

from fdvs.story.extractive import Telling, Value, by_relevance, telling_ones
from fdvs.story.linking import content_words
from fdvs.text.timecode import PHRASES, QUARTILES, quartile
from fdvs.text.vocabulary import same_words
from fdvs.types import Quartile, Sentence, Vectors

_CONNECTORS = ("Then", "After that")
# first words that lose their capital after a connector; others may be names
_LOWERED_WORDS = """
a an the it its there this these that those he she they we someone nothing in on at here one two
three several many some no likely perhaps
"""
_LOWERED = frozenset(_LOWERED_WORDS.split())


def story_sentences(
    ranked_scenes: Sequence[Sequence[Telling]],
    vectors: Vectors,
    *,
    duration_s: float,
    num_per_scene: int,
    max_sentences: int,
) -> tuple[Sentence, ...]:
    """Return the story, in order of time.

    First each part of the video (quartile) tells what no earlier part tells, then scenes take
    turns by relevance, up to `num_per_scene` times, with sentences that hold a new word. An empty
    sentence is told only where its part has no other.

    Args:
        ranked_scenes: what each scene can tell, the most telling first.
        vectors: one vector [number of scenes, D] per scene.
        duration_s: of the video.
        num_per_scene: sentences that a scene may tell, besides those for a part.
        max_sentences: of the story.
    """
    order = by_relevance(vectors)
    chosen = _part_openers(_rounds(ranked_scenes, order), duration_s=duration_s)[:max_sentences]
    said = {word for telling in chosen for word in content_words(telling.text)}
    telling_scenes = [telling_ones(tellings)[:num_per_scene] for tellings in ranked_scenes]
    for telling in _rounds(telling_scenes, order):
        words = set(content_words(telling.text))
        if len(chosen) < max_sentences and not words <= said:
            chosen.append(telling)
            said |= words
    in_time = sorted(chosen, key=lambda t: (t.start_s, t.place))
    return tuple(_connected(in_time, duration_s=duration_s))


def _rounds(scenes: Sequence[Sequence[Telling]], order: Sequence[int]) -> list[Telling]:
    """Return what scenes say when they take turns in this order."""
    most = max(map(len, scenes), default=0)
    return [scenes[s][turn] for turn in range(most) for s in order if turn < len(scenes[s])]


def _part_openers(rounds: Sequence[Telling], *, duration_s: float) -> list[Telling]:
    """Return for each part of the video its first telling that no earlier part has told.

    New words come first (sure before doubtful ones), then known words, then empty sentences.
    """
    by_part: dict[Quartile, list[Telling]] = {part: [] for part in QUARTILES}
    for telling in rounds:
        by_part[quartile(telling.start_s, duration_s)].append(telling)
    openers: dict[str, Telling] = {}
    said: set[str] = set()
    for tellings in by_part.values():
        unsaid = [t for t in tellings if same_words(t.text) not in openers]
        if unsaid:
            best = min(unsaid, key=lambda t: _dullness(t, said))
            openers[same_words(best.text)] = best
            said |= set(content_words(best.text))
    return list(openers.values())


def _dullness(telling: Telling, said: Set[str]) -> tuple[bool, bool, Value]:
    is_known = set(content_words(telling.text)) <= said
    return telling.value is Value.EMPTY, is_known, telling.value


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
