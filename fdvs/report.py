"""Reports of a build: events while it runs, then one row per file and the totals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Literal

from fdvs.types import Saved

RowStatus = Literal["built", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRow:
    """The outcome of one file of a build; `reason` says in one line why it failed.

    `seconds` is the wall time from opening the file to its last commit; files overlap, so rows add
    up to more than the build took. `gop` describes its keyframes. `found` counts what each source
    found (speech: sentences, subtitles: lines, ...). `warnings` are notes for people, `missing` the
    models that failed on a part of the file: the next build asks them again.
    """

    path: str
    name: str
    video_id: str | None
    status: RowStatus
    reason: str = ""
    warnings: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    duration_s: float | None = None
    num_clips: int = 0
    num_clips_computed: int = 0
    seconds: float = 0.0
    gop: str = ""
    saved: Saved | None = None
    found: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """A whole build. `num_ignored` counts files without a video or audio suffix.

    `num_bugs` counts errors that no part of the program expects; their tracebacks are in the log.
    `rules`: the redundancy rule of "frames" and of "chapters", in words.
    """

    rows: tuple[BuildRow, ...]
    num_ignored: int
    seconds: float
    backends: dict[str, str]
    saved: Saved
    notes: tuple[str, ...] = ()
    num_bugs: int = 0
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        return sum(row.status == "failed" for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0: all done; 1: a file or a part of one failed, or nothing to build; 70: a bug."""
        if self.num_bugs:
            return 70
        is_whole = self.rows and not any(row.status == "failed" or row.missing for row in self.rows)
        return 0 if is_whole else 1


def total(parts: Iterable[Saved]) -> Saved:
    """Return the sums over videos."""
    parts = list(parts)
    sums = {f.name: sum(getattr(p, f.name) for p in parts) for f in fields(Saved)}
    return Saved(**sums)


EventKind = Literal[
    "start", "waiting", "loading", "loaded", "video", "track", "clip", "done_video", "failed"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEvent:
    """One step of a running build. `done` of `total` counts clips (kind clip), seconds that the
    source `text` has read (kind track), else videos.

    `number` is the file's place in the build, from 1 on; `at_s` of `length_s` is how far the stage
    at work has come in it (kinds clip and track). `size_bytes` is the file's, at the start that of
    all files. Kinds loading and loaded name a model.
    """

    kind: EventKind
    name: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    number: int = 0
    at_s: float = 0.0
    length_s: float = 0.0
    size_bytes: int = 0


Watcher = Callable[[BuildEvent], None]


def ignore_event(event: BuildEvent) -> None:
    """Watch a build without showing anything."""


def one_at_a_time(watch: Watcher) -> Watcher:
    """Return a watcher that several threads may call: it passes events on one by one."""
    lock = threading.RLock()

    def locked(event: BuildEvent) -> None:
        with lock:
            watch(event)

    return locked
