"""Link a generated sentence to the chapters it came from, by the words that they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from fdvs.prompting.marks import unmarked
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter, Sentence

# a chapter is linked, too, if its score is at least this share of the best one's
NEAR_BEST = 0.8
MAX_CLIPS = 3

_COMMON_WORDS = """
a about after again all also an and another any are as at back be been before being both but by
can clip could did do does during each few finally first for from had has have he her his i in
into is it its later likely many more most much next no not of off on one or other out over part
picture said same says scene seen several she show showing shows so some someone something still
such than that the their them then there these they this those through time to two up very video
was we were what when where which while who will with would you
"""
# words of the chapter templates that carry no content
_TEMPLATE_WORDS = """
change changes confidence little looks maybe move moves nothing perhaps possibly recognised
recognized stand stands still strongly
"""
_COMMON = frozenset((_COMMON_WORDS + _TEMPLATE_WORDS).split())


def content_words(text: str) -> list[str]:
    """Return the words of a text that carry meaning, in order: case folded, without plural s."""
    return [_stem(word) for word in same_words(text).split() if word not in _COMMON]


def _stem(word: str) -> str:
    if len(word) > 3 and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word


def word_weights(texts: Sequence[set[str]]) -> dict[str, float]:
    """Return log(1 + N / n) of words in n of N texts: rare words weigh more."""
    counts = Counter(word for words in texts for word in words)
    return {word: math.log1p(len(texts) / count) for word, count in counts.items()}


def link_sentences(sentences: Sequence[str], chapters: Sequence[Chapter]) -> tuple[Sentence, ...]:
    """Return each sentence with the clips of the chapters that share most of its words.

    At most `MAX_CLIPS` clips, in order of time. Ties go to the chapter whose relative position is
    nearest to the sentence's, since a story is in order of time; a sentence that shares no word
    with any chapter is linked to that chapter alone. Raises ValueError without chapters.
    """
    if not chapters:
        raise ValueError("a sentence needs at least one chapter to be linked to")
    words = [set(content_words(unmarked(chapter.text))) for chapter in chapters]
    weights = word_weights(words)
    linked = []
    for place, text in enumerate(sentences):
        expected = (place + 0.5) / len(sentences) * len(chapters) - 0.5
        found = _best_chapters(set(content_words(text)), words, weights, expected)
        clips = sorted({chapters[i].index for i in found})
        linked.append(Sentence(text=text, clips=tuple(clips)))
    return tuple(linked)


def _best_chapters(
    wanted: set[str], words: Sequence[set[str]], weights: dict[str, float], expected: float
) -> list[int]:
    # sums are rounded: sets have no order, so equal sums could differ in their last digit
    scores = [round(sum(weights[w] for w in wanted & known), 9) for known in words]
    best = max(scores)
    order = sorted(range(len(words)), key=lambda i: (-scores[i], abs(i - expected), i))
    if best == 0:
        return order[:1]
    return [i for i in order[:MAX_CLIPS] if scores[i] >= NEAR_BEST * best]
