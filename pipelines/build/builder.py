"""Build: files in, stories in the library. Reading, embedding and every source work in threads of
their own; this thread commits, clip by clip, so that a killed build loses only those in flight.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from fdvs.errors import CorruptLibrary, ModelError, ModelUnavailable, StoreError
from fdvs.media.files import Collected
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.finish import Finisher
from fdvs.pipelines.build.found import found_in
from fdvs.pipelines.build.hear import track_event
from fdvs.pipelines.build.items import (
    CHANGED,
    ClipTask,
    Finished,
    Item,
    Opened,
    Stretch,
    Told,
    Unchanged,
    VideoJob,
)
from fdvs.pipelines.build.overlap import overlapped
from fdvs.redundancy.rules import rule_label
from fdvs.report import (
    BuildEvent,
    BuildReport,
    BuildRow,
    EventKind,
    RowStatus,
    Watcher,
    one_at_a_time,
    total,
)
from fdvs.store.sources import SourceStatus
from fdvs.store.store import Store
from fdvs.text.counts import counted_of
from fdvs.text.timecode import end_code
from fdvs.types import Saved

logger = logging.getLogger(__name__)

REGULAR = "regular"  # the word of GopStatistics.describe


class BuildEngine(Protocol):
    """Makes what builds a library otherwise than in this process."""

    def builder(self, store: Store, context: BuildContext, watch: Watcher) -> Builder:
        """Return a Builder for one build."""
        ...


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it becomes a failed row when it is read
        return 0


def _forgotten(name: str) -> str:
    return f"{name} is forgotten: its file is gone"


class Builder:
    """Consumes the overlapped stages and commits their results. Lives for one build."""

    def __init__(self, store: Store, context: BuildContext, watch: Watcher) -> None:
        self._store = store
        self._context = context
        self._watch = context.watch = one_at_a_time(watch)
        self._rows: list[BuildRow] = []
        self._by_video: dict[str, BuildRow] = {}
        self._reasons: dict[str, str] | None = None
        self._num_done = 0
        self._num_bugs = 0
        self._num_unheard = 0
        self._num_files = 0

    def run(self, collected: Collected, *, prune: Sequence[Path] = ()) -> BuildReport:
        """Build every file; a bad one becomes a failed row with its reason.

        Videos whose files lay below the folders `prune` and are gone are forgotten.
        """
        started_s = time.monotonic()
        self._num_files = len(collected.files)
        size_bytes = sum(map(_size_bytes, collected.files))
        self._watch(BuildEvent(kind="start", total=self._num_files, size_bytes=size_bytes))
        self._store.mend()
        self._build_all(collected.files)
        forgotten = self._store.forget_gone(prune) if prune else []
        self._store.collect_garbage()
        config = self._context.config
        return BuildReport(
            rows=tuple(self._rows),
            num_ignored=collected.num_ignored,
            seconds=round(time.monotonic() - started_s, 2),
            backends=self._context.models.backends(),
            saved=total(row.saved for row in self._unique_rows() if row.saved is not None),
            notes=(*collected.notes, *self._notes(), *(_forgotten(name) for name in forgotten)),
            num_bugs=self._num_bugs,
            rules={"frames": rule_label(config.visual), "chapters": rule_label(config.textual)},
        )

    def _build_all(self, files: Sequence[Path]) -> None:
        items = overlapped(files, self._context)
        loads_told = self._context.models.loads_told(self._loading)
        with loads_told, closing(items):  # type: ignore[type-var]
            for item in items:
                self._take(item)

    def _loading(self, label: str, is_loaded: bool) -> None:
        self._watch(BuildEvent(kind="loaded" if is_loaded else "loading", text=label))

    def _notes(self) -> tuple[str, ...]:
        """Say where clips follow the encoder, not the content, and what nothing listens to."""
        good = [row for row in self._rows if row.status != "failed"]
        num_regular = sum(REGULAR in row.gop for row in good)
        notes = []
        if self._context.config.cut.method == "keyframes" and num_regular:
            regular = counted_of(num_regular, len(good), "video", "has", "have")
            notes.append(
                f"{regular} key frames at a fixed distance, so clips follow the encoder, "
                "not the content; cut.method: scenes cuts by content"
            )
        if self._num_unheard and not self._context.models.listens():
            notes.append(
                f"{counted_of(self._num_unheard, len(good), 'file', 'has', 'have')} sound, and "
                "nothing writes down what is said in it; add the source speech: --with speech"
            )
        return tuple(notes)

    def _unique_rows(self) -> list[BuildRow]:
        """Return one row per video: two files of the same content count once."""
        return list({row.video_id or row.path: row for row in self._rows}.values())

    def _take(self, item: Item) -> None:
        job = item.job
        if job.video_id and job.has_changed():
            # What was read may be of the new content, and would be stored under the old one's id.
            job.failed = CHANGED
        if job.failed == CHANGED:
            if isinstance(item, Finished | Unchanged):
                self._finish(job)
            return
        if isinstance(item, ClipTask):
            self._commit_clip(item)
        elif isinstance(item, Opened):
            self._commit_opened(item.job)
        elif isinstance(item, Stretch):
            self._commit_stretch(item)
        elif isinstance(item, Told):
            self._store.put_many(item.results)
        elif isinstance(item, Finished):
            self._finish(item.job)
        else:
            self._unchanged(item.job)

    def _commit_opened(self, job: VideoJob) -> None:
        with self._store.writing():
            self._store.add_video(video_id=job.video_id, sha256=job.sha256, path=job.path)
            self._note_source(job, "partial", "not finished yet")
            self._store.drop_damaged(job.video_id)
            self._store.put_many(job.results)
        self._send("video", job)

    def _commit_stretch(self, item: Stretch) -> None:
        """Commit what a source has read of a file so far."""
        self._store.put_many([item.result])
        kind = self._context.models.kind_of(item.source)
        self._watch(track_event(item.job, kind, item.end_s))

    def _commit_clip(self, task: ClipTask) -> None:
        """Commit the results of one clip, even of a video that failed later: no work is lost."""
        job = task.job
        if task.thumbnail is not None:
            self._store.put_thumbnail(job.video_id, task.clip.index, task.thumbnail)
        if task.results:
            self._store.put_many(task.results)
        done, num_clips = task.clip.index + 1, len(job.clips)
        self._watch(
            BuildEvent(
                kind="clip",
                name=job.path.name,
                text="pictures",
                done=done,
                total=num_clips,
                number=job.number,
                at_s=task.clip.end_s,
                length_s=job.clips[-1].end_s,
            )
        )

    def _finish(self, job: VideoJob) -> None:
        saved = None
        job.failed = job.failed or job.nothing_read()
        if not job.failed:
            job.note_failures()
            saved = self._finish_video(job)
        self._num_done += 1
        self._num_bugs += job.num_bugs
        if job.failed:
            self._failed(job)
        else:
            self._built(job, saved)

    def _finish_video(self, job: VideoJob) -> Saved | None:
        """Write the story; an error fails this video only, and becomes its reason."""
        try:
            return Finisher(job, self._store, self._context).run()
        except ModelUnavailable:
            raise
        except (ModelError, CorruptLibrary) as error:
            job.failed = f"story could not be written: {error}"
        except StoreError:
            raise
        except Exception as error:
            job.failed = job.reason_of(error)
        return None

    def _built(self, job: VideoJob, saved: Saved | None) -> None:
        status: SourceStatus = "partial" if job.failures else "ok"
        with self._store.writing():
            self._note_source(job, status, "; ".join(job.warnings))
            former = self._store.replace_former(job.path, job.video_id)
        if former:
            logger.info("%s has new content; its former content is removed", job.path.name)
        self._add_row(job, "built", saved)
        length_s = job.info.duration_s if job.info else 0.0
        took_s = time.monotonic() - job.started_s
        self._send("done_video", job, f"{end_code(length_s)} of film in {end_code(took_s)}")

    def _failed(self, job: VideoJob) -> None:
        job.failed = " ".join(job.failed.split())
        self._note_source(job, "failed", job.failed)
        self._add_row(job, "failed", None)
        self._send("failed", job, job.failed)

    def _unchanged(self, job: VideoJob) -> None:
        self._num_done += 1
        twin = self._by_video.get(job.video_id)
        if twin is not None and twin.status == "failed":
            job.failed = f"same content as {twin.name}: {twin.reason}"
            self._failed(job)
            return
        self._store.add_video(video_id=job.video_id, sha256=job.sha256, path=job.path)
        is_whole = twin is None or not twin.missing
        self._note_source(job, "ok" if is_whole else "partial", self._noted_reason(job))
        saved = self._store.get(job.video_id, "saved")
        self._add_row(job, "unchanged", Saved(**saved.payload) if saved else None)
        self._send("done_video", job, "unchanged")

    def _send(self, kind: EventKind, job: VideoJob, text: str = "") -> None:
        """Send the watcher an event that counts files."""
        self._watch(
            BuildEvent(
                kind=kind,
                name=job.path.name,
                text=text,
                done=self._num_done,
                total=self._num_files,
                number=job.number,
                length_s=job.info.duration_s if job.info else 0.0,
                size_bytes=job.size_bytes,
            )
        )

    def _noted_reason(self, job: VideoJob) -> str:
        """Return what was noted when this content was built: its warnings."""
        noted = self._store.get(job.video_id, "notes")
        if noted is not None:
            return "; ".join(noted.payload["notes"])
        if self._reasons is None:
            rows = [row for row in self._store.sources() if row.status == "ok"]
            self._reasons = {row.video_id or "": row.reason for row in rows}
        return self._reasons.get(job.video_id, "")

    def _note_source(self, job: VideoJob, status: SourceStatus, reason: str) -> None:
        is_video = job.info is not None or status == "ok"
        self._store.note_source(
            job.path,
            size_bytes=job.size_bytes,
            mtime_ns=job.mtime_ns,
            video_id=job.video_id if is_video else None,
            status=status,
            reason=reason,
        )

    def _add_row(self, job: VideoJob, status: RowStatus, saved: Saved | None) -> None:
        probe = self._store.get(job.video_id, "probe") if job.video_id else None
        row = BuildRow(
            path=str(job.path),
            name=job.path.name,
            video_id=job.video_id or None,
            status=status,
            reason=job.failed,
            warnings=tuple(job.warnings),
            missing=tuple(name.removeprefix("source:") for name in job.failures),
            duration_s=probe.payload["duration_s"] if probe else None,
            num_clips=saved.num_clips if saved else len(job.clips),
            num_clips_computed=job.num_clips_computed,
            seconds=round(time.monotonic() - job.started_s, 2) if status != "unchanged" else 0.0,
            gop=probe.payload["gop"] if probe else "",
            saved=saved,
            found=found_in(job.video_id, self._store, self._context) if saved else {},
        )
        self._keep_row(row, has_audio=bool(probe and probe.payload["has_audio"]))

    def _keep_row(self, row: BuildRow, *, has_audio: bool) -> None:
        self._rows.append(row)
        self._num_unheard += has_audio and row.status != "failed"
        if row.video_id:
            self._by_video.setdefault(row.video_id, row)
