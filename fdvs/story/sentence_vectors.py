"""Vectors of sentences: by their words, and by meaning where a text embedder is given."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from fdvs.story.linking import content_words
from fdvs.text.stop_words import language_of, stop_words_of
from fdvs.types import Vectors
from fdvs.vectors import Doubles, unit_rows

Embed = Callable[[Sequence[str]], Vectors]

# words are hashed into this many places: enough that few of a film share one
NUM_PLACES = 2048
CHUNK = 64
STEM_CHARS = 6
# what meaning weighs against words in a language that the text embedder hardly knows
FOREIGN_MEANING = 0.5


def sentence_vectors(texts: Sequence[str], embed: Embed | None) -> Doubles:
    """Return unit rows [N, D] by words and, with `embed`, by meaning.

    Both weigh the same in a cosine, but meaning less in other languages than English, which small
    text embedders hardly know.
    """
    words = word_vectors(texts)
    if embed is None or not texts:
        return words
    chunks = [embed(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    meaning = unit_rows(np.concatenate(chunks))
    weight = 1.0 if language_of(texts) in {"en", ""} else FOREIGN_MEANING
    return unit_rows(np.concatenate([words, weight * meaning], axis=1))


def terms_of(texts: Sequence[str]) -> list[list[str]]:
    """Return the content words of each text, cut to stems of `STEM_CHARS` letters.

    A cut is a stem in many languages: it unites "glacier" and "glaciers", "Moräne" and "Moränen".
    """
    stop_words = stop_words_of(texts)
    return [
        [word[:STEM_CHARS] for word in content_words(text) if word not in stop_words]
        for text in texts
    ]


def word_vectors(texts: Sequence[str]) -> Doubles:
    """Return unit rows [N, NUM_PLACES] of tf-idf over hashed stems."""
    words = [Counter(terms) for terms in terms_of(texts)]
    used = Counter(word for counts in words for word in counts)
    rows = np.zeros((len(texts), NUM_PLACES))
    for row, counts in enumerate(words):
        for word, count in counts.items():
            weight = (1 + np.log(count)) * np.log1p(len(texts) / used[word])
            rows[row, zlib.crc32(word.encode()) % NUM_PLACES] += weight
    return unit_rows(rows)
