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

Key = tuple[str, str, int]  # video_id, level, item

MAX_QUERY_WORDS = 32
CREATE = (
    "CREATE VIRTUAL TABLE texts USING fts5(video_id UNINDEXED, level UNINDEXED,"
    f" item UNINDEXED, text, tokenize = '{TOKENIZER}')"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordHits:
    """Texts that hold at least one word of the query: key -> BM25, higher is better.

    `full` are those that hold every one of them.
    """

    scores: dict[Key, float]
    full: frozenset[Key]


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
    """The words of texts, each under its key. Used from the thread that created it."""

    def __init__(self, texts: Iterable[tuple[Key, str]]) -> None:
        self._database = sqlite3.connect(":memory:", isolation_level=None)
        self._database.execute("BEGIN")
        self._database.execute(CREATE)
        self._database.executemany(
            "INSERT INTO texts VALUES (?, ?, ?, ?)", ((*key, text) for key, text in texts)
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

    def _match(self, expression: str, video_id: str | None) -> dict[Key, float]:
        only = "" if video_id is None else " AND video_id = ?"
        found = self._database.execute(
            f"SELECT video_id, level, item, bm25(texts) FROM texts WHERE texts MATCH ?{only}",
            (expression,) if video_id is None else (expression, video_id),
        )
        # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
        return {(video, level, item): round(-score, 6) for video, level, item, score in found}
