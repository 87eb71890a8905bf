"""How well the words of an option occur in passages: exactly, or as words of similar meaning.

    score(option) = sum over its words w of idf(w) match(w) / (number of its words + 1)
    match(w)      = max over passage words u of max(0, cos(w, u))^likeness n(u) / (n(u) + half)

n(u) is the number of passages that hold u (its stem); a word in many passages counts nearly
in full, as in BM25. cos is of the words' embeddings, 1 for a word with itself. idf(w) is over
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


def content_words(text: str) -> list[str]:
    """Return a text's words in lower case, each once, without stop words and single letters."""
    found = (word[:MAX_WORD_CHARS] for word in WORD.findall(text.lower()))
    return list(dict.fromkeys(w for w in found if len(w) > 1 and w not in STOP_WORDS))


@dataclass(frozen=True, slots=True, eq=False)
class PassageWords:
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
        max_words: int = MAX_KEPT_WORDS,
    ) -> None:
        self._embedder = embedder
        self._background = background
        self._half = enough_mentions
        self._likeness = likeness
        self._max_words = max_words
        self._rows: dict[str, Doubles] = {}

    def words_of(self, texts: Sequence[str]) -> PassageWords:
        """Return the words of passages. Cost: one embedding for each word not seen before."""
        words = [content_words(text) for text in texts]
        stem_of = _stem_each(word for of_text in words for word in of_text)
        mentions = Counter(
            stem for of_text in words for stem in dict.fromkeys(stem_of[word] for word in of_text)
        )
        form_of = _shortest_forms(stem_of)
        return PassageWords(
            mentions=mentions,
            rows=self._vectors([form_of[stem] for stem in mentions]),
            counts=np.array(list(mentions.values()), dtype=np.float64),
        )

    def scores(self, options: Sequence[str], passages: PassageWords) -> Doubles:
        """Return one number per option, 0 where no word of it occurs nor any similar one."""
        words = [content_words(option) for option in options]
        stem_of = _stem_each(word for of_option in words for word in of_option)
        matched = self._matched(_shortest_forms(stem_of), passages)
        sums = []
        for of_option in words:
            own = dict.fromkeys(stem_of[word] for word in of_option)
            total = sum(self._background.weight(stem) * matched[stem] for stem in own)
            sums.append(total / (len(own) + 1))
        return np.array(sums)

    def _matched(self, form_of: Mapping[str, str], passages: PassageWords) -> dict[str, float]:
        """Return how well each stem occurs; `form_of` has the word that is embedded for it."""
        counts = [passages.mentions.get(stem, 0) for stem in form_of]
        exact = {s: n / (n + self._half) for s, n in zip(form_of, counts, strict=True)}
        if not form_of or not len(passages.counts):
            return exact
        forms = list(form_of.values())
        cosines_WU = np.clip(self._vectors(forms) @ passages.rows.T, 0.0, 1.0)
        counts_U = passages.counts / (passages.counts + self._half)
        like_W = (cosines_WU**self._likeness * counts_U).max(axis=1)
        return {
            stem: max(exact[stem], float(like)) for stem, like in zip(form_of, like_W, strict=True)
        }

    def _vectors(self, words: Sequence[str]) -> Doubles:
        new = [word for word in dict.fromkeys(words) if word not in self._rows]
        if len(self._rows) + len(new) > self._max_words:
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
    """Return one form of each stem: the shortest, the first in the alphabet of equals."""
    forms: dict[str, str] = {}
    for word in sorted(stem_of, key=lambda word: (len(word), word)):
        forms.setdefault(stem_of[word], word)
    return forms
