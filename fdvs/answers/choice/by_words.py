"""How well the words of an option are said in passages: exactly, or by words of like meaning.

    score(option) = sum over its words of idf(w) heard(w) / (number of its words + 1)
    heard(w)      = max over the words u said of max(0, cos(w, u))^likeness n(u) / (n(u) + half)

n(u) is the number of passages that say u (its stem); what is said often enough counts nearly
whole, as in BM25. cos is of the words' embeddings, 1 for a word with itself. idf(w) is over
videos, from a `Background`; without one every word weighs the same. A word counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.answers.choice.background import Background
from fdvs.protocols import TextEmbedder
from fdvs.text.vocabulary import STOP_WORDS, WORD, stems
from fdvs.vectors import Doubles, unit_rows

MAX_WORD_CHARS = 40
MAX_KEPT_WORDS = 100_000  # vectors of single words; 150 MB at 384 dimensions


def telling_words(text: str) -> list[str]:
    """Return a text's words in lower case, each once, without stop words and single letters."""
    found = (word[:MAX_WORD_CHARS] for word in WORD.findall(text.lower()))
    return list(dict.fromkeys(w for w in found if len(w) > 1 and w not in STOP_WORDS))


@dataclass(frozen=True, slots=True, eq=False)
class SaidWords:
    """The words of some passages: `mentions` by stem, and the vectors `rows` of one form of each.

    `rows` [U, D] and `counts` [U], the mentions as numbers, are in the order of `mentions`.
    """

    mentions: Mapping[str, int]
    rows: Doubles
    counts: Doubles


class WordMatcher:
    """Scores options by words. Keeps the vectors of words that it has seen, up to a bound."""

    def __init__(
        self,
        embedder: TextEmbedder,
        background: Background,
        *,
        enough_mentions: float,
        likeness: float,
    ) -> None:
        self._embedder = embedder
        self._background = background
        self._half = enough_mentions
        self._likeness = likeness
        self._rows: dict[str, Doubles] = {}

    def said(self, texts: Sequence[str]) -> SaidWords:
        """Take in the passages. Cost: one embedding for each word not seen before."""
        words = [telling_words(text) for text in texts]
        stem_of = _stem_each(word for of_text in words for word in of_text)
        mentions = Counter(
            stem for of_text in words for stem in {stem_of[word] for word in of_text}
        )
        form_of = _shortest_forms(stem_of)
        return SaidWords(
            mentions=mentions,
            rows=self._vectors([form_of[stem] for stem in mentions]),
            counts=np.array(list(mentions.values()), dtype=np.float64),
        )

    def scores(self, options: Sequence[str], said: SaidWords) -> Doubles:
        """Return one number per option, 0 where no word is said nor anything like it."""
        words = [telling_words(option) for option in options]
        stem_of = _stem_each(word for of_option in words for word in of_option)
        form_of = _shortest_forms(stem_of)
        known = list(form_of)
        heard = dict(zip(known, self._heard([form_of[s] for s in known], known, said), strict=True))
        sums = []
        for of_option in words:
            own = dict.fromkeys(stem_of[word] for word in of_option)
            total = sum(self._background.weight(stem) * heard[stem] for stem in own)
            sums.append(total / (len(own) + 1))
        return np.array(sums)

    def _heard(self, forms: Sequence[str], own: Sequence[str], said: SaidWords) -> list[float]:
        exact = [said.mentions.get(stem, 0) for stem in own]
        found = [count / (count + self._half) for count in exact]
        if not forms or not len(said.counts):
            return found
        cosines_WU = np.clip(self._vectors(forms) @ said.rows.T, 0.0, 1.0)
        counts_U = said.counts / (said.counts + self._half)
        like_W = (cosines_WU**self._likeness * counts_U).max(axis=1)
        return [max(one, float(like)) for one, like in zip(found, like_W, strict=True)]

    def _vectors(self, words: Sequence[str]) -> Doubles:
        new = [word for word in dict.fromkeys(words) if word not in self._rows]
        if len(self._rows) + len(new) > MAX_KEPT_WORDS:
            self._rows.clear()
            new = list(dict.fromkeys(words))
        if new:
            self._rows.update(zip(new, unit_rows(self._embedder.embed_texts(new)), strict=True))
        if not words:
            return np.zeros((0, 1))
        return np.stack([self._rows[word] for word in words])


def _stem_each(words: Iterable[str]) -> dict[str, str]:
    """Return the stem of each word; the word itself where the stemmer finds none."""
    known = list(dict.fromkeys(words))
    return {
        word: found[0] if found else word for word, found in zip(known, stems(known), strict=True)
    }


def _shortest_forms(stem_of: Mapping[str, str]) -> dict[str, str]:
    """Return one form of each stem: the shortest, the first by alphabet of equals."""
    forms: dict[str, str] = {}
    for word in sorted(stem_of, key=lambda word: (len(word), word)):
        forms.setdefault(stem_of[word], word)
    return forms
