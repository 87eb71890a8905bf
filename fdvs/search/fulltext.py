"""Full-text search: SQLite FTS5 with BM25, in memory, over the texts of a library.

The table is filled when an index loads: 100,000 texts take about a second, no more than it would
take to check a stored table for damage.

Words are compared by FTS5's `unicode61` (no case, no accents) and the English Porter stemmer.
Chinese and Japanese, which have no spaces between words, are indexed by character, so that a word
matches wherever its characters stand together.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fdvs.text.vocabulary import STOP_WORDS, TOKENIZER, WORD

MAX_QUERY_WORDS = 32
#: Kana and Han characters.
UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
CREATE = (
    f"CREATE VIRTUAL TABLE texts USING fts5(video_id UNINDEXED, text, tokenize = '{TOKENIZER}')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordHits:
    """Texts with at least one word of the query: position -> BM25, higher is better.

    `full` are those with all of its words.
    """

    scores: dict[int, float]
    full: frozenset[int]


def query_words(query: str) -> list[str]:
    """Return the words to search for, without duplicates: at most `MAX_QUERY_WORDS`.

    Stop words are left out; a query of nothing else has no words.

    >>> query_words('the "red" car OR the car*')
    ['red', 'car']
    """
    words = list(dict.fromkeys(WORD.findall(query.lower())))
    return [word for word in words if word not in STOP_WORDS][:MAX_QUERY_WORDS]


def match_expression(words: Sequence[str], *, joined_by: str) -> str:
    """Return an FTS5 expression; every word is quoted, so none can be an operator."""
    return f" {joined_by} ".join(f'"{spaced(word)}"' for word in words)


def spaced(text: str) -> str:
    """Return a text with spaces around each Chinese or Japanese character.

    >>> spaced("AI小狗")
    'AI 小  狗'
    """
    return UNSPACED.sub(r" \g<0> ", text).strip()


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

    def search(self, query: str, *, video_id: str | None = None) -> WordHits:
        """Return the texts that hold words of the query, of one video or of all."""
        words = query_words(query)
        if not words:
            return WordHits(scores={}, full=frozenset())
        every = self._match(match_expression(words, joined_by="AND"), video_id)
        some = self._match(match_expression(words, joined_by="OR"), video_id)
        return WordHits(scores=some, full=frozenset(every))

    def _match(self, expression: str, video_id: str | None) -> dict[int, float]:
        only = "" if video_id is None else " AND video_id = ?"
        values = (expression,) if video_id is None else (expression, video_id)
        with self._lock:
            found = self._database.execute(
                f"SELECT rowid, bm25(texts) FROM texts WHERE texts MATCH ?{only}", values
            ).fetchall()
        # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
        return {place: round(-score, 6) for place, score in found}
