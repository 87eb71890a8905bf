"""A worker: builds one file at a time into a library of its own, and sends what it writes there.

The plain build runs unchanged, in a thread; a bounded queue holds it back while the driver is slow.
Models are loaded once and kept from file to file. Nothing of a worker outlives it but what was
sent: its library lies in a temporary folder that is deleted after each file.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdvs.configfile import config_from_json
from fdvs.errors import ModelUnavailable, StoreError
from fdvs.media.files import Collected
from fdvs.pipelines.build.builder import Builder
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.cluster.records import Record, RecordingStore, Row, Task
from fdvs.pipelines.model_set import ModelSet
from fdvs.store.lock import build_lock
from fdvs.store.store import Store
from fdvs.types import JsonDict

NUM_WAITING = 64  # records that a worker is ahead of the driver
MAX_IN_BATCH = 32  # records that travel, and are committed, together
PREFIX = "fdvs-worker-"
SETTLED_S = 60.0  # from making a folder to holding its lock, and more
_END = object()


class Worker:
    """Builds files with the settings of a library. Made in a process of its own by Ray."""

    def __init__(
        self, settings: JsonDict, own: Mapping[str, Any], fingerprints: Sequence[str]
    ) -> None:
        """`own` are the caller's models; `fingerprints` those that all models must have here.

        Raises ModelUnavailable where a model is missing on this machine, or is another one.
        """
        remove_leftovers(Path(tempfile.gettempdir()))
        self._config = config_from_json(settings)
        self._models = ModelSet(self._config, models=own)
        self._models.check()
        # kept from file to file, with what it has loaded late
        self._context = BuildContext(Path(), self._config, self._models)
        if self._context.model_fingerprints != list(fingerprints):
            raise ModelUnavailable(
                "a worker's models are not those of this machine; use the same version of fdvs and "
                "of the models on all of them: fdvs models fetch"
            )

    def place(self) -> str:
        """Return the id of the node that this worker runs on; answers once it is ready."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def build(self, task: Task) -> Iterator[list[Record]]:
        """Yield batches of records of one file, the last ends with its Row.

        Raises what ends a whole build: ModelUnavailable, StoreError.
        """
        records: queue.Queue[Any] = queue.Queue(maxsize=NUM_WAITING)
        thread = threading.Thread(target=self._run, args=(task, records), daemon=True)
        thread.start()
        is_over = False
        while not is_over:
            batch, is_over = _batch(records)
            if isinstance(is_over, BaseException):
                raise is_over
            if batch:
                yield batch
        thread.join()

    def _run(self, task: Task, records: queue.Queue[Any]) -> None:
        try:
            with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
                self._build(task, Path(folder), records)
            records.put(_END)
        except BaseException as error:
            records.put(error)

    def _build(self, task: Task, folder: Path, records: queue.Queue[Any]) -> None:
        with RecordingStore.open(folder, create=True) as store, store.build_lock():
            assert isinstance(store, RecordingStore)
            _give(store, task)
            store.emit = records.put
            self._context = replace(self._context, folder=folder, skipped=task.skipped)
            builder = Builder(store, self._context, records.put)
            report = builder.run(Collected(files=(task.path,), num_ignored=0))
            store.emit = lambda record: None
        records.put(Row(row=report.rows[0], num_bugs=report.num_bugs))


def remove_leftovers(place: Path) -> None:
    """Delete the folders of workers that were killed on this machine: nobody holds their lock."""
    for folder in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, StoreError):
            if time.time() - folder.stat().st_mtime > SETTLED_S:
                with build_lock(folder, wait=False):
                    shutil.rmtree(folder, ignore_errors=True)


def _give(store: Store, task: Task) -> None:
    """Write what the real library holds of a file: the build then goes on behind it."""
    store.add_video(video_id=task.video_id, sha256=task.sha256, path=task.path)
    store.note_source(
        task.path,
        size_bytes=task.size_bytes,
        mtime_ns=task.mtime_ns,
        video_id=task.video_id,
        status="partial",
    )
    store.put_many(task.stored)
    for clip, jpeg in task.thumbnails.items():
        store.put_thumbnail(task.video_id, clip, jpeg)


def _batch(records: queue.Queue[Any]) -> tuple[list[Record], Any]:
    """Wait for a record; return it with those behind it, and whether (or why) all is over."""
    batch: list[Record] = []
    record = records.get()
    while True:
        if record is _END:
            return batch, True
        if isinstance(record, BaseException):
            return batch, record
        batch.append(record)
        if len(batch) >= MAX_IN_BATCH:
            return batch, False
        try:
            record = records.get_nowait()
        except queue.Empty:
            return batch, False
