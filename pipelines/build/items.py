"""Work items of a build: videos, their clips in order, and the markers between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.store.store import NewArtifact
from fdvs.types import Clip, Frame, JsonDict, Observation, Vectors, VideoInfo

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class VideoJob:
    """One file of a build.

    `replaces` is the id of the video that only this file held before. `failed` is the reason, set
    by whichever stage cannot go on; the others then skip the video. `sidecar_digest` covers files
    that describers read beside the video. `started_s` is on the monotonic clock.
    """

    path: Path
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
    replaces: str | None = None
    sidecar_digest: str = ""
    started_s: float = 0.0
    num_clips_computed: int = 0
    results: list[NewArtifact] = field(default_factory=list)


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
    fingerprint that the store holds now. `results` wait to be committed.
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
        self, stage: str, fingerprint: str, payload: JsonDict, vectors: Vectors | None = None
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
            )
        )


Item = Opened | Unchanged | Finished | ClipTask


def live_tasks(items: Sequence[Item]) -> list[ClipTask]:
    """Return the clips among `items` whose video has not failed."""
    return [item for item in items if isinstance(item, ClipTask) and not item.job.failed]


def groups(
    items: Iterable[T], *, weight: Callable[[T], int], full: Callable[[], int]
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
