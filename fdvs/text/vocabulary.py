"""Words of a text: how they are split, stemmed and compared, and which are stop words.

Shared by full-text search, BM25 and the checks of answers. Words are split and stemmed by SQLite's
FTS5 tokenizer: no case, no accents, the English Porter stemmer.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterable

TOKENIZER = "porter unicode61 remove_diacritics 2"
#: A word: letters and digits, without the underscore.
WORD = re.compile(r"[^\W_]+")
# Words of nearly every English sentence: a match of these alone means nothing.
STOP_WORDS = frozenset(
    """
a about all am an and any are as at be been being but by can could did do does for from had has
have he her him his how i if in into is it its me my no not of on or our s she so some t than
that the their them then there these they this those to up us was we were what when where which
who whom whose why will with would you your
""".split()
)

_OWN = threading.local()


def stems(texts: Iterable[str]) -> list[list[str]]:
    """Return the stems of each text's words in order, repeated ones too, without stop words."""
    rows = [(place, _telling(text)) for place, text in enumerate(texts, start=1)]
    found: list[list[str]] = [[] for _ in rows]
    database = _database()
    database.execute("BEGIN")
    try:
        database.executemany("INSERT INTO texts (rowid, text) VALUES (?, ?)", rows)
        for stem, place in database.execute("SELECT term, doc FROM found ORDER BY doc, offset"):
            found[place - 1].append(stem)
        return found
    finally:
        database.execute("ROLLBACK")


def _database() -> sqlite3.Connection:
    """Return this thread's empty table: to make one takes longer than to stem a sentence."""
    made: sqlite3.Connection | None = getattr(_OWN, "database", None)
    if made is None:
        made = sqlite3.connect(":memory:", isolation_level=None)
        made.execute(f"CREATE VIRTUAL TABLE texts USING fts5(text, tokenize = '{TOKENIZER}')")
        made.execute("CREATE VIRTUAL TABLE found USING fts5vocab(texts, 'instance')")
        _OWN.database = made
    return made


def _telling(text: str) -> str:
    return " ".join(word for word in WORD.findall(text.lower()) if word not in STOP_WORDS)


def same_words(text: str) -> str:
    """Return the words of a text, without case and punctuation, for comparison."""
    return " ".join(re.findall(r"\w+", text.casefold()))
