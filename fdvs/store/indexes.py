"""Whether the library's indexes hold what its tables hold; where not, they are made again.

SQLite finds rows by an index and does not notice that it is damaged: a row is then not found, and
stored a second time.
"""

from __future__ import annotations

import sqlite3

_KEY = "video_id, stage, item, artifact_id"
_OF_TABLE = f"SELECT {_KEY} FROM artifacts NOT INDEXED"
_OF_INDEX = f"SELECT {_KEY} FROM artifacts INDEXED BY sqlite_autoindex_artifacts_1"
_SMALL = ("meta", "videos", "sources")


def mend_indexes(connection: sqlite3.Connection) -> int:
    """Make the indexes of damaged ones anew, in the caller's transaction; return how many tables.

    Of the results' table only the keys are read, not the content. Raises sqlite3.DatabaseError
    where a table itself is damaged.
    """
    damaged = [table for table in _SMALL if _is_damaged(connection, table)]
    differences = f"{_OF_TABLE} EXCEPT {_OF_INDEX}", f"{_OF_INDEX} EXCEPT {_OF_TABLE}"
    if any(connection.execute(f"{query} LIMIT 1").fetchone() for query in differences):
        damaged.append("artifacts")
    for table in damaged:
        connection.execute(f"REINDEX {table}")
    return len(damaged)


def _is_damaged(connection: sqlite3.Connection, table: str) -> bool:
    found = connection.execute(f"PRAGMA integrity_check({table})").fetchone()
    return bool(found[0] != "ok")
