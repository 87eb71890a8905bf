"""Titles of scenes: the heading that stands longest, else what is said, written or captioned.

Guesses of pictures come last, and say that they are guesses.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

from fdvs.prompting.marks import is_suspect
from fdvs.story.candidates import Candidate, Voice, candidates_of, is_remark, on_screen
from fdvs.story.chapters import PICTURES
from fdvs.story.extractive import MIN_QUALITY, telling_keywords
from fdvs.story.linking import content_words
from fdvs.text.sentences import shorten
from fdvs.text.stop_words import stop_words_of
from fdvs.types import Chapter

MAX_WORDS = 3
# a phrase has to be said this often, else a title would be chance
MIN_COUNT = 2
MIN_CHARS = 3
# so many words may hold the two words of a title together, as in "hours of deep sleep"
MAX_SPAN_WORDS = 5
# a title that is quoted is cut at a clause, or else at a word
MAX_QUOTED_CHARS, MIN_CLAUSE_CHARS = 60, 20
_CLAUSE = re.compile(r"[,;:]\s|\s[–—-]\s")
_SEPARATORS = re.compile(r"[^\w\s'’-]+")


def scene_titles(scenes: Sequence[Sequence[Chapter]]) -> list[str]:
    """Return the title of each scene, a run of chapters; "" where nothing stands out.

    Of phrases of up to three content words, the one wins that the scene says most often and the
    others least. A scene that repeats none is named by its best sentence, or by the text on screen;
    one without words by a guess from its pictures, which is called so.
    """
    stop_words = stop_words_of(
        s for chapters in scenes for c in chapters for s in c.said or [c.text]
    )
    phrases = [_phrases(chapters, stop_words) for chapters in scenes]
    used_by = Counter(key for counts in phrases for key in {_key(phrase) for phrase in counts})
    titles: list[str] = []
    for chapters, counts in zip(scenes, phrases, strict=True):
        told = [c for c in candidates_of(chapters) if not is_suspect(c.text)]
        title = heading_of(chapters) or _best_phrases(counts, used_by, len(scenes), told)
        titles.append(title or _quoted_title(told) or _keyword_title(chapters))
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


def _best_phrases(
    counts: Counter[str], used_by: Mapping[str, int], num_scenes: int, told: Sequence[Candidate]
) -> str:
    """Return the phrase that a scene has for itself; two words where one alone is best."""

    def weight(phrase: str) -> tuple[float, str]:
        length = len(phrase.split())
        own = math.log((num_scenes + 0.5) / used_by[_key(phrase)])
        return round(counts[phrase] * own * length**0.7, 6), phrase

    known = sorted((p for p, count in counts.items() if count >= MIN_COUNT), key=weight)[::-1]
    best = known[:1]
    if best and " " not in best[0]:
        best += [p for p in known[1:] if _key(p) != _key(best[0]) and " " not in p][:1]
    return _capital(_span(best, told) or ", ".join(best))


def _span(words: Sequence[str], told: Sequence[Candidate]) -> str:
    """Return the shortest passage that is said from one of two words to the other, "" for none."""
    spans: list[list[str]] = []
    for candidate in told if len(words) == 2 else ():
        for part in _SEPARATORS.split(candidate.text):
            here = part.split()
            places = [[n for n, word in enumerate(here) if word == one] for one in words]
            pairs = [sorted((a, b)) for a in places[0] for b in places[1]]
            spans += [here[begin : end + 1] for begin, end in pairs]
    best = min(spans, key=len, default=[])
    return " ".join(best) if len(best) <= MAX_SPAN_WORDS else ""


def _key(phrase: str) -> str:
    return " ".join(content_words(phrase))


def _quoted_title(told: Sequence[Candidate]) -> str:
    """Return the best sentence that is said or captioned, else a text on screen; "" for none."""
    good = [c for c in told if c.quality >= MIN_QUALITY and not is_remark(c.text)]
    best = max(good, key=lambda c: (c.voice is not Voice.WRITTEN, c.quality), default=None)
    if best is None:
        return ""
    text = best.text if best.voice is not Voice.WRITTEN else on_screen(best.text)[0]
    return _capital(_cut(text.strip().removesuffix(".")))


def _cut(text: str) -> str:
    """Return a text of at most `MAX_QUOTED_CHARS`, cut where a clause ends if there is one."""
    if len(text) <= MAX_QUOTED_CHARS:
        return text
    ends = [m.start() for m in _CLAUSE.finditer(text[:MAX_QUOTED_CHARS])]
    if ends and ends[-1] >= MIN_CLAUSE_CHARS:
        return text[: ends[-1]]
    return shorten(text, max_chars=MAX_QUOTED_CHARS)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _keyword_title(chapters: Sequence[Chapter]) -> str:
    words = telling_keywords(chapters)[:1]
    return f"{PICTURES} {words[0]}" if words else ""
