"""Extractive summaries: scenes and story from sentences of the chapters, without a language model.

A sentence is telling that resembles much of its scene and of the film (degree centrality of
LexRank, Erkan and Radev, JAIR 2004), names what the scene is about and stands early in it.
Sentences are then chosen one by one for what they add: how much better they represent all the
others (facility location, Lin and Bilmes, ACL 2011) and how telling they are. Every sentence is a
chapter's own, so its link to the clips is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from fdvs.story.candidates import (
    Candidate,
    Voice,
    candidates_of,
    is_heading,
    picture_words,
    repeats,
    with_texts_once,
)
from fdvs.story.chapters import NOTHING_SEEN, PICTURES
from fdvs.story.sentence_vectors import Embed, sentence_vectors, terms_of
from fdvs.text.sentences import finish
from fdvs.types import Chapter, Sentence
from fdvs.vectors import Doubles

# what makes a sentence telling: its scene, the film, the scene's own words, an early place
SCENE_SHARE, FILM_SHARE, TERM_SHARE, PLACE_SHARE = 0.45, 0.15, 0.3, 0.1
# how much representing others counts against being telling
COVERAGE = 0.5
# keywords of a silent scene, and of a silent film
MAX_KEYWORDS = 5
# sentences of a lower quality are told only where there is nothing else
MIN_QUALITY = 0.25
MAX_KEYWORD_CLIPS = 6
# keywords are told that have at least this share of the most frequent one's chapters
RARE = 0.15
# what the story of a film begins with of which nothing else is known
KEYWORDS_ALONE = "Nothing is said or written that could be recognised. Guessed from the pictures:"
# and where only a few texts on screen are known, in less than this share of the chapters
FEW_WORDS = "Hardly anything is said or written. Guessed from the pictures:"
LITTLE = 0.25
# a sentence that adds less than this share of what the first one did is not told
LEAST_GAIN = 0.35
# what a second sentence below the same heading counts against the first one below another
SAME_HEADING = 0.6
# sentences of fewer words than this name little
FEW_TERMS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """The candidates [N] of one scene, their unit vectors [N, D] and how telling they are [N]."""

    chapters: Sequence[Chapter]
    candidates: Sequence[Candidate]
    vectors: Doubles
    salience: Doubles


def materials_of(scenes: Sequence[Sequence[Chapter]], embed: Embed | None) -> list[Material]:
    """Return what each scene, a run of chapters, has to tell; `embed` gives sentences vectors."""
    found = [candidates_of(chapters) for chapters in _with_texts_once(scenes)]
    texts = [c.text for candidates in found for c in candidates]
    rows = sentence_vectors(texts, embed)
    film = rows.sum(axis=0)
    stems = [frozenset(words) for words in terms_of(texts)]
    ends = np.cumsum([len(candidates) for candidates in found]).tolist()
    begins = [0, *ends[:-1]]
    counts = [
        Counter(stem for words in stems[begin:end] for stem in words)
        for begin, end in zip(begins, ends, strict=True)
    ]
    materials = []
    for scene, (chapters, candidates) in enumerate(zip(scenes, found, strict=True)):
        here = slice(begins[scene], ends[scene])
        own = _own_terms(counts, scene)
        named = np.array([_term_weight(words, own) for words in stems[here]])
        vectors = rows[here]
        salience = _salience(candidates, vectors, film, named)
        materials.append(
            Material(chapters=chapters, candidates=candidates, vectors=vectors, salience=salience)
        )
    return materials


def _with_texts_once(scenes: Sequence[Sequence[Chapter]]) -> list[list[Chapter]]:
    """Return scenes whose texts on screen are told once, where nobody speaks.

    Where somebody does, texts are not told, and show by how long they stand what matters.
    """
    everything = [chapter for chapters in scenes for chapter in chapters]
    is_spoken = any(chapter.said for chapter in everything)
    once = iter(everything if is_spoken else with_texts_once(everything))
    return [[next(once) for _ in chapters] for chapters in scenes]


def _own_terms(terms: Sequence[Counter[str]], scene: int) -> dict[str, float]:
    """Return the words of a scene, weighted by how often it says them and how few others do."""
    used_by = Counter(word for counts in terms for word in counts)
    return {
        word: np.log1p(count) * np.log1p(len(terms) / used_by[word])
        for word, count in terms[scene].items()
    }


def _salience(
    candidates: Sequence[Candidate], vectors: Doubles, film: Doubles, named: Doubles
) -> Doubles:
    """Return how telling each sentence is [N], 0 to 1."""
    num = len(candidates)
    if not num:
        return np.zeros(0)
    early = np.linspace(1.0, 0.0, num) if num > 1 else np.ones(1)
    parts = (
        SCENE_SHARE * _scaled(vectors @ vectors.sum(axis=0))
        + FILM_SHARE * _scaled(vectors @ film)
        + TERM_SHARE * _scaled(named)
        + PLACE_SHARE * early
    )
    salience: Doubles = parts * np.array([c.quality for c in candidates])
    return salience


def _term_weight(words: Set[str], terms: dict[str, float]) -> float:
    """Return the weight of a sentence's words; long sentences gain less than their words sum to."""
    return sum(terms[word] for word in sorted(words)) / (len(words) + FEW_TERMS)


def _scaled(values: Doubles) -> Doubles:
    top = values.max()
    scaled: Doubles = np.clip(values / top, 0, 1) if top > 0 else np.zeros_like(values)
    return scaled


def choose(material: Material, *, num_sentences: int) -> list[Candidate]:
    """Return up to `num_sentences` of a scene, in the order in which they were chosen.

    The first is the most telling one. Repetitions and sentences of a low quality stay out, unless
    there is nothing else.
    """
    candidates, salience = material.candidates, material.salience
    similar = np.clip(material.vectors @ material.vectors.T, 0, 1)
    covered = np.zeros(len(candidates))
    left = _worth_telling(candidates)
    chosen: list[Candidate] = []
    first_gain = 0.0
    while left and len(chosen) < num_sentences:
        told = {c.title for c in chosen if c.title}
        gains = COVERAGE * np.maximum(similar - covered, 0).mean(axis=1) + (1 - COVERAGE) * salience
        gains *= [SAME_HEADING if c.title in told else 1.0 for c in candidates]
        best = max(left, key=lambda i: (round(float(gains[i]), 6), -i))
        first_gain = first_gain or float(gains[best])
        if gains[best] < LEAST_GAIN * first_gain:
            break
        left.discard(best)
        if not repeats(candidates[best].text, [c.text for c in chosen]):
            chosen.append(candidates[best])
            covered = np.maximum(covered, similar[best])
    return chosen


def has_nothing_to_tell(chapter: Chapter) -> bool:
    """Return whether a chapter has neither a sentence of some quality nor keywords."""
    is_good = any(c.quality >= MIN_QUALITY for c in candidates_of([chapter]))
    return not is_good and not picture_words([chapter])


def _worth_telling(candidates: Sequence[Candidate]) -> set[int]:
    """Return which candidates are good, without text on screen where there is more; else all."""
    good = {i for i, c in enumerate(candidates) if c.quality >= MIN_QUALITY}
    spoken = {i for i in good if candidates[i].voice is not Voice.WRITTEN}
    return spoken or good or set(range(len(candidates)))


def scene_sentences(material: Material, *, num_sentences: int) -> tuple[Sentence, ...]:
    """Return the sentences of a scene: the most telling one first, then the others in time order.

    A scene without sentences is told by the keywords of its pictures, or says that it has none.
    """
    chosen = choose(material, num_sentences=num_sentences)
    if not chosen:
        return (keyword_sentence(material.chapters),)
    return tuple(map(_sentence, [chosen[0], *in_time_order(chosen[1:])]))


def story_sentences(
    materials: Sequence[Material],
    *,
    max_sentences: int,
    everything: Sequence[Chapter] = (),
) -> tuple[Sentence, ...]:
    """Return the story in order of time: what its scenes have to tell, long ones more.

    Where there are more scenes than sentences, those scenes speak that represent most others. A
    film of which no sentence is known is told by the most frequent keywords of its pictures:
    `everything` are its chapters, redundant ones too.
    """
    chosen = [choose(m, num_sentences=max_sentences) for m in materials]
    any_good = any(c.quality >= MIN_QUALITY for found in chosen for c in found)
    told: list[Candidate] = []
    for scene, turn in _turns(materials, [len(found) for found in chosen]):
        candidate = chosen[scene][turn]
        if len(told) == max_sentences:
            break
        if candidate.quality < MIN_QUALITY and any_good:
            continue
        if not repeats(candidate.text, [c.text for c in told]):
            told.append(candidate)
    kept = [c for m in materials for c in m.chapters]
    if not told:
        return (keyword_sentence(kept, among=everything, lead=KEYWORDS_ALONE),)
    sentences = tuple(map(_sentence, in_time_order(told)))
    if _says_little(told, kept) and telling_keywords(everything or kept):
        return (keyword_sentence(kept, among=everything, lead=FEW_WORDS), *sentences)
    return sentences


def _sentence(candidate: Candidate) -> Sentence:
    return Sentence(text=candidate.text, clips=candidate.clips, spans_s=candidate.spans_s)


def _says_little(told: Sequence[Candidate], kept: Sequence[Chapter]) -> bool:
    """Return whether a story is of a few texts on screen alone: titles of a film where nobody
    speaks."""
    clips = {clip for candidate in told for clip in candidate.clips}
    is_written = all(c.voice is Voice.WRITTEN or is_heading(c) for c in told)
    return is_written and len(clips) < LITTLE * len(kept)


def _turns(materials: Sequence[Material], nums: Sequence[int]) -> list[tuple[int, int]]:
    """Return (scene, turn) in order: each scene once, then in proportion to their lengths.

    `nums` are how many sentences each has to tell; shares are those of D'Hondt.
    """
    first = _by_coverage(materials, [scene for scene, num in enumerate(nums) if num])
    seconds = [sum(c.end_s - c.start_s for c in m.chapters) for m in materials]
    more = [(scene, turn) for scene, num in enumerate(nums) for turn in range(1, num)]
    more.sort(key=lambda place: -seconds[place[0]] / (place[1] + 1))
    return [*((scene, 0) for scene in first), *more]


def _by_coverage(materials: Sequence[Material], scenes: Sequence[int]) -> list[int]:
    """Return scenes in the order in which they add most to representing all of them."""
    if not scenes:
        return []
    centres = np.stack([materials[scene].vectors.mean(axis=0) for scene in scenes])
    sizes = np.array([len(materials[scene].candidates) for scene in scenes])
    similar = np.clip(centres @ centres.T, 0, None)
    covered = np.zeros(len(scenes))
    left = list(range(len(scenes)))
    order: list[int] = []
    while left:
        gains = {i: float((np.maximum(similar[i] - covered, 0) * sizes).sum()) for i in left}
        best = max(left, key=lambda i: (round(gains[i], 6), -i))
        left.remove(best)
        covered = np.maximum(covered, similar[best])
        order.append(scenes[best])
    return order


def in_time_order(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates by the time of their first clip, then by their place in it."""
    return sorted(candidates, key=lambda c: (c.start_s, c.place))


def keyword_sentence(
    chapters: Sequence[Chapter], *, among: Sequence[Chapter] = (), lead: str = PICTURES
) -> Sentence:
    """Return what pictures alone suggest, as keywords counted in `among`, the chapters themselves.

    Links to those chapters that have one of the words, at most `MAX_KEYWORD_CLIPS`.
    """
    words = telling_keywords(among or chapters)
    if not words:
        return Sentence(text=NOTHING_SEEN, clips=(chapters[0].index,))
    clips = [c.index for c in chapters if picture_words([c]).keys() & set(words)]
    text = finish(f"{lead} {', '.join(words)}")
    return Sentence(text=text, clips=tuple(clips[:MAX_KEYWORD_CLIPS]) or (chapters[0].index,))


def is_guess(text: str) -> bool:
    """Return whether a sentence of a story tells keywords of pictures, or that nothing is known."""
    return text.startswith((KEYWORDS_ALONE, FEW_WORDS, PICTURES, NOTHING_SEEN))


def telling_keywords(chapters: Sequence[Chapter]) -> list[str]:
    """Return at most `MAX_KEYWORDS` keywords of pictures, sure ones first, then frequent ones.

    A word much rarer than the most frequent one is left out; so is a doubtful word, unless several
    chapters share it or there is no sure one.
    """
    counts = picture_words(chapters)
    least = max(counts.values(), default=0) * RARE
    frequent = [word for word, count in counts.most_common() if count >= least]
    sure = [word for word in frequent if not word.endswith("?")]
    doubtful = [
        word
        for word in frequent
        if word.endswith("?") and word[:-1] not in sure and (counts[word] > 1 or not sure)
    ]
    return [*sure, *doubtful][:MAX_KEYWORDS]
