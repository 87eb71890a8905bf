"""What travels through a build: videos and their clips, in order, each with what is still to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.store.store import NewArtifact
from fdvs.types import Clip, Frame, JsonDict, Observation, Vectors, VideoInfo


@dataclass(slots=True, eq=False)
class VideoJob:
    """One file on its way. `replaces` is the video that this file held before, and no other.

    `failed` is set by whichever stage cannot go on; the rest skip it."""

    path: Path
    size_bytes: int
    mtime_ns: int
    video_id: str = ""
    sha256: str = ""
    info: VideoInfo | None = None
    clips: list[Clip] = field(default_factory=list)
    gop: str = ""
    warnings: list[str] = field(default_factory=list)
    failed: str = ""
    done_key: str = ""
    replaces: str | None = None
    extra: str = ""
    started: float = 0.0
    num_clips_computed: int = 0
    puts: list[NewArtifact] = field(default_factory=list)


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
    """Marker: all clips of the file went before; also sent for a failed file."""

    job: VideoJob


@dataclass(slots=True, eq=False)
class ClipTask:
    """One clip and what is known of it so far.

    `frames` holds all sampled pictures until the embedding stage drops those not kept.
    `seen` maps a part's key to its observations; a key in `stale` is still to be asked.
    `old_keys` are the fingerprints that the store holds now, by stage.
    """

    job: VideoJob
    clip: Clip
    times_s: tuple[float, ...] = ()
    decode_s: tuple[float, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    vectors: Vectors | None = None
    kept: NDArray[np.bool_] | None = None
    motion: float = 0.0
    frames_key: str = ""
    seen: dict[str, list[Observation]] = field(default_factory=dict)
    old_keys: dict[str, str] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    thumbnail: bytes | None = None
    puts: list[NewArtifact] = field(default_factory=list)

    @property
    def kept_times_s(self) -> tuple[float, ...]:
        if self.kept is None:
            return ()
        return tuple(t for t, keep in zip(self.times_s, self.kept, strict=True) if keep)

    def put(self, stage: str, key: str, payload: JsonDict, vectors: Any = None) -> None:
        self.puts.append(
            NewArtifact(
                video_id=self.job.video_id,
                stage=stage,
                item=self.clip.index,
                fingerprint=key,
                payload=payload,
                vectors=vectors,
            )
        )


Item = Opened | Unchanged | Finished | ClipTask
