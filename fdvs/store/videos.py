"""The videos of a library: identified by the hash of their content, named for people.

A name is the file's, readable, free of control characters, and unique in the library.
"""

from __future__ import annotations

import difflib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import NotFound, StoreError
from fdvs.store.sources import path_bytes, stored_path
from fdvs.text.clean import show_text
from fdvs.text.timecode import cited_name

NUM_ID_CHARS = 16
MIN_PREFIX_CHARS = 4
COLUMNS = "video_id, sha256, name, path"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRecord:
    """A video of the library. `path` is where its content was last seen."""

    video_id: str
    sha256: str
    name: str
    path: Path


def video_id_from(sha256: str) -> str:
    """Return the id of a video: the first 16 of the 64 hex characters of its content's SHA-256."""
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"sha256 is {sha256!r}; need 64 lower-case hex characters")
    return sha256[:NUM_ID_CHARS]


def _record(row: tuple[str, str, str, bytes]) -> VideoRecord:
    return VideoRecord(video_id=row[0], sha256=row[1], name=row[2], path=stored_path(row[3]))


def show_name(name: str | bytes) -> str:
    r"""Return a file name for people: undecodable bytes as `\xNN`, without control characters.

    >>> show_name(b"caf\xe9\n.mp4")
    'caf\\xe9.mp4'
    """
    return show_text(os.fsdecode(name)).strip() or "video"


def candidate_names(path: Path, video_id: str) -> Iterator[str]:
    """Yield names for a video, the shortest first; the last ones add more and more of its id."""
    name = show_name(path.name)
    yield name
    if path.parent.name:
        yield f"{show_name(path.parent.name)}/{name}"
    for num_chars in (4, 8, len(video_id)):
        yield f"{name}~{video_id[:num_chars]}"


def unique_name(path: Path, video_id: str, *, is_taken: Callable[[str], bool]) -> str:
    """Return the first candidate that no other video has."""
    for name in candidate_names(path, video_id):
        if not is_taken(name):
            return name
    raise ValueError(f"every name for {path} is taken; video_id {video_id} is not unique")


def write_video(
    connection: sqlite3.Connection, *, video_id: str, sha256: str, path: Path
) -> VideoRecord:
    """Store a video, or return the stored one, whose name does not change.

    Raises StoreError if another content has the same id.
    """
    if video_id != video_id_from(sha256):
        raise ValueError(f"video_id {video_id!r} is not that of sha256 {sha256!r}")
    found = connection.execute(
        f"SELECT {COLUMNS} FROM videos WHERE video_id = ?", (video_id,)
    ).fetchone()
    if found is not None:
        if found[1] != sha256:
            raise StoreError(
                f"{path} and {stored_path(found[3])} have the same id {video_id} but different "
                "content; build one of them into another --library"
            )
        return _record(found)
    name = unique_name(path, video_id, is_taken=lambda name: _is_taken(connection, name))
    connection.execute(
        f"INSERT INTO videos ({COLUMNS}) VALUES (?, ?, ?, ?)",
        (video_id, sha256, name, path_bytes(path)),
    )
    return VideoRecord(
        video_id=video_id, sha256=sha256, name=name, path=stored_path(path_bytes(path))
    )


def _is_taken(connection: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM videos WHERE name = ?"
    return connection.execute(query, (name,)).fetchone() is not None


def read_videos(connection: sqlite3.Connection) -> list[VideoRecord]:
    """Return all videos in the order of their names."""
    rows = connection.execute(f"SELECT {COLUMNS} FROM videos ORDER BY name")
    return [_record(row) for row in rows]


def find_exactly(connection: sqlite3.Connection, name_or_id: str) -> VideoRecord | None:
    """Return the video of a whole name or id, by index; None if there is none."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM videos WHERE name = ? UNION ALL"
        f" SELECT {COLUMNS} FROM videos WHERE video_id = ?",
        (name_or_id, name_or_id),
    ).fetchone()
    return None if row is None else _record(row)


def pick_video(videos: list[VideoRecord], name_or_id: str) -> VideoRecord:
    """Return the video of a name (or as citations write it), an id or a unique beginning of an id
    (at least 4 characters)."""
    for video in videos:
        if name_or_id in (video.name, video.video_id):
            return video
    as_cited = [v for v in videos if cited_name(v.name) == name_or_id]
    if len(as_cited) == 1:
        return as_cited[0]
    start = name_or_id.lower()
    begins = [v for v in videos if v.video_id.startswith(start)]
    if len(start) >= MIN_PREFIX_CHARS and len(begins) == 1:
        return begins[0]
    if len(start) >= MIN_PREFIX_CHARS and begins:
        choices = ", ".join(f"{v.video_id} ({v.name})" for v in begins)
        raise NotFound(f"video {name_or_id!r} is ambiguous; give more of the id: {choices}")
    same_file = [v for v in videos if v.name.rpartition("/")[2] == name_or_id]
    names = [v.name for v in videos]
    near = [v.name for v in same_file] or difflib.get_close_matches(name_or_id, names, n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise NotFound(f"no video {name_or_id!r} among {len(videos)}.{hint} See: fdvs list")


def delete_video(connection: sqlite3.Connection, video_id: str) -> None:
    """Delete a video's rows (its artifacts go with it); raises NotFound."""
    if connection.execute("DELETE FROM videos WHERE video_id = ?", (video_id,)).rowcount == 0:
        raise NotFound(f"no video with id {video_id!r} in the library. See: fdvs list")
    connection.execute("DELETE FROM sources WHERE video_id = ?", (video_id,))


def rename(connection: sqlite3.Connection, video_id: str, name: str) -> None:
    """Change the name of a video to one that no other has."""
    connection.execute("UPDATE videos SET name = ? WHERE video_id = ?", (name, video_id))
