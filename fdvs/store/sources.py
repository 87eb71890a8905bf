"""The files that builds were given: one row per path, with the outcome.

Paths are stored as the system's bytes, because a name need not be UTF-8.
"""

from __future__ import annotations

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

NO_SOURCE = "NOT EXISTS (SELECT 1 FROM sources WHERE sources.video_id = videos.video_id)"

SourceStatus = Literal["ok", "failed", "partial"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One file; `video_id` is None if its content was never identified."""

    path: Path
    size_bytes: int
    mtime_ns: int
    video_id: str | None
    status: SourceStatus
    reason: str


def path_bytes(path: Path) -> bytes:
    """Return the path as stored: absolute, but not resolved, so that a link has its own row."""
    return os.fsencode(os.path.abspath(path))


def stored_path(stored: bytes) -> Path:
    return Path(os.fsdecode(stored))


def write_source(connection: sqlite3.Connection, row: SourceRow) -> None:
    """Write one row; rows of the same content whose file is gone (moved) are deleted."""
    path = path_bytes(row.path)
    connection.execute(
        "INSERT OR REPLACE INTO sources (path, size_bytes, mtime_ns, video_id, status, reason)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (path, row.size_bytes, row.mtime_ns, row.video_id, row.status, row.reason),
    )
    if row.video_id is None:
        return
    others = connection.execute(
        "SELECT path FROM sources WHERE video_id = ? AND path != ?", (row.video_id, path)
    ).fetchall()
    for (other,) in others:
        if not os.path.lexists(other):
            connection.execute("DELETE FROM sources WHERE path = ?", (other,))
    _follow_move(connection, row.video_id, path)


def is_noted(connection: sqlite3.Connection, row: SourceRow) -> bool:
    """Whether a row is stored as it is and is its video's only one: writing it changes nothing."""
    found = connection.execute(
        "SELECT 1 FROM sources JOIN videos USING (video_id) WHERE sources.path = ?"
        " AND videos.path = sources.path AND size_bytes = ? AND mtime_ns = ? AND video_id = ?"
        " AND status = ? AND reason = ? AND NOT EXISTS (SELECT 1 FROM sources AS other"
        " WHERE other.video_id = sources.video_id AND other.path != sources.path)",
        (
            path_bytes(row.path),
            row.size_bytes,
            row.mtime_ns,
            row.video_id,
            row.status,
            row.reason,
        ),
    )
    return found.fetchone() is not None


def _follow_move(connection: sqlite3.Connection, video_id: str, path: bytes) -> None:
    """Update the path of a video whose file was moved; its name stays."""
    found = connection.execute("SELECT path FROM videos WHERE video_id = ?", (video_id,)).fetchone()
    if found is not None and not os.path.lexists(found[0]):
        connection.execute("UPDATE videos SET path = ? WHERE video_id = ?", (path, video_id))


def read_sources(connection: sqlite3.Connection) -> list[SourceRow]:
    """Return every row, ordered by the path's bytes."""
    rows = connection.execute(
        "SELECT path, size_bytes, mtime_ns, video_id, status, reason FROM sources ORDER BY path"
    )
    return [
        SourceRow(
            path=stored_path(path),
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            video_id=video_id,
            status=status,
            reason=reason,
        )
        for path, size_bytes, mtime_ns, video_id, status, reason in rows
    ]


def find_known(
    connection: sqlite3.Connection, path: Path, *, size_bytes: int, mtime_ns: int
) -> str | None:
    """Return the video of a file that has not changed since it was hashed, or None."""
    row = connection.execute(
        "SELECT video_id FROM sources WHERE path = ? AND size_bytes = ? AND mtime_ns = ?",
        (path_bytes(path), size_bytes, mtime_ns),
    ).fetchone()
    return None if row is None else row[0]


def mend_places(connection: sqlite3.Connection) -> int:
    """Repair rows of files and videos that contradict each other; return how many were changed.

    A video whose id is not that of its content is deleted, and so is a file's row with an unknown
    status: this build makes both again. A video's path becomes one where its content was seen.
    """
    # An index that libraries of earlier versions lack; these versions keep it up to date, too.
    connection.execute("CREATE INDEX IF NOT EXISTS videos_by_path ON videos (path)")
    held = "EXISTS (SELECT 1 FROM sources WHERE sources.video_id = videos.video_id"
    statements = (
        "DELETE FROM videos WHERE video_id != substr(sha256, 1, length(video_id))"
        " OR length(sha256) != 64 OR sha256 GLOB '*[^0-9a-f]*'",
        "DELETE FROM sources WHERE status NOT IN ('ok', 'failed', 'partial')",
        "UPDATE videos SET path = (SELECT min(path) FROM sources WHERE sources.video_id ="
        f" videos.video_id) WHERE {held}) AND NOT {held} AND sources.path = videos.path)",
    )
    return sum(connection.execute(statement).rowcount for statement in statements)


def find_former(connection: sqlite3.Connection, path: Path, video_id: str) -> list[tuple[str, str]]:
    """Return (id, name) of the videos that a file held before `video_id` and no file holds now."""
    return connection.execute(
        f"SELECT video_id, name FROM videos WHERE path = ? AND video_id != ? AND {NO_SOURCE}"
        " ORDER BY length(name), name",
        (path_bytes(path), video_id),
    ).fetchall()


def find_unheld(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of videos that no file holds, except where the file's new content is not built
    yet: the former story stays until it is replaced."""
    rows = connection.execute(
        f"SELECT video_id FROM videos WHERE {NO_SOURCE} AND NOT EXISTS (SELECT 1 FROM sources"
        " WHERE sources.path = videos.path AND sources.status != 'ok')"
    )
    return [row[0] for row in rows]
