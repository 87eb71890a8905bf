"""Repair a damaged library file: what can still be read and is sound moves into a new one.

SQLite stops at the first damaged page of a table. Here a table is read from both ends, and rows of
results one by one around the hole. A row of results is kept if it matches its digest, a video if
its id is that of its content. What is lost is made again by the next build.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.errors import CorruptLibrary, LibraryMissing
from fdvs.store.artifacts import COLUMNS, is_sound
from fdvs.store.facts import sound_keys
from fdvs.store.lock import build_lock
from fdvs.store.schema import (
    APPLICATION_ID,
    DATABASE_NAME,
    SCHEMA,
    open_database,
    store_errors,
)
from fdvs.store.videos import video_id_from

MAX_SMALL_STEPS = 256  # rows behind a hole that are tried one by one, before steps double
MAX_ROW_ID = 1 << 50
STATUSES = ("ok", "failed", "partial")

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What a repair kept; `old_file` is the damaged file, which stays beside the new one."""

    old_file: Path
    num_videos: int
    num_files: int
    num_rows: int
    num_rows_dropped: int


def repair(folder: Path) -> Repaired:
    """Write a library anew from what is readable and sound in it; the old file is kept.

    Raises LibraryMissing, LibraryBusy while a build is at work, CorruptLibrary where the file is
    another program's, StoreError where the disk is full.
    """
    path = folder / DATABASE_NAME
    if not path.exists():
        raise LibraryMissing(f"no library in {folder}; nothing to repair")
    with build_lock(folder, wait=False), store_errors(folder):
        new = folder / f".{DATABASE_NAME}.repair.tmp"
        _delete(new)
        try:
            counts = _salvage(path, new)
            old_file = _put_in_place(path, new)
        finally:
            _delete(new)
    return Repaired(old_file=old_file, **counts)


def _delete(database: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)


def _salvage(old: Path, new: Path) -> dict[str, int]:
    """Copy what is sound; return the counts of Repaired."""
    source = open_database(old, "mode=ro")
    target = open_database(new, "rwc")
    try:
        _refuse_foreign(source, old)
        target.executescript(SCHEMA)
        target.execute("BEGIN")
        found = _both_ends(source, "meta", "key, value", "key")
        facts = {key: value for key, value in found if isinstance(value, str)}
        for key in sound_keys(facts):
            _insert(target, "meta", (key, facts[key]))
        for row in _both_ends(source, "videos", "video_id, sha256, name, path", "video_id"):
            if _is_video(row):
                _insert(target, "videos", row)
        columns = "path, size_bytes, mtime_ns, video_id, status, reason"
        for row in _both_ends(source, "sources", columns, "path"):
            if isinstance(row[0], bytes) and row[4] in STATUSES:
                _insert(target, "sources", row)
        num_dropped = _copy_results(source, target)
        target.execute("COMMIT")
        return {
            "num_videos": _count(target, "videos"),
            "num_files": _count(target, "sources"),
            "num_rows": _count(target, "artifacts"),
            "num_rows_dropped": num_dropped,
        }
    finally:
        source.close()
        target.close()


def _refuse_foreign(source: sqlite3.Connection, path: Path) -> None:
    """Raise CorruptLibrary for a file that has neither a library's mark nor its tables."""
    try:
        found = source.execute("PRAGMA application_id").fetchone()[0]
        tables = {row[0] for row in source.execute("SELECT name FROM sqlite_master")}
    except (sqlite3.DatabaseError, UnicodeDecodeError):  # so damaged that nobody can tell
        return
    if found not in (0, APPLICATION_ID) and not {"videos", "sources", "artifacts"} <= tables:
        raise CorruptLibrary(
            f"{path} is an SQLite file of another program (application id {found:#x}); it is left "
            "as it is"
        )


def _both_ends(source: sqlite3.Connection, table: str, columns: str, key: str) -> Iterator[Row]:
    """Yield the rows of a table from its first on, and, behind damage, from its last on."""
    for order in ("ASC", "DESC"):
        try:
            yield from source.execute(f"SELECT {columns} FROM {table} ORDER BY {key} {order}")
        except (sqlite3.Error, UnicodeDecodeError):
            continue
        return


def _copy_results(source: sqlite3.Connection, target: sqlite3.Connection) -> int:
    """Copy the results that match their digests; return how many were dropped."""
    num_dropped = 0
    videos = {row[0] for row in target.execute("SELECT video_id FROM videos")}
    for _, video_id, stage, *columns in _rows_by_id(source):
        if video_id in videos and is_sound(*columns):
            _insert(target, "artifacts", (None, video_id, stage, *columns))
        else:
            num_dropped += 1
    return num_dropped


def _rows_by_id(source: sqlite3.Connection) -> Iterator[Row]:
    """Yield rows of results by their ids, over every hole."""
    select = f"SELECT artifact_id, video_id, stage, {COLUMNS} FROM artifacts"
    last, step = 0, 0
    while last + step < MAX_ROW_ID:
        try:
            rows = source.execute(
                f"{select} WHERE artifact_id > ? ORDER BY artifact_id", (last + step,)
            )
            for row in rows:
                if not isinstance(row[0], int):  # the table's own description is damaged
                    return
                yield row
                last, step = row[0], 0
        except (sqlite3.Error, UnicodeDecodeError):
            step += 1 if step < MAX_SMALL_STEPS else step
            continue
        return


def _is_video(row: Row) -> bool:
    video_id, sha256, name, path = row
    if not (isinstance(sha256, str) and isinstance(name, str) and isinstance(path, bytes)):
        return False
    try:
        return bool(video_id == video_id_from(sha256))
    except ValueError:
        return False


def _insert(target: sqlite3.Connection, table: str, row: Row) -> None:
    marks = ", ".join("?" * len(row))
    target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)


def _count(target: sqlite3.Connection, table: str) -> int:
    return int(target.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _put_in_place(path: Path, new: Path) -> Path:
    """Replace the damaged file, which keeps a name of its own; return that."""
    number = 1
    while (kept := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    os.link(path, kept)
    log = path.with_name(path.name + "-wal")
    if log.exists():  # it belongs to the old file and would be played into the new one
        os.replace(log, kept.with_name(kept.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    os.replace(new, path)
    return kept
