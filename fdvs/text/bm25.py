"""Okapi BM25 of every text of a list for many queries at once, as a matrix.

The full-text search of a library (`fdvs.search.fulltext`) returns the texts that match; here every
text gets a score for every query, so that scores of words and vectors can be added. Words are split
and stemmed by the same SQLite tokenizer, without stop words, and count once in a query. The idf is
never negative (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009; Lucene's
log(1 + (N - n + 0.5) / (n + 0.5))).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fdvs.text.vocabulary import stems
from fdvs.types import Vectors

K1, B = 1.2, 0.75  # saturation of repeated words, normalisation by length


@dataclass(frozen=True, slots=True, eq=False)
class _Postings:
    """The texts that contain one stem, and what it adds to the score of each."""

    places: NDArray[np.intp]
    weights: Vectors


class Bm25:
    """BM25 of N texts; `k1` bounds the effect of repetition, `b` is the effect of length."""

    def __init__(self, texts: Sequence[str], *, k1: float = K1, b: float = B) -> None:
        self.num_texts = len(texts)
        self._postings = _weigh(stems(texts), k1=k1, b=b)

    def scores(self, queries: Sequence[str]) -> Vectors:
        """Return float32 [Q, N]; 0 for a text without a word of the query."""
        found = np.zeros((len(queries), self.num_texts), dtype=np.float32)
        for row, words in zip(found, stems(queries), strict=True):
            for word in sorted(set(words)):  # one order of summation, whatever the query's
                postings = self._postings.get(word)
                if postings is not None:
                    row[postings.places] += postings.weights
        return found


def _weigh(texts: Sequence[Sequence[str]], *, k1: float, b: float) -> dict[str, _Postings]:
    lengths = np.array([len(words) for words in texts], dtype=np.float64)
    mean = lengths.mean() if lengths.any() else 1.0
    damping = k1 * (1 - b + b * lengths / mean)
    held: dict[str, list[tuple[int, int]]] = {}
    for place, words in enumerate(texts):
        for word, count in Counter(words).items():
            held.setdefault(word, []).append((place, count))
    postings = {}
    for word, pairs in held.items():
        places, counts = np.array(pairs, dtype=np.intp).T
        idf = np.log1p((len(texts) - len(pairs) + 0.5) / (len(pairs) + 0.5))
        weights = idf * counts * (k1 + 1) / (counts + damping[places])
        postings[word] = _Postings(places, weights.astype(np.float32))
    return postings
