"""Full-text search: SQLite FTS5 with BM25, in memory, over the texts of a library.

The table is filled when an index loads: 100,000 texts take about a second, no more than it would
take to check a stored table for damage.

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
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fdvs.search.compounds import Compounds
from fdvs.text.vocabulary import STOP_WORDS, TOKENIZER

MAX_QUERY_WORDS = 32
MAX_PARTS = 128  # of a query in scripts without spaces
MOST = 0.6  # the share of a long run's parts that a text must hold
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
_TOKENS = f"{TOKENIZER} categories ''L* N* Co Mc Mn''"
CREATE = f"CREATE VIRTUAL TABLE texts USING fts5(video_id UNINDEXED, text, tokenize = '{_TOKENS}')"
VOCABULARY = "CREATE VIRTUAL TABLE terms USING fts5vocab(texts, 'row')"


@dataclass(frozen=True, slots=True, kw_only=True)
class WordHits:
    """Texts with at least one word of the query: position -> BM25, higher is better.

    `full` are those with all of its words.
    """

    scores: dict[int, float]
    full: frozenset[int]


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


class FullText:
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

    def search(self, query: str, *, video_id: str | None = None) -> WordHits:
        """Return the texts that hold words of the query, of one video or of all."""
        needs = self._needs(query)
        if not needs:
            return WordHits(scores={}, full=frozenset())
        parts = list(dict.fromkeys(part for need in needs for part in need.parts))[:MAX_PARTS]
        scores = self._match(match_expression(parts, joined_by="OR"), video_id)
        if all(need.is_plain for need in needs):
            every = self._match(match_expression(parts, joined_by="AND"), video_id)
            return WordHits(scores=scores, full=frozenset(every))
        held = [self._holding(need, video_id) for need in needs]
        loose = list(dict.fromkeys(one for need in needs for one in need.loose))
        if loose:
            more = self._match(match_expression(loose, joined_by="OR"), video_id)
            scores = _with_loose(scores, more)
        return WordHits(scores=scores, full=frozenset.intersection(*held))

    def _needs(self, query: str) -> list[_Need]:
        runs = list(dict.fromkeys(run for word in query_words(query) for run in runs_of(word)))
        with_spaces = [run for run in runs if not is_unspaced(run)]
        whole = _WORD.findall(query.lower())[: 2 * MAX_QUERY_WORDS]
        loose = self._vocabulary().loose(with_spaces, whole) if with_spaces else {}
        found = []
        for run in runs[:MAX_QUERY_WORDS]:
            parts = parts_of(run) if is_unspaced(run) else [run]
            num = 1 if len(parts) == 1 else -int(-MOST * len(parts) // 1)
            found.append(_Need(parts=tuple(parts), num=num, loose=loose.get(run, ())))
        return found

    def _vocabulary(self) -> Compounds:
        with self._lock:
            if self._compounds is None:
                self._database.execute(VOCABULARY)
                terms = self._database.execute("SELECT term FROM terms")
                texts = self._database.execute("SELECT text FROM texts")
                self._compounds = Compounds((t for (t,) in terms), (t for (t,) in texts))
            return self._compounds

    def _holding(self, need: _Need, video_id: str | None) -> frozenset[int]:
        """Return the texts that hold what stands for one word."""
        counts: Counter[int] = Counter()
        for part in need.parts:
            counts.update(self._match(match_expression([part], joined_by="OR"), video_id).keys())
        held = {place for place, num in counts.items() if num >= need.num}
        if need.loose:
            held |= self._match(match_expression(need.loose, joined_by="OR"), video_id).keys()
        return frozenset(held)

    def _match(self, expression: str, video_id: str | None) -> dict[int, float]:
        only = "" if video_id is None else " AND video_id = ?"
        values = (expression,) if video_id is None else (expression, video_id)
        with self._lock:
            found = self._database.execute(
                f"SELECT rowid, bm25(texts) FROM texts WHERE texts MATCH ?{only}", values
            ).fetchall()
        # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
        return {place: round(-score, 6) for place, score in found}


def _with_loose(scores: dict[int, float], loose: dict[int, float]) -> dict[int, float]:
    """Return scores with those of run-together words, which are below the best of the others."""
    most = max(scores.values(), default=float("inf"))
    lower = {p: round(LOOSE_SHARE * min(score, most), 6) for p, score in loose.items()}
    return {p: max(scores.get(p, 0.0), lower.get(p, 0.0)) for p in {**scores, **lower}}
