"""Reports of a build: events while it runs, then one row per file and the totals."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Literal

from fdvs.types import Saved

RowStatus = Literal["built", "unchanged", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRow:
    """The outcome of one file of a build; `reason` says in one line why it failed.

    `seconds` is the wall time from opening the file to its last commit; files overlap, so rows add
    up to more than the build took. `gop` describes its keyframes.
    """

    path: str
    name: str
    video_id: str | None
    status: RowStatus
    reason: str = ""
    warnings: tuple[str, ...] = ()
    duration_s: float | None = None
    num_clips: int = 0
    num_clips_computed: int = 0
    seconds: float = 0.0
    gop: str = ""
    saved: Saved | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """A whole build. `num_ignored` counts files without a video or audio suffix.

    `rules`: the redundancy rule of "frames" and of "chapters", in words.
    """

    rows: tuple[BuildRow, ...]
    num_ignored: int
    seconds: float
    backends: dict[str, str]
    saved: Saved
    notes: tuple[str, ...] = ()
    rules: dict[str, str] = field(default_factory=dict)

    @property
    def num_failed(self) -> int:
        return sum(row.status == "failed" for row in self.rows)

    @property
    def exit_code(self) -> int:
        """0: all done; 1: some failed, or there was nothing to build."""
        return 1 if self.num_failed or not self.rows else 0


def total(parts: Iterable[Saved]) -> Saved:
    """Return the sums over videos."""
    parts = list(parts)
    sums = {f.name: sum(getattr(p, f.name) for p in parts) for f in fields(Saved)}
    return Saved(**sums)


EventKind = Literal["start", "video", "clip", "done_video", "failed", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEvent:
    """One step of a running build. `done` of `total` counts clips (kind clip), else videos."""

    kind: EventKind
    name: str = ""
    text: str = ""
    done: int = 0
    total: int = 0


Watcher = Callable[[BuildEvent], None]


def ignore_event(event: BuildEvent) -> None:
    """Watch a build without showing anything."""
