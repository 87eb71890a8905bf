"""Work items of a build: videos, their clips in order, and the markers between them."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.errors import FdvsError
from fdvs.protocols import Heard
from fdvs.store.coding import Coding
from fdvs.store.store import NewArtifact
from fdvs.text.clean import one_line
from fdvs.text.plain import clean_words
from fdvs.types import Clip, Frame, JsonDict, Observation, Vectors, VideoInfo

T = TypeVar("T")

_counting = threading.Lock()  # a describer may have several threads

logger = logging.getLogger(__name__)

PICTURES = "pictures"  # what fails where frames cannot be decoded
MAX_MTIME_NS = 2**63 - 1  # SQLite's largest number; a broken clock may write a later date
CHANGED = "the file was written while it was read; build it again when it is complete"
ENDS_PROCESS = "the pictures ended the process that decoded or described them"
MAX_IN_A_ROW = 3  # failures, before a model is not asked about the rest of a video

_counting = threading.Lock()


def stored_mtime_ns(stat: os.stat_result) -> int:
    """Return a file's time of change as the library stores it."""
    return min(stat.st_mtime_ns, MAX_MTIME_NS)


@dataclass(slots=True, eq=False)
class Track:
    """What a source has read of a whole file so far; `is_complete` where nothing is left."""

    fingerprint: str
    stretches: list[Heard] = field(default_factory=list)
    is_complete: bool = False

    @property
    def end_s(self) -> float:
        return self.stretches[-1].end_s if self.stretches else 0.0


@dataclass(slots=True)
class Failure:
    """Where a model failed in one video; `reason` is the first one's."""

    reason: str
    num: int = 0
    num_in_a_row: int = 0
    where: str = ""


@dataclass(slots=True, eq=False)
class VideoJob:
    """One file of a build.

    `failed` is the reason why nothing can be built of it; the stages then skip it. `failures` are
    the models that failed on parts of it: the rest is built, and those parts are asked for again
    by the next build. `warnings` are notes for people, in the order in which they came up.

    `without_pictures` are the indices of clips that have none, `lost_thumbnails` those whose
    thumbnail is to be made again.

    `beside` are digests of what a source reads besides the video, by source, and `sidecar_digest`
    covers them all. `tracks` are by source; `said` are a track's observations, clip by clip.
    `started_s` is on the monotonic clock, `number` the file's place in the build, from 1 on.
    """

    path: Path
    number: int = 0
    size_bytes: int = 0
    mtime_ns: int = 0
    video_id: str = ""
    sha256: str = ""
    info: VideoInfo | None = None
    clips: list[Clip] = field(default_factory=list)
    gop: str = ""
    warnings: list[str] = field(default_factory=list)
    failed: str = ""
    done_fingerprint: str = ""
    failures: dict[str, Failure] = field(default_factory=dict)
    num_bugs: int = 0
    beside: dict[str, str] = field(default_factory=dict)
    sidecar_digest: str = ""
    tracks: dict[str, Track] = field(default_factory=dict)
    said: dict[str, list[list[Observation]]] = field(default_factory=dict)
    without_pictures: set[int] = field(default_factory=set)
    lost_thumbnails: frozenset[int] = frozenset()
    started_s: float = 0.0
    num_clips_computed: int = 0
    results: list[NewArtifact] = field(default_factory=list)

    def has_changed(self) -> bool:
        """Whether the file was written since this build first looked at it."""
        try:
            stat = self.path.stat()
        except OSError:  # gone: what was read of it still holds
            return False
        return (stat.st_size, stored_mtime_ns(stat)) != (self.size_bytes, self.mtime_ns)

    def note(self, text: str) -> None:
        """Add a note for people, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def reason_of(self, error: Exception) -> str:
        """Return an error as one line. One that FDVS does not raise itself is a bug: it is counted,
        and its traceback is logged."""
        text = " ".join(str(error).split())
        if isinstance(error, FdvsError):
            return text
        with _counting:
            self.num_bugs += 1
        logger.error("%s: bug", one_line(self.path.name), exc_info=error)
        return f"bug: {type(error).__name__}: {text}"

    def failed_on(self, model: str, error: Exception, where: str = "") -> None:
        """Count a failure of a model on one clip or track."""
        reason = self.reason_of(error)
        with _counting:
            failure = self.failures.setdefault(model, Failure(reason=reason, where=where))
            failure.num += 1
            failure.num_in_a_row += 1
        logger.warning("%s: %s failed: %s", one_line(self.path.name), model, one_line(reason))

    def skipped_pictures(self) -> None:
        """Count a clip whose pictures are left out; says nothing about those behind it."""
        self.failures.setdefault(PICTURES, Failure(reason=ENDS_PROCESS)).num += 1

    def succeeded(self, model: str) -> None:
        """Count a success of a model: a later failure is the first in a row."""
        if model in self.failures:
            self.failures[model].num_in_a_row = 0

    def skips(self, model: str) -> bool:
        """Whether a model that gave up is not asked again; counts it."""
        if not self.gave_up(model):
            return False
        with _counting:
            self.failures[model].num += 1
        return True

    def note_failures(self) -> None:
        """Add a note on each model that failed."""
        for model, failure in self.failures.items():
            where = failure.where or f"on {failure.num} of {len(self.clips)} clips"
            name = "decoding" if model == PICTURES else model.removeprefix("source:")
            self.note(f"{name} failed {where}: {failure.reason}; asked again at the next build")

    def nothing_read(self) -> str:
        """Return why nothing is known of the file, "" if something is."""
        failure = self.failures.get(PICTURES)
        if failure is None or len(self.without_pictures) < len(self.clips):
            return ""
        has_words = any(said for by_clip in self.said.values() for said in by_clip)
        return "" if has_words else failure.reason

    def gave_up(self, model: str) -> bool:
        """Whether a model failed so often in a row that it is not asked again."""
        failure = self.failures.get(model)
        return failure is not None and failure.num_in_a_row >= MAX_IN_A_ROW


@dataclass(slots=True, eq=False)
class Opened:
    """Marker: the file was probed and cut; its clips follow."""

    job: VideoJob


@dataclass(slots=True, eq=False)
class Unchanged:
    """Marker: everything about this file is stored and valid."""

    job: VideoJob


@dataclass(slots=True, eq=False)
class Finished:
    """Marker: all clips of the file came before; also sent for a failed file."""

    job: VideoJob


@dataclass(slots=True, eq=False)
class ClipTask:
    """One clip and what is known of it so far.

    `times_s` are the times of its sampled frames, `decode_times_s` those still to be decoded.
    `frames` holds all sampled frames until the embedding stage drops those that are not kept.
    `vectors` are their embeddings [num_frames, D] and `kept` is a mask over them. `observations`
    are by describer; a describer in `stale` is still to be asked. `stored` maps a stage to the
    fingerprint that the store holds now. `results` wait to be committed. A clip behind the last
    picture, or whose pictures cannot be read, has no frames and no vectors.
    """

    job: VideoJob
    clip: Clip
    times_s: tuple[float, ...] = ()
    decode_times_s: tuple[float, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    vectors: Vectors | None = None
    kept: NDArray[np.bool_] | None = None
    motion: float = 0.0
    frames_fingerprint: str = ""
    observations: dict[str, list[Observation]] = field(default_factory=dict)
    stored: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    thumbnail: bytes | None = None
    results: list[NewArtifact] = field(default_factory=list)

    @property
    def kept_times_s(self) -> tuple[float, ...]:
        """Times of the kept frames; empty before the rule was applied."""
        if self.kept is None:
            return ()
        return tuple(t for t, keep in zip(self.times_s, self.kept, strict=True) if keep)

    def kept_vectors(self) -> Vectors:
        """Return the vectors [num_kept, D] of the kept frames, once they are known."""
        assert self.vectors is not None
        assert self.kept is not None
        return self.vectors[self.kept]

    def add_result(
        self,
        stage: str,
        fingerprint: str,
        payload: JsonDict,
        vectors: Vectors | None = None,
        *,
        coding: Coding = "exact",
    ) -> None:
        """Add a result of this clip, to be committed by the main thread."""
        self.results.append(
            NewArtifact(
                video_id=self.job.video_id,
                stage=stage,
                item=self.clip.index,
                fingerprint=fingerprint,
                payload=payload,
                vectors=vectors,
                coding=coding,
            )
        )


@dataclass(slots=True, eq=False)
class Stretch:
    """A part of a track, to be committed. It says that `source` has read the file up to `end_s`."""

    job: VideoJob
    source: str
    end_s: float
    result: NewArtifact


@dataclass(slots=True, eq=False)
class Told:
    """The chapter of a clip whose other results were committed before a track was read."""

    job: VideoJob
    results: list[NewArtifact]


Item = Opened | Unchanged | Finished | ClipTask | Stretch | Told


def cleaned(observations: Iterable[Observation], max_chars: int) -> list[Observation]:
    """Return what a source said as plain words, each at most `max_chars` long."""
    return [replace(o, text=clean_words(o.text, max_chars=max_chars)) for o in observations]


def live_tasks(items: Sequence[Item]) -> list[ClipTask]:
    """Return the clips among `items` whose video has not failed."""
    return [item for item in items if isinstance(item, ClipTask) and not item.job.failed]


def groups(
    items: Iterable[T],
    *,
    weight: Callable[[T], int],
    full: Callable[[], int],
) -> Iterator[list[T]]:
    """Group consecutive items to fill a model's batch: yield a group when its weights reach
    `full()`; the last group may be lighter.

    An item of weight 0 (a marker, a clip with nothing to do) joins the group at hand, so that
    order is kept, or passes at once where there is none. An item that would overfill a group
    starts the next one. `full` is called only for an item with weight: it may load a model.
    """
    group: list[T] = []
    total = 0
    for item in items:
        item_weight = weight(item)
        if not item_weight and not total:
            yield [item]
            continue
        if total and total + item_weight > full():
            yield group
            group, total = [], 0
        group.append(item)
        total += item_weight
        if total >= full():
            yield group
            group, total = [], 0
    if group:
        yield group
