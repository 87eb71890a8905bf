"""Full-text search: SQLite FTS5 with BM25, in memory, over the texts of a library.

The table is filled when an index loads: 100,000 texts take about a second, no more than it would
take to check a stored table for damage.

Words are compared by FTS5's `unicode61` (no case, no accents) and the English Porter stemmer.
Scripts without spaces between words (Chinese, Japanese) match whole runs only.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fdvs.text.vocabulary import STOP_WORDS, TOKENIZER, WORD

MAX_QUERY_WORDS = 32
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

    Stop words are left out unless the query has no other words.

    >>> query_words('the "red" car OR the car*')
    ['red', 'car']
    """
    words = list(dict.fromkeys(WORD.findall(query.lower())))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_QUERY_WORDS]


def match_expression(words: Sequence[str], *, joined_by: str) -> str:
    """Return an FTS5 expression; every word is quoted, so none can be an operator."""
    return f" {joined_by} ".join(f'"{word}"' for word in words)


class FullText:
    """The words of texts, known by their position. Used from the thread that created it."""

    def __init__(self, texts: Iterable[tuple[str, str]]) -> None:
        """Take the (video_id, text) of each text, in order."""
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.execute("BEGIN")
        self._database.execute(CREATE)
        self._database.executemany(
            "INSERT INTO texts (rowid, video_id, text) VALUES (?, ?, ?)",
            ((place, *row) for place, row in enumerate(texts)),
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
        found = self._database.execute(
            f"SELECT rowid, bm25(texts) FROM texts WHERE texts MATCH ?{only}",
            (expression,) if video_id is None else (expression, video_id),
        )
        # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
        return {place: round(-score, 6) for place, score in found}
