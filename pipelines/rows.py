"""The rows of a library's list: one per file that a build was given."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from fdvs.errors import CorruptLibrary, FileGone
from fdvs.store.store import Artifact, SourceRow, Store, VideoRecord
from fdvs.store.videos import show_name
from fdvs.types import VideoRow

logger = logging.getLogger(__name__)


def row_of(store: Store, source: SourceRow, record: VideoRecord | None) -> VideoRow:
    """Return the row of a file."""
    video_id = record.video_id if record else ""
    probe = intact(store, video_id, "probe")
    saved = intact(store, video_id, "saved")
    is_missing = bool(video_id) and source.status != "failed" and not source.path.exists()
    return VideoRow(
        name=record.name if record else show_name(source.path.name),
        video_id=video_id or None,
        path=str(source.path),
        status="missing" if is_missing else source.status,
        reason=source.reason,
        duration_s=probe.payload["duration_s"] if probe else None,
        num_clips=saved.payload["num_clips"] if saved else 0,
        num_chapters=saved.payload["num_chapters_kept"] if saved else 0,
        notes=_notes(store, video_id, source),
    )


def _notes(store: Store, video_id: str, source: SourceRow) -> tuple[str, ...]:
    noted = intact(store, video_id, "notes")
    if noted is not None:
        return tuple(noted.payload["notes"])
    return (source.reason,) if source.status == "ok" and source.reason else ()


def intact(store: Store, video_id: str, stage: str) -> Artifact | None:
    """Return a stored result; a damaged one counts as missing, so that the list is still shown."""
    try:
        return store.get(video_id, stage)
    except CorruptLibrary as error:
        logger.warning("%s; the next build makes it again", error)
        return None


def row_without_file(store: Store, record: VideoRecord) -> VideoRow:
    """Return the row of a video of which no file is known."""
    source = SourceRow(
        path=record.path,
        size_bytes=0,
        mtime_ns=0,
        video_id=record.video_id,
        status="ok",
        reason="no file of the library holds it any more",
    )
    return row_of(store, source, record)


def file_of(store: Store, record: VideoRecord) -> Path:
    """Return the file that a video was built from. Raises FileGone for one that was written since.

    A file of which a repaired library knows neither size nor time counts as the same.
    """
    from fdvs.pipelines.build.items import stored_mtime_ns

    if record.path.is_file():
        status = os.stat(record.path)
        seen = {"size_bytes": status.st_size, "mtime_ns": stored_mtime_ns(status)}
        known = store.known_video(record.path, **seen)
        if known == record.video_id or all(one.path != record.path for one in store.sources()):
            return record.path
    raise FileGone(f"the file of {record.name} is gone or was written since; build it again")
