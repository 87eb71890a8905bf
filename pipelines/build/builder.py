"""Build: files in, stories in the library. Reading, embedding and describing overlap in threads;
this thread commits, clip by clip, so that a killed build loses only the clips in flight.

Clips in flight are bounded: `NUM_AHEAD` waiting behind each of the three stages, plus one group
being embedded and one being described (`max_clips_in_flight`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.media.collect import Collected
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.events import BuildEvent, EventKind, Watcher
from fdvs.pipelines.build.finish import finish_video
from fdvs.pipelines.build.overlap import prefetch
from fdvs.pipelines.build.read import read_videos
from fdvs.pipelines.build.see_stage import describe_clips, embed_clips
from fdvs.pipelines.build.items import ClipTask, Finished, Item, Opened, Unchanged, VideoJob
from fdvs.redundancy.rules import rule_label
from fdvs.report import BuildReport, BuildRow, total
from fdvs.store.store import Store
from fdvs.types import Saved

logger = logging.getLogger(__name__)

NUM_AHEAD = 8
REGULAR = "regular"  # the word of GopStatistics.describe


def max_clips_in_flight(embed_batch: int, describe_batch: int) -> int:
    """Return how many clips a kill can cost at most: queues, groups, and one in each hand."""
    return 3 * NUM_AHEAD + embed_batch + describe_batch + 4


def overlapped(paths: Sequence[Path], context: BuildContext) -> Iterator[Item]:
    """Chain the three stages, each in a thread, each at most `NUM_AHEAD` items ahead."""
    items: Iterator[Item] = read_videos(paths, context)
    items = prefetch(items, num_ahead=NUM_AHEAD, name="fdvs-read")
    items = prefetch(embed_clips(items, context), num_ahead=NUM_AHEAD, name="fdvs-embed")
    return prefetch(describe_clips(items, context), num_ahead=NUM_AHEAD, name="fdvs-describe")


class Builder:
    """Consumes the overlapped stages and commits. Lives for one build."""

    def __init__(self, store: Store, context: BuildContext, watch: Watcher) -> None:
        self._store = store
        self._context = context
        self._watch = watch
        self._rows: list[BuildRow] = []
        self._by_video: dict[str, BuildRow] = {}
        self._reasons: dict[str, str] | None = None
        self._num_done = 0
        self._num_files = 0

    def run(self, collected: Collected) -> BuildReport:
        """Build every file; a bad one is a row with its reason."""
        started = time.monotonic()
        self._num_files = len(collected.files)
        self._watch(BuildEvent(kind="start", total=self._num_files))
        with closing(overlapped(collected.files, self._context)) as items:  # type: ignore[type-var]
            for item in items:
                self._take(item)
        return BuildReport(
            rows=tuple(self._rows),
            num_ignored=collected.num_ignored,
            seconds=round(time.monotonic() - started, 2),
            backends=self._context.models.backends(),
            saved=total(row.saved for row in self._unique_rows() if row.saved is not None),
            notes=self._notes(),
            rules={
                "frames": rule_label(self._context.config.visual),
                "chapters": rule_label(self._context.config.textual),
            },
        )

    def _notes(self) -> tuple[str, ...]:
        """Say where clips follow the encoder instead of the content."""
        good = [row for row in self._rows if row.status != "failed"]
        num_regular = sum(REGULAR in row.gop for row in good)
        if self._context.config.cut.method != "keyframes" or not num_regular:
            return ()
        return (
            f"{num_regular} of {len(good)} videos have key frames at a fixed distance, so their "
            "clips follow the encoder, not the content; cut.method: scenes cuts by content",
        )

    def _unique_rows(self) -> list[BuildRow]:
        """One row per video: two files of one content count once."""
        return list({row.video_id or row.path: row for row in self._rows}.values())

    def _take(self, item: Item) -> None:
        if isinstance(item, ClipTask):
            self._commit(item)
        elif isinstance(item, Opened):
            self._open(item.job)
        elif isinstance(item, Unchanged):
            self._unchanged(item.job)
        else:
            self._finish(item)

    def _open(self, job: VideoJob) -> None:
        job.replaces = self._store.replaced_by(job.path, job.video_id)
        record = self._store.add_video(video_id=job.video_id, sha256=job.sha256, path=job.path)
        self._note(job, "partial", "not finished yet")
        self._store.put_many(job.puts)
        self._say("video", record.name)

    def _commit(self, task: ClipTask) -> None:
        """Commit what one clip gave; of a video that failed later, too: work is never lost."""
        job = task.job
        if task.thumbnail is not None:
            self._store.put_thumbnail(job.video_id, task.clip.index, task.thumbnail)
        if task.puts:
            self._store.put_many(task.puts)
        name = job.path.name
        self._watch(
            BuildEvent(kind="clip", name=name, done=task.clip.index + 1, total=len(job.clips))
        )

    def _finish(self, item: Finished) -> None:
        job = item.job
        saved = None
        if not job.failed:
            try:
                saved = finish_video(job, self._store, self._context)
            except ModelUnavailable:
                raise
            except ModelError as error:
                job.failed = f"story could not be written: {error}"
        self._num_done += 1
        if job.failed:
            self._failed(job)
        else:
            self._done(job, saved)

    def _done(self, job: VideoJob, saved: Saved | None) -> None:
        self._note(job, "ok", "; ".join(job.warnings))
        if job.replaces:
            logger.info("%s has new content; what it held before is forgotten", job.path.name)
            self._store.replace_video(job.replaces, job.video_id)
        self._add(job, "built", saved)
        self._say("done_video", job.path.name)

    def _failed(self, job: VideoJob) -> None:
        job.failed = " ".join(job.failed.split())
        self._note(job, "failed", job.failed)
        self._add(job, "failed", None)
        self._say("failed", job.path.name, job.failed)

    def _unchanged(self, job: VideoJob) -> None:
        self._num_done += 1
        twin = self._by_video.get(job.video_id)
        if twin is not None and twin.status == "failed":
            job.failed = f"same content as {twin.name}: {twin.reason}"
            self._failed(job)
            return
        record = self._store.add_video(video_id=job.video_id, sha256=job.sha256, path=job.path)
        self._note(job, "ok", self._reason_of(job))
        saved = self._store.get(job.video_id, "saved")
        self._add(job, "unchanged", Saved(**saved.payload) if saved else None)
        self._say("done_video", record.name, "unchanged")

    def _say(self, kind: EventKind, name: str, text: str = "") -> None:
        """Tell the watcher how far the files are."""
        self._watch(
            BuildEvent(kind=kind, name=name, text=text, done=self._num_done, total=self._num_files)
        )

    def _reason_of(self, job: VideoJob) -> str:
        """Return what was noted when this content was built: its warnings."""
        if self._reasons is None:
            rows = [row for row in self._store.sources() if row.status == "ok"]
            self._reasons = {row.video_id or "": row.reason for row in rows}
        return self._reasons.get(job.video_id, "")

    def _note(self, job: VideoJob, status: str, reason: str) -> None:
        known = job.video_id if job.info is not None or status == "ok" else None
        self._store.note_source(
            job.path,
            size_bytes=job.size_bytes,
            mtime_ns=job.mtime_ns,
            video_id=known,
            status=status,  # type: ignore[arg-type]
            reason=reason,
        )

    def _add(self, job: VideoJob, status: str, saved: Saved | None) -> None:
        probe = self._store.get(job.video_id, "probe") if job.video_id else None
        row = BuildRow(
            path=str(job.path),
            name=job.path.name,
            video_id=job.video_id or None,
            status=status,  # type: ignore[arg-type]
            reason=job.failed,
            warnings=tuple(job.warnings),
            duration_s=probe.payload["duration_s"] if probe else None,
            num_clips=saved.num_clips if saved else len(job.clips),
            num_clips_computed=job.num_clips_computed,
            seconds=round(time.monotonic() - job.started, 2) if status != "unchanged" else 0.0,
            gop=probe.payload["gop"] if probe else "",
            saved=saved,
        )
        self._rows.append(row)
        if job.video_id:
            self._by_video.setdefault(job.video_id, row)
