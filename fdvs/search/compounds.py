"""Words that stand run together in one place and apart in another.

Looked up in the vocabulary of a full-text table, so that it costs no second index: of a library of
100,000 chapters it has some ten thousand stems (docs/decisions/028-search.md compares it with a
trigram index). Three ways:

  inside     "schiff" in "Donaudampfschiff"
  apart      the query "bigbuckbunny", the text "big buck bunny"
  together   the query "big buck bunny", the text "bigbuckbunny"
"""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence, Set

from fdvs.text.vocabulary import STOP_WORDS, WORD, stems

MIN_CHARS = 4  # of a word that is looked for inside of others
MIN_REST = 4  # the characters beside it: "king" is no part of "breaking", "lion" none of "million"
MAX_ENDING = 2  # of a plural or case: "häuser" ends "Gartenhäusern"
MAX_WORDS = 50  # that one word of a query may stand inside of
MAX_PIECES = 4
MIN_RUN_CHARS, MAX_RUN_CHARS = 5, 40  # of words that are taken apart


def long_words(texts: Iterable[str]) -> str:
    """Return the different words of texts that are long enough to hold another, in order, each on
    a line of its own."""
    return long_of({piece for text in texts for piece in text.lower().split()})


def long_of(pieces: Set[str]) -> str:
    """Return the long words among pieces of texts in lower case, see `long_words`."""
    words = {without_accents(w) for piece in pieces for w in WORD.findall(piece)}
    return "\n".join(sorted(w for w in words if len(w) >= MIN_CHARS + MIN_REST - 1))


class Compounds:
    """The vocabulary of texts: `terms` are its stems, `words` those that were stemmed, as
    `long_words` returns them."""

    def __init__(self, terms: Container[str], words: str) -> None:
        self._terms = terms
        self._words = words

    def loose(self, words: Sequence[str], query: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Return for words of a query what may stand for each, as phrases of the texts.

        `query` are all of its words in order, with the stop words among `words`.
        """
        found: dict[str, list[str]] = {word: [] for word in words}
        for word, stem in zip(words, _stems_of(words), strict=True):
            found[word] += [*self._inside(without_accents(word), stem), *self._apart(word)]
        for group in self._together(query):
            for word in group:
                if word in found:
                    found[word].append("".join(group))
        return {word: tuple(dict.fromkeys(more)) for word, more in found.items() if more}

    def _inside(self, word: str, stem: str) -> list[str]:
        """Return the words that hold a word, or its stem, as a part of their own."""
        without_ending = word[:-1] if len(word) > MIN_CHARS + 1 else word
        forms = {word, stem, without_ending}
        forms = {one for one in forms if len(one) >= MIN_CHARS and one.isalpha()}
        found = {t for form in forms for t in self._lines_with(form) if _is_part(form, t)}
        holding = sorted(found)[: 4 * MAX_WORDS]
        stemmed = zip(holding, _stems_of(holding), strict=True)
        return [term for term, now in stemmed if now != stem and _is_whole(word, term, now)][
            :MAX_WORDS
        ]

    def _lines_with(self, form: str) -> Iterator[str]:
        """Yield the words that a form occurs in."""
        at = self._words.find(form)
        while at >= 0:
            start = self._words.rfind("\n", 0, at) + 1
            stop = self._words.find("\n", at)
            stop = len(self._words) if stop < 0 else stop
            yield self._words[start:stop]
            at = self._words.find(form, stop)

    def _apart(self, word: str) -> list[str]:
        """Return the fewest words of the vocabulary that a word is made of, as one phrase."""
        num = len(word)
        if not MIN_RUN_CHARS <= num <= MAX_RUN_CHARS:
            return []
        spans = [(a, b) for a in range(num) for b in range(a + 1, num + 1) if (a, b) != (0, num)]
        known = self._are_words([word[a:b] for a, b in spans])
        best: list[list[str] | None] = [[], *[None] * num]
        for (a, b), is_word in zip(spans, known, strict=True):  # by where they begin
            before, now = best[a], best[b]
            if not is_word or before is None or len(before) == MAX_PIECES:
                continue
            if now is None or len(before) + 1 < len(now):
                best[b] = [*before, word[a:b]]
        pieces = best[num]
        return [" ".join(pieces)] if pieces else []

    def _together(self, query: Sequence[str]) -> list[Sequence[str]]:
        """Return the neighbouring words of a query that are one word of the vocabulary."""
        groups = [
            query[first:stop]
            for first in range(len(query))
            for stop in range(first + 2, min(first + MAX_PIECES, len(query)) + 1)
        ]
        joined = _stems_of(["".join(group) for group in groups])
        return [group for group, stem in zip(groups, joined, strict=True) if stem in self._terms]

    def _are_words(self, pieces: Sequence[str]) -> list[bool]:
        """Return whether each piece is a word of two or more letters, or a stop word."""
        return [
            piece in STOP_WORDS or (len(piece) > 1 and stem in self._terms)
            for piece, stem in zip(pieces, _stems_of(pieces), strict=True)
        ]


def _stems_of(words: Sequence[str]) -> list[str]:
    """Return the stem of each word, "" of a stop word."""
    return [next(iter(found), "") for found in stems(words)]


def without_accents(word: str) -> str:
    """Return a word as `unicode61` compares it: "Hütte" as "hutte", if it is in lower case."""
    split = unicodedata.normalize("NFKD", word)
    return "".join(c for c in split if unicodedata.category(c) != "Mn")


def _is_part(word: str, term: str) -> bool:
    """Return whether a word inside of a longer one can be a part of a compound: it begins it, ends
    it but for an ending, or stands between two others."""
    head = term.find(word)
    tail = len(term) - head - len(word)
    least = MIN_REST if len(word) == MIN_CHARS else MIN_REST - 1
    if head == 0:
        return tail >= least
    if tail <= MAX_ENDING:
        return head >= least
    return head >= MIN_REST <= tail or len(word) > MIN_CHARS + 1


def _is_whole(word: str, term: str, stem: str) -> bool:
    """Return whether a part at the end is more than an English ending: "king" is none of
    "striking", whose stem is "strike"."""
    if len(term) - term.find(word) - len(word) > MAX_ENDING:
        return True
    least = max(MIN_CHARS - 1, len(word) - MAX_ENDING)
    return any(stem.endswith(word[:num]) for num in range(least, len(word) + 1))
