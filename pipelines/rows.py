"""The library's list: every file ever given and what became of it."""

from __future__ import annotations

from fdvs.store.names import show_name
from fdvs.store.store import SourceRow, Store, VideoRecord
from fdvs.types import VideoRow


def video_rows(store: Store) -> list[VideoRow]:
    """Return one row per file, ordered by path; a failed one says why."""
    records = {record.video_id: record for record in store.videos()}
    return [_row(store, source, records.get(source.video_id or "")) for source in store.sources()]


def row_of(store: Store, record: VideoRecord) -> VideoRow:
    """Return a video's row; of several files the first, of none a row without a file of its own."""
    found = [row for row in video_rows(store) if row.video_id == record.video_id]
    if found:
        return found[0]
    gone = SourceRow(
        path=record.path,
        size_bytes=0,
        mtime_ns=0,
        video_id=record.video_id,
        status="ok",
        reason="its file was given no more",
    )
    return _row(store, gone, record)


def _row(store: Store, source: SourceRow, record: VideoRecord | None) -> VideoRow:
    video_id = record.video_id if record else ""
    probe = store.get(video_id, "probe") if video_id else None
    saved = store.get(video_id, "saved") if video_id else None
    return VideoRow(
        name=record.name if record else show_name(source.path.name),
        video_id=video_id or None,
        path=str(source.path),
        status=source.status,
        reason=source.reason,
        duration_s=probe.payload["duration_s"] if probe else None,
        num_clips=saved.payload["num_clips"] if saved else 0,
        num_chapters=saved.payload["num_chapters_kept"] if saved else 0,
    )
