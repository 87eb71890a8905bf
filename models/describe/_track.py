"""Sources that read a whole file once; these types move to `fdvs.types` and `fdvs.protocols`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from fdvs.types import ModelIdentity, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Where a file's streams lie on its one clock: seconds from the first decoded picture.

    `origin_s` is that picture's time on the container's own clock (audio only: the first sound's
    time), `sound_start_s` may be negative, `duration_s` is the end of the last of pictures and
    sound.
    """

    origin_s: float
    pictures_end_s: float
    sound_start_s: float | None
    sound_end_s: float | None
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a track source found in [start_s, end_s): observations in time order, and notes.

    `notes` are sentences for people; `language` is a code of ISO 639-1 where known.
    """

    start_s: float
    end_s: float
    observations: tuple[Observation, ...]
    notes: tuple[str, ...] = ()
    language: str = ""


@runtime_checkable
class TrackSource(Protocol):
    """Reads a whole file once, without its pictures: subtitles, speech."""

    source: str
    identity: ModelIdentity

    def content_fingerprint(self, video_path: Path) -> str: ...

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        """Yield stretches in order of time from `start_s` on.

        Raises ModelError where the source cannot go on.
        """
        ...
