"""A file at work or waiting, and what becomes of it when its workers die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fdvs.pipelines.cluster.halving import Halving
from fdvs.pipelines.cluster.records import Task

MAX_DEATHS = 2  # of workers that had a file, before its clips are suspected
MAX_LOST_NODES = 5  # in which a file was at work, before it counts as failed


@dataclass(slots=True, eq=False)
class Work:
    """A file at work or waiting.

    `task` makes what a worker is sent, as the library stands then, but for the pictures of the
    clips given; `committed` returns the first clip that is not committed, and how many there are.
    """

    path: Path
    task: Callable[[frozenset[int]], Task]
    committed: Callable[[], tuple[int, int]]
    num_deaths: int = 0
    num_lost_nodes: int = 0
    is_done: bool = False
    halving: Halving | None = None

    def died(self) -> bool:
        """Count a worker's death; return whether there is something to try."""
        self.num_deaths += 1
        if self.num_deaths < MAX_DEATHS:
            return True
        first, num_clips = self.committed()
        if self.halving is not None:
            return self.halving.died(first)
        if first < num_clips:
            self.halving = Halving(first, num_clips)
        return self.halving is not None

    def lived(self) -> bool:
        """Return whether the file is built, as far as it can be."""
        return self.halving is None or self.halving.lived()


def reason_of(work: Work, is_node: bool) -> str:
    """Return why a file counts as failed, whose last worker died alone or with its machine."""
    if is_node:
        return f"{work.num_lost_nodes} machines were lost while it was built; build it again"
    return (
        f"it ended a worker {work.num_deaths} times (out of memory, or a decoder crashed); what "
        "was finished is kept; convert the file, or give workers more memory"
    )
