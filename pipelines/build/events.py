"""What a running build tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

EventKind = Literal["start", "video", "clip", "done_video", "failed", "waiting", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEvent:
    """One step of a build. `done` of `total` counts clips (kind clip) or videos (the others)."""

    kind: EventKind
    name: str = ""
    text: str = ""
    done: int = 0
    total: int = 0


Watcher = Callable[[BuildEvent], None]


def nobody(event: BuildEvent) -> None:
    """Watch nothing."""
