"""Whether the library's indexes hold what its tables hold; where not, they are made again.

SQLite finds rows by an index and does not notice that it is damaged: a row is then not found, and
stored a second time.
"""

from __future__ import annotations

import sqlite3

_KEY = "video_id, stage, item, artifact_id"
_OF_TABLE = f"SELECT {_KEY} FROM artifacts NOT INDEXED"
_OF_INDEX = f"SELECT {_KEY} FROM artifacts INDEXED BY sqlite_autoindex_artifacts_1"
_OUT_OF_ORDER = (
    "SELECT 1 FROM (SELECT artifact_id, lag(artifact_id) OVER () AS former"
    " FROM artifacts NOT INDEXED) WHERE former >= artifact_id LIMIT 1"
)
_SMALL = ("meta", "videos", "sources")


def mend_indexes(connection: sqlite3.Connection) -> tuple[int, list[str]]:
    """Make damaged indexes anew, in the caller's transaction.

    Of the results' table only the keys are read, not the content. Returns the number of tables that
    were mended, and the names of those that are damaged themselves. Raises sqlite3.DatabaseError.
    """
    damaged = [table for table in _SMALL if _is_damaged(connection, table)]
    differences = f"{_OF_TABLE} EXCEPT {_OF_INDEX}", f"{_OF_INDEX} EXCEPT {_OF_TABLE}"
    if any(connection.execute(f"{query} LIMIT 1").fetchone() for query in differences):
        damaged.append("artifacts")
    if connection.execute(_OUT_OF_ORDER).fetchone():
        return 0, ["artifacts"]
    for table in damaged:
        connection.execute(f"REINDEX {table}")
    broken = [table for table in damaged if table in _SMALL and _is_damaged(connection, table)]
    return len(damaged) - len(broken), broken


def _is_damaged(connection: sqlite3.Connection, table: str) -> bool:
    """Whether a table and its indexes disagree; a wrong value in a row is not their matter."""
    found = connection.execute(f"PRAGMA integrity_check({table})").fetchall()
    return any(row[0] != "ok" and not row[0].startswith("CHECK constraint") for row in found)
