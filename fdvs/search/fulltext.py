"""Which texts of a library hold the words of a query: SQLite FTS5 with BM25.

The table lives in the library's own file, is checked before it is used (rows, and FTS5's own
integrity check) and rebuilt from the stored texts where it is missing, stale or damaged. Where it
cannot be rebuilt (another process builds, the disk is full or read-only) the same table is made
in memory, and a log line says so.

Words are compared by FTS5's `unicode61` (no case, no accents) and the English Porter stemmer.
Scripts without spaces between words (Chinese, Japanese) match whole runs only.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

from fdvs.errors import LibraryBusy, StoreError
from fdvs.fingerprint import canonical_json
from fdvs.store.schema import WORDS_DIGEST_KEY as DIGEST_KEY
from fdvs.store.schema import WORDS_TABLE as TABLE
from fdvs.store.schema import drop_words
from fdvs.store.store import Store
from fdvs.text.vocabulary import STOP_WORDS, TOKENIZER, WORD

log = logging.getLogger(__name__)

Key = tuple[str, str, int]  # video_id, level, item

MAX_QUERY_WORDS = 32
CREATE = (
    f"CREATE VIRTUAL TABLE {TABLE} USING fts5(video_id UNINDEXED, level UNINDEXED,"
    f" item UNINDEXED, text, tokenize = '{TOKENIZER}')"
)
INSERT = f"INSERT INTO {TABLE} (rowid, video_id, level, item, text) VALUES (?, ?, ?, ?, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRow:
    """One text and where it belongs."""

    key: Key
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WordHits:
    """Texts that hold at least one word of the query: key -> BM25, higher is better.

    `full` are those that hold every one of them.
    """

    scores: dict[Key, float]
    full: frozenset[Key]


def query_words(query: str) -> list[str]:
    """Return the words of a query to look for: each once, at most `MAX_QUERY_WORDS`.

    Stop words are left out unless there is nothing else.

    >>> query_words('the "red" car OR the car*')
    ['red', 'car']
    """
    words = list(dict.fromkeys(WORD.findall(query.lower())))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:MAX_QUERY_WORDS]


def match_expression(words: Sequence[str], *, joined_by: str) -> str:
    """Return an FTS5 expression; every word is quoted, so none can be an operator."""
    return f" {joined_by} ".join(f'"{word}"' for word in words)


def texts_digest(rows: Iterable[TextRow]) -> str:
    """Return the SHA-256 (hex) over keys and texts in their order."""
    sha = hashlib.sha256(TOKENIZER.encode())
    for row in rows:
        sha.update(canonical_json([*row.key, row.text]).encode())
        sha.update(b"\n")
    return sha.hexdigest()


class Words:
    """The word table of one set of texts; made by `open_words`. Used from the store's thread."""

    def __init__(self, rows: Sequence[TextRow], digest: str, store: Store | None) -> None:
        self._rows = rows
        self._digest = digest
        self._store = store
        self._memory: sqlite3.Connection | None = None

    @property
    def is_in_memory(self) -> bool:
        return self._store is None

    def search(self, query: str, *, video_id: str | None = None) -> WordHits:
        """Return what holds the query's words; nothing where the query has none."""
        words = query_words(query)
        if not words:
            return WordHits(scores={}, full=frozenset())
        with self._reading() as connection:
            every = _match(connection, match_expression(words, joined_by="AND"), video_id)
            some = _match(connection, match_expression(words, joined_by="OR"), video_id)
        return WordHits(scores=some, full=frozenset(every))

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Give the table in the file while it still holds our texts, else one in memory."""
        if self._store is not None:
            with self._store.reading() as connection:
                if _stored_digest(connection) == self._digest:
                    yield connection
                    return
            log.info("words: the library has changed since it was loaded; using a table in memory")
            self._store = None
        if self._memory is None:
            self._memory = sqlite3.connect(":memory:", isolation_level=None)
            _fill(self._memory, self._rows)
        yield self._memory


def open_words(store: Store, rows: Sequence[TextRow]) -> Words:
    """Return the word table of `rows`: the stored one if it is sound, a rebuilt one, or one in
    memory."""
    digest = texts_digest(rows)
    if store.is_read_only:
        log.info("words: the library is read-only; using a table in memory")
        return Words(rows, digest, None)
    try:
        if not _is_sound(store, digest):
            with _may_rebuild(store):
                _rebuild(store, rows, digest)
    except LibraryBusy as busy:
        log.info("words: the stored table is stale and %s; using a table in memory", busy)
        return Words(rows, digest, None)
    except StoreError as error:
        log.warning("words: the stored table cannot be used (%s); using one in memory", error)
        return Words(rows, digest, None)
    return Words(rows, digest, store)


def _may_rebuild(store: Store) -> AbstractContextManager[None]:
    """Keep builds away while the table is rewritten; LibraryBusy where one is at work."""
    return nullcontext() if store.holds_build_lock else store.build_lock(wait=False)


def _stored_digest(connection: sqlite3.Connection) -> str | None:
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (DIGEST_KEY,)).fetchone()
    return None if row is None else str(row[0]).strip('"')


def _is_sound(store: Store, digest: str) -> bool:
    """Return True where the note, the rows and the inverted index all say `digest`."""
    try:
        with store.reading() as connection:
            if _stored_digest(connection) != digest or texts_digest(_rows(connection)) != digest:
                return False
        with store.writing() as connection:
            # compares the inverted index with the rows; FTS5 takes the command as an insert
            connection.execute(f"INSERT INTO {TABLE} ({TABLE}) VALUES ('integrity-check')")
    except LibraryBusy:
        raise
    except StoreError as error:
        log.info("words: the stored table is damaged (%s)", error)
        return False
    return True


def _rows(connection: sqlite3.Connection) -> Iterator[TextRow]:
    for video_id, level, item, text in connection.execute(
        f"SELECT video_id, level, item, text FROM {TABLE} ORDER BY rowid"
    ):
        yield TextRow(key=(video_id, level, item), text=text)


def _rebuild(store: Store, rows: Sequence[TextRow], digest: str) -> None:
    with store.writing() as connection:
        drop_words(connection)
        _fill(connection, rows)
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)",
            (DIGEST_KEY, canonical_json(digest)),
        )
    log.info("words: rebuilt the table from %d texts", len(rows))


def _fill(connection: sqlite3.Connection, rows: Sequence[TextRow]) -> None:
    connection.execute(CREATE)
    connection.executemany(INSERT, ((i, *row.key, row.text) for i, row in enumerate(rows, 1)))


def _match(
    connection: sqlite3.Connection, expression: str, video_id: str | None
) -> dict[Key, float]:
    only = "" if video_id is None else " AND video_id = ?"
    found = connection.execute(
        f"SELECT video_id, level, item, bm25({TABLE}) FROM {TABLE} WHERE {TABLE} MATCH ?{only}",
        (expression,) if video_id is None else (expression, video_id),
    )
    # FTS5 gives better matches lower (negative) numbers; rounded, so that ties are ties
    return {(video, level, item): round(-score, 6) for video, level, item, score in found}
