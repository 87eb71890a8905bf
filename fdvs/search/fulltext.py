"""Full-text search: SQLite FTS5 with BM25, in memory, over the texts of a library.

The table is filled when an index loads: 100,000 texts take some seconds. A large library keeps its
words in a file instead (`fdvs.search.word_table`), with the same hits.

Words are compared by FTS5's `unicode61` (no case, no accents) and the English Porter stemmer.
Scripts without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese) and Korean,
whose particles stick to the word, are indexed by character, so that a word matches wherever its
characters stand together. Words that are run together, or apart, are found through the table's
own vocabulary (`fdvs.search.compounds`); these matches count half.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from fdvs.search.columns import Places
from fdvs.search.compounds import Compounds, long_words
from fdvs.text.vocabulary import STOP_WORDS, TOKENIZER

MAX_QUERY_WORDS = 32
MAX_PARTS = 128  # of a query in scripts without spaces
MOST = 0.6  # the share of a long run's parts that a text must hold
DECIMALS = 6  # of BM25: what differs by the order of summation is equal
LOOSE_SHARE = 0.5  # what a match of a run-together word counts
# Kana, Han and Hangul: words of one or two characters
_SYLLABLES = r"\u3005\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
_SYLLABLES += r"\U00020000-\U0003ffff"
# Thai and Lao, Burmese, Khmer: alphabets, words of several characters
_LETTERS = r"\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u1089\u1780-\u17d3"
# marks that belong to words of other scripts, which Python's \w leaves out
_MARKS = r"\u0300-\u036f\u0900-\u0963\u0971-\u0df3"
UNSPACED = re.compile(f"[{_SYLLABLES}{_LETTERS}]")
_WORD = re.compile(f"(?:[^\\W_]|[{_MARKS}{_LETTERS}])+")
_RUN = re.compile(f"[{_SYLLABLES}]+|[{_LETTERS}]+|[^{_SYLLABLES}{_LETTERS}]+")
_KANA = {code: code - 0x60 for code in range(0x30A1, 0x30F7)}
#: FTS5's tokenizer of all texts of a library
TOKENS = f"{TOKENIZER} categories ''L* N* Co Mc Mn''"
CREATE = f"CREATE VIRTUAL TABLE texts USING fts5(video_id UNINDEXED, text, tokenize = '{TOKENS}')"
VOCABULARY = "CREATE VIRTUAL TABLE terms USING fts5vocab(texts, 'row')"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hits:
    """Texts by rising place, and the BM25 of each, higher is better."""

    places: Places
    scores: NDArray[np.float64]

    @staticmethod
    def none() -> Hits:
        return Hits(places=np.zeros(0, np.int64), scores=np.zeros(0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WordHits:
    """Texts with at least one word of the query, with their BM25; `full` are those with all of its
    words, by rising place."""

    found: Hits
    full: Places

    @property
    def scores(self) -> dict[int, float]:
        """Position -> BM25."""
        return dict(zip(self.found.places.tolist(), self.found.scores.tolist(), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Need:
    """What stands for one word of a query: `parts`, of which a text must hold `num`, or any of
    the phrases in `loose`."""

    parts: tuple[str, ...]
    num: int = 1
    loose: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        return len(self.parts) == 1 and not self.loose


def query_words(query: str) -> list[str]:
    """Return the words to search for, without duplicates: at most `MAX_QUERY_WORDS`.

    Stop words are left out; a query of nothing else has no words.

    >>> query_words('the "red" car OR the car*')
    ['red', 'car']
    """
    words = dict.fromkeys(_WORD.findall(query.lower()))
    return [word for word in words if word not in STOP_WORDS][:MAX_QUERY_WORDS]


def runs_of(word: str) -> list[str]:
    """Return the stretches of one script in a word.

    >>> runs_of("ai小狗")
    ['ai', '小狗']
    """
    return _RUN.findall(word)


def is_unspaced(run: str) -> bool:
    """Return whether a run is of a script that is indexed by character."""
    return UNSPACED.match(run) is not None


def parts_of(run: str) -> list[str]:
    """Return the parts by which a run without spaces is found: itself if it is short, else every
    pair of syllables, or every four letters.

    >>> parts_of("小狗"), parts_of("红色汽车")
    (['小狗'], ['红色', '色汽', '汽车'])
    """
    size = 2 if re.match(f"[{_SYLLABLES}]", run) else 4
    if len(run) < 2 * size:
        return [run]
    return list(dict.fromkeys(run[i : i + size] for i in range(len(run) - size + 1)))[:MAX_PARTS]


def match_expression(words: Sequence[str], *, joined_by: str) -> str:
    """Return an FTS5 expression; every word is quoted, so none can be an operator."""
    return f" {joined_by} ".join(f'"{spaced(word)}"' for word in words)


def spaced(text: str) -> str:
    """Return a text with spaces around each character of a script without spaces.

    Katakana become Hiragana: both write the same words.

    >>> spaced("AI小狗")
    'AI 小  狗'
    """
    return UNSPACED.sub(r" \g<0> ", text.translate(_KANA)).strip()


class WordSearch(ABC):
    """What stands for a query's words, and which texts hold it."""

    @abstractmethod
    def match(self, phrases: Sequence[str], *, every: bool, video_id: str | None) -> Hits:
        """Return the texts with any, or every, of some phrases, of one video or of all."""

    @abstractmethod
    def vocabulary(self) -> Compounds:
        """Return the words of the texts."""

    def search(self, query: str, *, video_id: str | None = None) -> WordHits:
        """Return the texts that hold words of the query, of one video or of all."""
        needs = self._needs(query)
        if not needs:
            return WordHits(found=Hits.none(), full=np.zeros(0, np.int64))
        parts = list(dict.fromkeys(part for need in needs for part in need.parts))[:MAX_PARTS]
        if all(need.is_plain for need in needs):
            return self.match_plain(parts, video_id=video_id)
        found = self.match(parts, every=False, video_id=video_id)
        held = [self._holding(need, video_id) for need in needs]
        loose = list(dict.fromkeys(one for need in needs for one in need.loose))
        if loose:
            found = _with_loose(found, self.match(loose, every=False, video_id=video_id))
        return WordHits(found=found, full=reduce(np.intersect1d, held))

    def match_plain(self, phrases: Sequence[str], *, video_id: str | None) -> WordHits:
        """Return the texts with any of some phrases, and which of them hold every one."""
        found = every = self.match(phrases, every=False, video_id=video_id)
        if len(phrases) > 1:
            every = self.match(phrases, every=True, video_id=video_id)
        return WordHits(found=found, full=every.places)

    def _needs(self, query: str) -> list[_Need]:
        runs = list(dict.fromkeys(run for word in query_words(query) for run in runs_of(word)))
        with_spaces = [run for run in runs if not is_unspaced(run)]
        whole = _WORD.findall(query.lower())[: 2 * MAX_QUERY_WORDS]
        loose = self.vocabulary().loose(with_spaces, whole) if with_spaces else {}
        found = []
        for run in runs[:MAX_QUERY_WORDS]:
            parts = parts_of(run) if is_unspaced(run) else [run]
            num = 1 if len(parts) == 1 else -int(-MOST * len(parts) // 1)
            found.append(_Need(parts=tuple(parts), num=num, loose=loose.get(run, ())))
        return found

    def _holding(self, need: _Need, video_id: str | None) -> Places:
        """Return the texts that hold what stands for one word."""
        each = [self.match([part], every=False, video_id=video_id).places for part in need.parts]
        places, counts = np.unique(np.concatenate(each), return_counts=True)
        held = places[counts >= need.num]
        if need.loose:
            more = self.match(need.loose, every=False, video_id=video_id)
            held = np.union1d(held, more.places)
        return held


class FullText(WordSearch):
    """The words of texts, known by their position; one thread at a time searches."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        """Take the (video_id, text) of each text, in order."""
        self._lock = threading.Lock()
        self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self._database.execute("BEGIN")
        self._database.execute(CREATE)
        self._database.executemany(
            "INSERT INTO texts (rowid, video_id, text) VALUES (?, ?, ?)",
            ((place, video_id, spaced(text)) for place, (video_id, text) in enumerate(texts)),
        )
        self._database.execute("COMMIT")
        self._compounds: Compounds | None = None

    def vocabulary(self) -> Compounds:
        """Return the words of the texts, read at the first call."""
        with self._lock:
            if self._compounds is None:
                self._database.execute(VOCABULARY)
                terms = frozenset(t for (t,) in self._database.execute("SELECT term FROM terms"))
                texts = self._database.execute("SELECT text FROM texts")
                self._compounds = Compounds(terms, long_words(t for (t,) in texts))
            return self._compounds

    def match(self, phrases: Sequence[str], *, every: bool, video_id: str | None) -> Hits:
        """Return the texts with any, or every, of some phrases, by FTS5."""
        expression = match_expression(phrases, joined_by="AND" if every else "OR")
        only = "" if video_id is None else " AND video_id = ?"
        values = (expression,) if video_id is None else (expression, video_id)
        with self._lock:
            found = self._database.execute(
                f"SELECT rowid, bm25(texts) FROM texts WHERE texts MATCH ?{only} ORDER BY rowid",
                values,
            ).fetchall()
        rows = np.array(found, dtype=np.float64).reshape(-1, 2)
        # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
        return Hits(places=rows[:, 0].astype(np.int64), scores=np.round(-rows[:, 1], DECIMALS))


def _with_loose(found: Hits, loose: Hits) -> Hits:
    """Return hits with those of run-together words, which are below the best of the others."""
    most = found.scores.max(initial=0.0) if len(found.places) else np.inf
    lower = np.round(LOOSE_SHARE * np.minimum(loose.scores, most), DECIMALS)
    places = np.union1d(found.places, loose.places)
    scores = np.zeros(len(places))
    scores[np.searchsorted(places, found.places)] = found.scores
    rows = np.searchsorted(places, loose.places)
    scores[rows] = np.maximum(scores[rows], lower)
    return Hits(places=places, scores=scores)
