"""The rows of a library's list: one per file that a build was given."""

from __future__ import annotations

import logging

from fdvs.errors import CorruptLibrary
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
