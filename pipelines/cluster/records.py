"""What a worker sends: its writes, to be made again by the driver, events, and the file's row.

A worker builds one file into a library of its own; `RecordingStore` is that library and hands on
every write once it is on disk there. The driver checks each (`check_write`) before it makes the
same write in the real library, so that both hold equal rows. All writes may come twice.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.errors import BadModelOutput
from fdvs.report import BuildEvent, BuildRow
from fdvs.store.sources import SourceStatus
from fdvs.store.store import Artifact, NewArtifact, Store, VideoRecord

MAX_THUMBNAIL_BYTES = 4 << 20
MAX_VECTOR_BYTES = 256 << 20
MAX_STAGE_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One call of a `Store`, by its name and arguments."""

    method: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The last record of a file."""

    row: BuildRow
    num_bugs: int = 0


Record = Write | BuildEvent | Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A file to build, and what the library holds of it already.

    `stored` are its rows, `thumbnails` its pictures by clip; both empty for a new file. The
    pictures of the clips in `skipped` are not decoded, since those of one of them end workers.
    """

    path: Path
    video_id: str
    sha256: str
    size_bytes: int
    mtime_ns: int
    stored: tuple[NewArtifact, ...] = ()
    thumbnails: dict[int, bytes] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()


class RecordingStore(Store):
    """A library that also hands every write to `emit`, after it is on disk."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, is_read_only: bool) -> None:
        super().__init__(folder, connection, is_read_only=is_read_only)
        self.emit: Callable[[Record], None] = lambda record: None

    def _told(self, method: str, **arguments: Any) -> None:
        self.emit(Write(method=method, arguments=arguments))

    def add_video(self, *, video_id: str, sha256: str, path: Path) -> VideoRecord:
        record = super().add_video(video_id=video_id, sha256=sha256, path=path)
        self._told("add_video", video_id=video_id, sha256=sha256, path=path)
        return record

    def note_source(
        self,
        path: Path,
        *,
        size_bytes: int,
        mtime_ns: int,
        video_id: str | None,
        status: SourceStatus,
        reason: str = "",
    ) -> None:
        note: dict[str, Any] = {
            "path": path, "size_bytes": size_bytes, "mtime_ns": mtime_ns, "video_id": video_id,
            "status": status, "reason": reason,
        }  # fmt: skip
        super().note_source(**note)
        self._told("note_source", **note)

    def replace_former(self, path: Path, video_id: str) -> list[str]:
        former = super().replace_former(path, video_id)
        self._told("replace_former", path=path, video_id=video_id)
        return former

    def drop_damaged(self, video_id: str) -> None:
        super().drop_damaged(video_id)
        self._told("drop_damaged", video_id=video_id)

    def delete(self, video_id: str, stages: Iterable[str], *, item: int) -> None:
        names = tuple(stages)
        super().delete(video_id, names, item=item)
        self._told("delete", video_id=video_id, stages=names, item=item)

    def put_many(self, new: Iterable[NewArtifact]) -> list[Artifact]:
        rows = tuple(new)
        stored = super().put_many(rows)
        self._told("put_many", new=rows)
        return stored

    def trim(self, video_id: str, stage: str, *, keep_items: int) -> None:
        super().trim(video_id, stage, keep_items=keep_items)
        self._told("trim", video_id=video_id, stage=stage, keep_items=keep_items)

    def trim_thumbnails(
        self, video_id: str, *, keep_items: int, without: Container[int] = ()
    ) -> None:
        super().trim_thumbnails(video_id, keep_items=keep_items, without=without)
        self._told("trim_thumbnails", video_id=video_id, keep_items=keep_items, without=without)

    def put_thumbnail(self, video_id: str, clip_index: int, jpeg: bytes) -> Path:
        path = super().put_thumbnail(video_id, clip_index, jpeg)
        self._told("put_thumbnail", video_id=video_id, clip_index=clip_index, jpeg=jpeg)
        return path


METHODS = frozenset(
    "add_video note_source replace_former drop_damaged delete put_many trim trim_thumbnails"
    " put_thumbnail".split()
)


def check_write(write: Write, task: Task) -> None:
    """Raise BadModelOutput for a write that is none of a build of this file."""
    wrong = _wrong(write, task)
    if wrong:
        raise BadModelOutput(
            f"a worker sent {write.method!r} for {task.path.name} that cannot be stored: {wrong}; "
            "do all nodes run the same version of fdvs?"
        )


def _wrong(write: Write, task: Task) -> str:
    """Return what is wrong with a write, "" if nothing is."""
    given = write.arguments
    if write.method not in METHODS:
        return "no write of a build"
    if write.method == "note_source" and given["video_id"] is None:
        return "" if given["path"] == task.path else f"another file, {given['path']}"
    if write.method == "put_many":
        return next(filter(None, (_wrong_row(new, task) for new in given["new"])), "")
    if given["video_id"] != task.video_id:
        return f"another video, {given['video_id']}"
    if "path" in given and given["path"] != task.path:
        return f"another file, {given['path']}"
    if write.method == "put_thumbnail":
        return _wrong_thumbnail(given["jpeg"])
    return ""


def _wrong_row(new: NewArtifact, task: Task) -> str:
    if new.video_id != task.video_id:
        return f"a row of another video, {new.video_id}"
    if len(new.stage) > MAX_STAGE_CHARS or new.item < 0:
        return f"a row at {new.stage[:MAX_STAGE_CHARS]}[{new.item}]"
    if new.vectors is None:
        return ""
    if new.vectors.nbytes > MAX_VECTOR_BYTES or not np.isfinite(new.vectors).all():
        return f"vectors of {new.stage}[{new.item}] that are too large or not finite"
    return ""


def _wrong_thumbnail(jpeg: bytes) -> str:
    is_jpeg = jpeg[:2] == b"\xff\xd8" and jpeg[-2:] == b"\xff\xd9"
    if len(jpeg) > MAX_THUMBNAIL_BYTES or not is_jpeg:
        return f"{len(jpeg)} bytes that are no JPEG picture"
    return ""
