"""The words of many texts as arrays: which text holds which stem, how often, and where.

Made once, from a full-text table of FTS5 (`fdvs.search.fulltext`), whose tokenizer and BM25 these
are: k1 = 1.2, b = 0.75, idf = log((N - n + 0.5) / (n + 0.5)), at least 1e-6. A search reads only
the lists of the query's stems; FTS5 itself returns a row for every match, and takes seconds to
fill for a million texts.

T stems in the order of their bytes, P pairs of stem and text, W words in all texts.
"""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import CorruptLibrary
from fdvs.search.columns import Places
from fdvs.search.compounds import Compounds, long_of
from fdvs.search.fulltext import DECIMALS, TOKENS, Hits, WordHits, WordSearch, spaced
from fdvs.vectors import Doubles

Number = TypeVar("Number", bound=np.generic)
_Row = tuple[str, int, str, str]  # a stem, how many places, the texts and the places in them

K1, B, LEAST_IDF = 1.2, 0.75, 1e-6  # as in FTS5
MAX_PHRASE = 2**16  # words
DAMAGED = "the file search.arrays is damaged; delete it: the next search makes it again"
CHUNK_PLACES = 2**20  # that are worked on at once
MAX_COUNT = 2**16 - 1  # of one stem in one text


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Words:
    """Attributes:
    stem_ends, stems: stem t is the UTF-8 of `stems[stem_ends[t]:stem_ends[t + 1]]`.
    pair_ends, pair_texts, pair_counts: the texts that hold stem t, and how often.
    place_ends, places: where in them, text by text.
    lengths: the number of words of each text [N].
    long_words: see `fdvs.search.compounds.long_words`, as UTF-8.
    """

    stem_ends: Places
    stems: NDArray[np.uint8]
    pair_ends: Places
    pair_texts: NDArray[np.int32]
    pair_counts: NDArray[np.uint16]
    place_ends: Places
    places: NDArray[np.int32]
    lengths: NDArray[np.int32]
    long_words: NDArray[np.uint8]


def count_words(texts: Iterable[str], num_texts: int) -> Words:
    """Return the words of texts.

    Raises ValueError where one text holds one stem more than 65,535 times.
    """
    pieces: set[str] = set()

    def rows() -> Iterator[tuple[int, str]]:
        for place, text in enumerate(texts):
            split = spaced(text)
            pieces.update(split.lower().split())
            yield place, split

    database = _table(", content = ''")
    try:
        database.execute("BEGIN")
        database.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", rows())
        database.execute("COMMIT")
        return _lists(database, num_texts, long_of(pieces))
    finally:
        database.close()


def _table(more: str = "") -> sqlite3.Connection:
    # A temporary file: SQLite spills to it what does not fit its cache.
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    database.execute(f"CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = '{TOKENS}'{more})")
    database.execute("CREATE VIRTUAL TABLE found USING fts5vocab(texts, 'instance')")
    return database


def _lists(database: sqlite3.Connection, num_texts: int, words: str) -> Words:
    # Numbers are joined to text: a row of SQLite for each of them would take ten times as long.
    rows = database.execute(
        "SELECT term, count(*), group_concat(doc), group_concat(offset) FROM found GROUP BY term"
    )
    stems: list[bytes] = []
    pieces: list[_Piece] = []
    while chunk := list(_chunk_of(rows)):
        stems += [stem.encode() for stem, *_ in chunk]
        pieces.append(_Piece.of(chunk))
    lengths = np.zeros(num_texts, np.int64)
    for piece in pieces:
        np.add.at(lengths, piece.pair_texts, piece.pair_counts)
    return Words(
        stem_ends=_ends(np.array([len(stem) for stem in stems], np.int64)),
        stems=np.frombuffer(b"".join(stems), np.uint8),
        pair_ends=_ends(_joined([piece.num_pairs for piece in pieces], np.int64)),
        pair_texts=_joined([piece.pair_texts for piece in pieces], np.int32),
        pair_counts=_joined([piece.pair_counts for piece in pieces], np.uint16),
        place_ends=_ends(_joined([piece.num_places for piece in pieces], np.int64)),
        places=_joined([piece.places for piece in pieces], np.int32),
        lengths=lengths.astype(np.int32),
        long_words=np.frombuffer(words.encode(), np.uint8),
    )


def _chunk_of(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Yield rows with about `CHUNK_PLACES` places together."""
    num = 0
    for row in rows:
        yield row
        num += row[1]
        if num >= CHUNK_PLACES:
            return


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Piece:
    """The lists of some stems; `num_pairs` and `num_places` are the sizes of each stem's."""

    num_pairs: Places
    num_places: Places
    pair_texts: NDArray[np.int32]
    pair_counts: NDArray[np.uint16]
    places: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> _Piece:
        sizes = np.array([num for _, num, _, _ in rows], np.int64)
        stems = np.repeat(np.arange(len(rows)), sizes)
        texts = np.fromstring(",".join(one for _, _, one, _ in rows), dtype=np.int64, sep=",")
        places = np.fromstring(",".join(one for *_, one in rows), dtype=np.int64, sep=",")
        order = np.lexsort((places, texts, stems))
        texts, places = texts[order], places[order]
        is_first = np.ones(len(texts), np.bool_)
        is_first[1:] = (texts[1:] != texts[:-1]) | (stems[1:] != stems[:-1])
        firsts = np.flatnonzero(is_first)
        counts = np.diff(np.append(firsts, len(texts)))
        if counts.max(initial=0) > MAX_COUNT:
            raise ValueError(f"a text holds one word {counts.max()} times")
        return cls(
            num_pairs=np.bincount(stems[firsts], minlength=len(rows)),
            num_places=sizes,
            pair_texts=texts[firsts].astype(np.int32),
            pair_counts=counts.astype(np.uint16),
            places=places.astype(np.int32),
        )


def _ends(sizes: Places) -> Places:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])


def _joined(arrays: Sequence[NDArray[Number]], kind: type[Number]) -> NDArray[Number]:
    return np.concatenate([np.zeros(0, kind), *arrays])


class _Stems(Container[str]):
    """The stems, by their numbers."""

    def __init__(self, words: Words) -> None:
        self._ends, self._stems = words.stem_ends, words.stems

    def _stem(self, number: int) -> bytes:
        return self._stems[self._ends[number] : self._ends[number + 1]].tobytes()

    def number(self, stem: str) -> int | None:
        """Return the place of a stem in their order, None if no text holds it."""
        wanted, num = stem.encode("utf-8", "replace"), len(self._ends) - 1
        number = bisect_left(range(num), wanted, key=self._stem)
        return number if number < num and self._stem(number) == wanted else None

    def __contains__(self, stem: object) -> bool:
        return isinstance(stem, str) and self.number(stem) is not None


class _Lists:
    """Looks up stems, and phrases of them, in `Words`."""

    def __init__(self, words: Words) -> None:
        self.stems = _Stems(words)
        self.num_texts = len(words.lengths)
        self._words = words

    def holding(self, phrase: Sequence[str]) -> tuple[Places, Places]:
        """Return the texts that hold some stems one after another, and how often."""
        numbers = [self.stems.number(stem) for stem in phrase]
        if not numbers or None in numbers:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        known = [number for number in numbers if number is not None]
        if len(known) == 1:
            return self._pairs(known[0])
        found: Places | None = None
        for offset, number in sorted(enumerate(known), key=lambda one: self._size(one[1])):
            places = self._places(number) - offset
            found = places if found is None else found[_are_in(found, places)]
            if not len(found):
                break
        assert found is not None
        return np.unique(found >> 32, return_counts=True)

    def _size(self, number: int) -> int:
        return int(self._words.place_ends[number + 1] - self._words.place_ends[number])

    def _pairs(self, number: int) -> tuple[Places, Places]:
        """Return the texts that hold a stem, and how often. Raises CorruptLibrary."""
        low, high = self._words.pair_ends[number : number + 2]
        texts = self._words.pair_texts[low:high].astype(np.int64)
        if len(texts) and not (texts.min() >= 0 and texts.max() < self.num_texts):
            raise CorruptLibrary(DAMAGED)
        return texts, self._words.pair_counts[low:high].astype(np.int64)

    def _places(self, number: int) -> Places:
        """Return where a stem stands, as text * 2**32 + place, rising. Raises CorruptLibrary."""
        texts, counts = self._pairs(number)
        low, high = self._words.place_ends[number : number + 2]
        if counts.sum() != high - low:
            raise CorruptLibrary(DAMAGED)
        # Beyond an offset, so that a place minus it never falls into the text before.
        return (np.repeat(texts, counts) << 32) + self._words.places[low:high] + MAX_PHRASE


@dataclass(frozen=True, slots=True)
class _AnyOf(Container[str]):
    """The stems of several libraries."""

    each: Sequence[_Stems]

    def __contains__(self, stem: object) -> bool:
        return any(stem in one for one in self.each)


class WordTable(WordSearch):
    """Searches the words of an index. `videos` is the video of each text [N].

    `others` are the words of libraries that are searched together with this one: what a word tells
    is then counted over all of them, as if they were one.
    """

    def __init__(
        self,
        words: Words,
        videos: NDArray[np.int32],
        video_ids: Sequence[str],
        others: Sequence[Words] = (),
    ) -> None:
        self.words = words
        self._lists = _Lists(words)
        self._all = [self._lists, *map(_Lists, others)]
        self._all_words = [words, *others]
        self._videos = videos
        self._number_of = {video_id: number for number, video_id in enumerate(video_ids)}
        self._lock = threading.Lock()
        self._num_texts = sum(one.num_texts for one in self._all)
        total = sum(float(one.lengths.sum(dtype=np.float64)) for one in self._all_words)
        mean = total / self._num_texts if total else 1.0
        self._norms = K1 * (1 - B + B * words.lengths.astype(np.float64) / mean)

    @cached_property
    def _tokenizer(self) -> sqlite3.Connection:
        return _table()

    @cached_property
    def _compounds(self) -> Compounds:
        terms = _AnyOf([one.stems for one in self._all])
        texts = [one.long_words.tobytes().decode("utf-8", "replace") for one in self._all_words]
        return Compounds(terms, "\n".join(texts))

    def vocabulary(self) -> Compounds:
        """Return the words of the texts."""
        return self._compounds

    def match(self, phrases: Sequence[str], *, every: bool, video_id: str | None) -> Hits:
        """Return the texts with any, or every, of some phrases."""
        scores, num_held = self._scored(phrases)
        return self._hits(scores, num_held == len(phrases) if every else num_held, video_id)

    def match_plain(self, phrases: Sequence[str], *, video_id: str | None) -> WordHits:
        """Return the texts with any of some phrases, and which of them hold every one."""
        scores, num_held = self._scored(phrases)
        found = self._hits(scores, num_held, video_id)
        full = found.places[num_held[found.places] == len(phrases)]
        return WordHits(found=found, full=full)

    def _scored(self, phrases: Sequence[str]) -> tuple[Doubles, NDArray[np.uint16]]:
        """Return for each text its BM25, and how many of the phrases it holds."""
        scores = np.zeros(len(self._videos))
        num_held = np.zeros(len(self._videos), np.uint16)
        for phrase in phrases:  # sums over all texts: faster than to join lists of some
            stems = self._stems_of(phrase)
            texts, counts = self._lists.holding(stems)
            others = (one.holding(stems)[0] for one in self._all[1:])
            num = len(texts) + sum(map(len, others))
            idf = max(np.log((self._num_texts - num + 0.5) / (num + 0.5)), LEAST_IDF)
            found = counts.astype(np.float64)
            scores[texts] += idf * (found * (K1 + 1.0) / (found + self._norms[texts]))
            num_held[texts] += 1
        return scores, num_held

    def _hits(self, scores: Doubles, held: NDArray[Number], video_id: str | None) -> Hits:
        places = np.flatnonzero(held)
        if video_id is not None:
            number = self._number_of.get(video_id, -1)
            places = places[self._videos[places] == number]
        return Hits(places=places, scores=np.round(scores[places], DECIMALS))

    def _stems_of(self, phrase: str) -> list[str]:
        with self._lock:
            database = self._tokenizer
            database.execute("BEGIN")
            try:
                database.execute("INSERT INTO texts (rowid, text) VALUES (0, ?)", (spaced(phrase),))
                rows = database.execute("SELECT term FROM found ORDER BY offset").fetchall()
            finally:
                database.execute("ROLLBACK")
        return [stem for (stem,) in rows]


def _are_in(few: Places, many: Places) -> NDArray[np.bool_]:
    """Return which of some rising numbers are among others."""
    at = np.minimum(np.searchsorted(many, few), len(many) - 1)
    found: NDArray[np.bool_] = many[at] == few
    return found
