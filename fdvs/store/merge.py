"""Unite libraries: the videos of one are copied into another, each whole or not at all.

A video is known by its content, so a merge that is interrupted goes on where it stopped, and the
same content is stored once. What is copied is checked as if it were a stranger's: rows against
their digests, ids against hashes, pictures against their form. Names are given anew, after files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from fdvs.files import read_regular
from fdvs.store.artifacts import COLUMNS, is_sound, seal_of
from fdvs.store.sources import SourceRow, path_bytes, write_source
from fdvs.store.store import Store, VideoRecord
from fdvs.store.videos import video_id_from, write_video

DONE = "done"  # the stage that is stored last, with the seal of all others
MAX_THUMBNAIL_BYTES = 2**24
_PLACE = f"video_id, stage, {COLUMNS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergedVideo:
    """What became of one video: `how` is added, completed, known or left out, with the reason."""

    name: str
    how: str
    reason: str = ""


def merge_videos(target: Store, source: Store) -> Iterator[MergedVideo]:
    """Copy the videos of `source` into `target`, in the order of their files; yield each one.

    A video that both hold is taken from `source` only where that one is finished and the other is
    not. Needs the build lock of `target`. Raises StoreError.
    """
    files: dict[str, list[SourceRow]] = {}
    for row in source.sources():
        files.setdefault(row.video_id or "", []).append(row)
    for record in sorted(source.videos(), key=lambda one: path_bytes(one.path)):
        yield _merge(target, source, record, files.get(record.video_id, []))


def _merge(
    target: Store, source: Store, record: VideoRecord, files: list[SourceRow]
) -> MergedVideo:
    reason = _objection(target, record, files)
    if reason:
        return MergedVideo(name=record.name, how="left out", reason=reason)
    was_known = target.sha256_of(record.video_id) is not None
    takes = not was_known or (
        target.get(record.video_id, DONE) is None and _is_finished(source, record.video_id)
    )
    if takes:
        _copy_thumbnails(target, source, record.video_id)
    with target.writing() as connection:
        name = write_video(
            connection, video_id=record.video_id, sha256=record.sha256, path=record.path
        ).name
        num_damaged = _copy_results(connection, source, record.video_id) if takes else 0
        for row in files:
            write_source(connection, row)
    how = ("completed" if was_known else "added") if takes else "known"
    reason = f"{num_damaged} damaged results are made again by the next build"
    return MergedVideo(name=name, how=how, reason=reason if num_damaged else "")


def _objection(target: Store, record: VideoRecord, files: list[SourceRow]) -> str:
    """Return why a video cannot be taken, "" if it can."""
    try:
        is_named_by_content = video_id_from(record.sha256) == record.video_id
    except ValueError:
        is_named_by_content = False
    if not is_named_by_content:
        return "its id is not that of its content; build it again there: fdvs build PATH"
    if not files:
        return "no file holds it any more; build it again there: fdvs build PATH"
    with target.reading() as connection:
        for path in {path_bytes(record.path), *(path_bytes(row.path) for row in files)}:
            found = connection.execute(
                "SELECT video_id FROM sources WHERE path = ? AND video_id IS NOT NULL", (path,)
            ).fetchone()
            if found is not None and found[0] != record.video_id:
                return (
                    f"another film is known at its path {record.path}; "
                    "build one of them from a folder of another name"
                )
    return ""


def _is_finished(source: Store, video_id: str) -> bool:
    done = source.get(video_id, DONE)
    return done is not None and done.payload.get("seal") == source.seal(video_id)


def _copy_results(connection: sqlite3.Connection, source: Store, video_id: str) -> int:
    """Replace a video's results by those of another library; return how many were damaged."""
    connection.execute("DELETE FROM artifacts WHERE video_id = ?", (video_id,))
    marks = ", ".join("?" * len(_PLACE.split(", ")))
    num_damaged = 0
    with source.reading() as rows:
        wanted_seal = seal_of(rows, video_id)
        for _, stage, *columns in rows.execute(
            f"SELECT {_PLACE} FROM artifacts WHERE video_id = ? ORDER BY stage, item", (video_id,)
        ):
            if isinstance(stage, str) and is_sound(*columns):
                connection.execute(
                    f"INSERT INTO artifacts ({_PLACE}) VALUES ({marks})",
                    (video_id, stage, *columns),
                )
            else:
                num_damaged += 1
    if num_damaged or seal_of(connection, video_id) != wanted_seal:
        _forget_end(connection, video_id)
    return num_damaged


def _forget_end(connection: sqlite3.Connection, video_id: str) -> None:
    """Let the next build look at every result of a video."""
    connection.execute("DELETE FROM artifacts WHERE video_id = ? AND stage = ?", (video_id, DONE))


def _copy_thumbnails(target: Store, source: Store, video_id: str) -> None:
    """Copy the pictures of a video's clips; one that is no JPEG is made again by a build."""
    for old in sorted(source.thumbnail_path(video_id, 0).parent.glob("*.jpg")):
        if not old.stem.isdigit():
            continue
        try:
            jpeg = read_regular(old, max_bytes=MAX_THUMBNAIL_BYTES)
        except OSError:
            continue
        if jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9":
            target.put_thumbnail(video_id, int(old.stem), jpeg)
