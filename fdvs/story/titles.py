"""Titles of scenes: the heading that stands longest, or else the phrase that is most its own."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

from fdvs.story.candidates import Voice, candidates_of
from fdvs.story.extractive import telling_keywords
from fdvs.story.linking import content_words
from fdvs.text.stop_words import stop_words_of
from fdvs.types import Chapter

MAX_WORDS = 3
# a phrase has to be said this often, else a title would be chance
MIN_COUNT = 2
MIN_CHARS = 3
_SEPARATORS = re.compile(r"[^\w\s'’-]+")


def scene_titles(scenes: Sequence[Sequence[Chapter]]) -> list[str]:
    """Return the title of each scene, a run of chapters; "" where nothing stands out.

    Of phrases of up to three content words, the one wins that the scene says most often and the
    others least. A silent scene has the first keyword of its pictures.
    """
    stop_words = stop_words_of(
        s for chapters in scenes for c in chapters for s in c.said or [c.text]
    )
    phrases = [_phrases(chapters, stop_words) for chapters in scenes]
    used_by = Counter(key for counts in phrases for key in {_key(phrase) for phrase in counts})
    titles: list[str] = []
    for chapters, counts in zip(scenes, phrases, strict=True):
        title = heading_of(chapters) or _best_phrases(counts, used_by, len(scenes))
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


def _phrases(chapters: Sequence[Chapter], stop_words: Set[str]) -> Counter[str]:
    """Return how often runs of up to three content words are said, as they are written."""
    counts: Counter[str] = Counter()
    for candidate in candidates_of(chapters):
        if candidate.voice is not Voice.WRITTEN:
            for part in _SEPARATORS.split(candidate.text):
                counts.update(_runs(part.split(), stop_words))
    return counts


def _runs(words: Sequence[str], stop_words: Set[str]) -> Iterable[str]:
    for begin in range(len(words)):
        for end in range(begin + 1, min(begin + MAX_WORDS, len(words)) + 1):
            run = words[begin:end]
            if all(_is_telling(word, stop_words) for word in run):
                yield " ".join(run)


def _is_telling(word: str, stop_words: Set[str]) -> bool:
    folded = word.casefold()
    return (
        bool(content_words(word))
        and folded not in stop_words
        and not word[0].isdigit()
        and len(word) >= MIN_CHARS
    )


def _best_phrases(counts: Counter[str], used_by: Mapping[str, int], num_scenes: int) -> str:
    """Return the phrase that a scene has for itself; two where one word alone is best."""

    def weight(phrase: str) -> tuple[float, str]:
        length = len(phrase.split())
        own = math.log((num_scenes + 0.5) / used_by[_key(phrase)])
        return round(counts[phrase] * own * length**0.7, 6), phrase

    known = sorted((p for p, count in counts.items() if count >= MIN_COUNT), key=weight)[::-1]
    best = known[:1]
    if best and " " not in best[0]:
        best += [p for p in known[1:] if _key(p) != _key(best[0]) and " " not in p][:1]
    title = ", ".join(best)
    return title[:1].upper() + title[1:]


def _key(phrase: str) -> str:
    return " ".join(content_words(phrase))


def _keyword_title(chapters: Sequence[Chapter]) -> str:
    words = telling_keywords(chapters)[:1]
    return words[0][:1].upper() + words[0][1:] if words else ""
