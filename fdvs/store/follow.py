"""What people see of videos follows the files: their names, and whether they are still there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from fdvs.store.sources import NO_SOURCE, path_bytes, stored_path
from fdvs.store.videos import candidate_names, unique_name


def follow_files(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Rename each video whose name is not one for the file that holds it; return (old, new)."""
    rows = connection.execute("SELECT video_id, name, path FROM videos ORDER BY name").fetchall()
    wrong = [row for row in rows if not _is_name_of(*row)]
    taken = {name for _, name, _ in rows} - {name for _, name, _ in wrong}
    renamed = []
    for video_id, name, path in wrong:
        new = unique_name(stored_path(path), video_id, is_taken=taken.__contains__)
        taken.add(new)
        renamed.append((video_id, name, new))
    for video_id, _, _ in renamed:  # two films may have swapped their names
        connection.execute("UPDATE videos SET name = video_id WHERE video_id = ?", (video_id,))
    for video_id, _, new in renamed:
        connection.execute("UPDATE videos SET name = ? WHERE video_id = ?", (new, video_id))
    return [(old, new) for _, old, new in renamed]


def _is_name_of(video_id: str, name: str, path: bytes) -> bool:
    return name in candidate_names(stored_path(path), video_id)


def forget_gone(connection: sqlite3.Connection, roots: Iterable[Path]) -> list[str]:
    """Delete what is known of files below `roots` that are gone; return the names of the videos
    that no file holds any more, which are deleted with all their results."""
    for path in _gone(connection, [path_bytes(root) for root in roots]):
        connection.execute("DELETE FROM sources WHERE path = ?", (path,))
    unheld = connection.execute(
        f"SELECT video_id, name, path FROM videos WHERE {NO_SOURCE}"
    ).fetchall()
    gone = [(video_id, name) for video_id, name, path in unheld if not os.path.lexists(path)]
    connection.executemany("DELETE FROM videos WHERE video_id = ?", [(one,) for one, _ in gone])
    return sorted(name for _, name in gone)


def _gone(connection: sqlite3.Connection, roots: list[bytes]) -> Iterator[bytes]:
    """Yield the stored paths at or below `roots` where there is no file."""
    for (path,) in connection.execute("SELECT path FROM sources ORDER BY path").fetchall():
        is_below = any(path == root or path.startswith(root.rstrip(b"/") + b"/") for root in roots)
        if is_below and not os.path.lexists(path):
            yield path
