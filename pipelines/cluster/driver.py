"""The driver of a build by workers: the only one that opens the library, and that writes to it.

It says which files are unchanged, hands the others to workers, one file each, and makes their
writes again in the library as they come, some to a transaction. So a killed driver loses what
workers had not sent, and the same command goes on from there; results are those of the plain build,
row by row.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from fdvs.configfile import config_to_json
from fdvs.errors import ModelUnavailable, StoreError
from fdvs.media.files import Collected
from fdvs.pipelines.build.builder import Builder
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import Finished, Unchanged, VideoJob
from fdvs.pipelines.build.read import is_new, look_at
from fdvs.pipelines.cluster.connection import RayConnection
from fdvs.pipelines.cluster.pool import Lost, Pool, Received
from fdvs.pipelines.cluster.records import Record, Row, Task, Write, check_write
from fdvs.pipelines.cluster.work import Work
from fdvs.pipelines.cluster.worker import Worker
from fdvs.report import BuildEvent, BuildReport, Watcher
from fdvs.store.store import NewArtifact, Store

logger = logging.getLogger(__name__)


class RayBuilder(Builder):
    """A Builder whose files are built by workers. Lives for one build."""

    def __init__(
        self, store: Store, context: BuildContext, watch: Watcher, *, connection: RayConnection
    ) -> None:
        super().__init__(store, context, watch)
        self._connection = connection
        self._jobs: dict[Path, VideoJob] = {}
        self._twins: list[VideoJob] = []

    def run(self, collected: Collected, *, prune: Sequence[Path] = ()) -> BuildReport:
        """Build every file, as `Builder.run`; rows are in the order of the files."""
        report = super().run(collected, prune=prune)
        place = {str(path): number for number, path in enumerate(collected.files)}
        return replace(report, rows=tuple(sorted(report.rows, key=lambda row: place[row.path])))

    def _build_all(self, files: Sequence[Path]) -> None:
        waiting = self._work(files)
        first = next(waiting, None)
        if first is not None:  # else there is nothing to do, and Ray is not started
            self._build_by_workers(chain([first], waiting), len(files))
        for job in self._twins:
            self._take(Unchanged(job))

    def _build_by_workers(self, waiting: Iterator[Work], num_files: int) -> None:
        is_ours = self._connection.connect()  # sets what Ray reads when it is imported
        import ray

        try:
            num_workers = min(self._connection.size(), num_files)
            pool = Pool(num_workers, self._starter())
            for found in pool.run(waiting):
                self._took(found)
            logger.info("workers: %s", pool.counts)
        finally:
            if is_ours:
                ray.shutdown()

    def _starter(self) -> Any:
        """Return a function that starts a worker. Settings and models travel once."""
        import ray

        made = ray.remote(
            num_cpus=self._connection.num_cpus_per_worker,
            num_gpus=self._connection.num_gpus_per_worker,
            max_restarts=0,
            max_task_retries=0,
        )(Worker)
        settings = config_to_json(self._context.config)
        own = ray.put(dict(self._context.models.own))
        return lambda: made.remote(settings, own, self._context.model_fingerprints)

    # -- what is to be done ----------------------------------------------------------------------

    def _work(self, files: Iterable[Path]) -> Iterator[Work]:
        """Yield the files that workers are needed for; the others are done here."""
        seen: set[str] = set()
        for number, path in enumerate(files, start=1):
            job = VideoJob(path, number=number)
            try:
                known = look_at(job, self._store, self._context, seen)
            except (StoreError, ModelUnavailable):
                raise
            except Exception as error:
                job.failed = job.failed or job.reason_of(error)
                self._take(Finished(job))
                continue
            if known == "twin":
                self._twins.append(job)
            elif known:
                self._take(Unchanged(job))
            else:
                if is_new(job, self._store):
                    self._context.models.try_captioner(on_server=True)
                self._jobs[path] = job
                # its name does not depend on which worker is the first to send something
                self._store.add_video(video_id=job.video_id, sha256=job.sha256, path=path)
                yield Work(path, partial(self._task, job), partial(self._committed, job))

    def _committed(self, job: VideoJob) -> tuple[int, int]:
        """Return the first clip of a file that is not committed, and how many clips it has."""
        clips = self._store.get(job.video_id, "clips")
        num_clips = len(clips.payload["clips"]) if clips else 0
        done = self._store.get_all(job.video_id, "chapter")
        return next((i for i in range(num_clips) if i not in done), num_clips), num_clips

    def _task(self, job: VideoJob, skipped: frozenset[int]) -> Task:
        """Return what a worker needs to know of a file: all that is stored of it, if anything."""
        store, video_id = self._store, job.video_id
        store.drop_damaged(video_id)
        stored = [
            NewArtifact(
                video_id=video_id, stage=stage, item=item, fingerprint=row.fingerprint,
                payload=row.payload, vectors=row.vectors,
            )
            for stage in store.stages(video_id)
            for item, row in store.get_all(video_id, stage).items()
        ]  # fmt: skip
        folder = store.thumbnail_path(video_id, 0).parent
        paths = {int(p.stem): p for p in folder.glob("*.jpg") if p.stem.isdigit()}
        return Task(
            path=job.path,
            video_id=video_id,
            sha256=job.sha256,
            size_bytes=job.size_bytes,
            mtime_ns=job.mtime_ns,
            stored=tuple(stored),
            thumbnails={clip: path.read_bytes() for clip, path in paths.items()},
            skipped=skipped,
        )

    # -- what workers sent -----------------------------------------------------------------------

    def _took(self, found: Received | Lost) -> None:
        job = self._jobs[found.work.path]
        if isinstance(found, Lost):
            job.failed = found.reason
            self._take(Finished(job))
            return
        writes = [record for record in found.records if isinstance(record, Write)]
        for write in writes:
            check_write(write, found.task)
        with self._store.writing():
            for write in writes:
                getattr(self._store, write.method)(**write.arguments)
        for record in found.records:
            if not isinstance(record, Write):
                self._tell(record, job)

    def _tell(self, record: Record, job: VideoJob) -> None:
        """Pass on an event; those that count files are counted here."""
        if isinstance(record, Row):
            self._num_done += 1
            self._num_bugs += record.num_bugs
            probe = self._store.get(job.video_id, "probe")
            has_audio = bool(probe and probe.payload["has_audio"])
            self._keep_row(record.row, has_audio=has_audio)
            is_failed = record.row.status == "failed"
            self._send("failed" if is_failed else "done_video", job, record.row.reason)
        elif isinstance(record, BuildEvent) and record.kind in ("clip", "track"):
            self._watch(replace(record, number=job.number))
        elif isinstance(record, BuildEvent) and record.kind == "video":
            self._send("video", job)
