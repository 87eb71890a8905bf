"""Titles of scenes: the heading that stands longest, or else the phrase that is most its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from fdvs.story.candidates import candidates_of
from fdvs.story.extractive import telling_keywords
from fdvs.story.linking import content_words
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter

MAX_WORDS = 3
# a phrase has to be said this often, else a title would be chance
MIN_COUNT = 2
_SEPARATORS = re.compile(r"[^\w\s'’-]+")


def scene_titles(scenes: Sequence[Sequence[Chapter]]) -> list[str]:
    """Return the title of each scene, a run of chapters; "" where nothing stands out.

    Of phrases of up to three content words, the one wins that the scene says most often and the
    others least. A silent scene has the first keyword of its pictures.
    """
    phrases = [_phrases(chapters) for chapters in scenes]
    used_by = Counter(phrase for counts in phrases for phrase in counts)
    titles: list[str] = []
    for chapters, counts in zip(scenes, phrases, strict=True):
        title = heading_of(chapters) or _best_phrase(counts, used_by, len(scenes))
        titles.append(title or _keyword_title(chapters))
    return titles


def heading_of(chapters: Iterable[Chapter]) -> str:
    """Return the heading that stands longest in chapters, the first of equals, or ""."""
    seconds: dict[str, float] = {}
    for chapter in chapters:
        if chapter.title:
            known_s = seconds.get(chapter.title, 0.0)
            seconds[chapter.title] = known_s + chapter.end_s - chapter.start_s
    return max(seconds, key=lambda title: seconds[title], default="")


def _phrases(chapters: Sequence[Chapter]) -> Counter[str]:
    """Return how often runs of up to three content words are said, as they are written."""
    counts: Counter[str] = Counter()
    for candidate in candidates_of(chapters):
        for part in _SEPARATORS.split(candidate.text):
            counts.update(_runs(part.split()))
    return counts


def _runs(words: Sequence[str]) -> Iterable[str]:
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + MAX_WORDS, len(words)) + 1):
            run = words[begin:end]
            if all(content_words(word) and not word.isdigit() and len(word) > 2 for word in run):
                yield same_words(" ".join(run))


def _best_phrase(counts: Counter[str], used_by: Counter[str], num_scenes: int) -> str:
    def weight(phrase: str) -> tuple[float, str]:
        length = len(phrase.split())
        own = math.log1p(num_scenes / used_by[phrase])
        return round(counts[phrase] * own * length**0.7, 6), phrase

    known = [phrase for phrase, count in counts.items() if count >= MIN_COUNT]
    best = max(known, key=weight, default="")
    return best[:1].upper() + best[1:]


def _keyword_title(chapters: Sequence[Chapter]) -> str:
    words = telling_keywords(chapters)[:1]
    return words[0][:1].upper() + words[0][1:] if words else ""
