"""Workers on a Ray cluster, one file at a time each: who is at what, who died, who is to blame.

Ray neither restarts workers nor repeats calls: a repeated call would blame innocent files. A worker
that dies with its machine blames nobody, its file is built again elsewhere. One that dies alone
makes its file a suspect: it is built again when nothing else is at work, and after the second death
the clip that does it is looked for (`halving`) and left without pictures. A file that takes far
longer than the others is also given to an idle worker; whoever is first wins, the other is ended.
Their writes are the same, so that nothing is spoiled by making them twice.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fdvs.errors import FdvsError, ModelError
from fdvs.pipelines.cluster.records import Record, Row, Task
from fdvs.pipelines.cluster.work import MAX_LOST_NODES, Work, reason_of
from fdvs.text.clean import one_line

MAX_UNREAD = 16  # batches of a worker that wait for the driver
WAIT_S = 0.5
STRAGGLES = 5.0  # times the median of the finished files
STRAGGLES_FROM_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Slot:
    """A place for a worker, and what it is at. `starting` is set until the worker answers."""

    actor: Any = None
    starting: Any = None
    node: str = ""
    work: Work | None = None
    sent: Task | None = None
    stream: Any = None
    since_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """Records that a worker sent of a file."""

    work: Work
    task: Task
    records: list[Record]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A file that cannot be built, because it ends workers."""

    work: Work
    reason: str


@dataclass(slots=True, eq=False)
class Counts:
    """What happened: workers started and died, machines lost, second copies of slow files."""

    num_workers: int = 0
    num_deaths: int = 0
    num_lost_nodes: int = 0
    num_copies: int = 0


class Pool:
    """`num_workers` workers made by `start`, which returns a Ray actor of `Worker`."""

    def __init__(self, num_workers: int, start: Callable[[], Any]) -> None:
        self.counts = Counts()
        self._start = start
        self._slots = [_Slot() for _ in range(num_workers)]
        self._next: Work | None = None  # waits for a worker that is free
        self._suspects: deque[Work] = deque()
        self._again: deque[Work] = deque()
        self._seconds: list[float] = []

    def run(self, waiting: Iterator[Work]) -> Iterator[Received | Lost]:
        """Build the files of `waiting`, which are asked for as workers become idle.

        Raises what ends a whole build: ModelUnavailable, StoreError, ModelError where no worker
        can be started.
        """
        try:
            while self._hand_out(waiting) or self._suspects or self._again:
                yield from self._receive()
        finally:
            for slot in self._slots:
                self._end(slot)

    # -- giving ----------------------------------------------------------------------------------

    def _hand_out(self, waiting: Iterator[Work]) -> bool:
        """Give idle workers something to do; return whether anybody works, or starts."""
        while self._has_next(waiting) and (idle := self._idle()):
            work, self._next = self._next, None
            assert work is not None
            self._give(idle[0], work)
        if self._next is not None:
            self._start_all()
        elif any(slot.work for slot in self._slots):
            self._copy_straggler()
        elif self._suspects:  # nothing else is at work
            self._next = self._suspects.popleft()
        return self._next is not None or any(slot.work for slot in self._slots)

    def _has_next(self, waiting: Iterator[Work]) -> bool:
        if self._next is None:
            self._next = self._again.popleft() if self._again else next(waiting, None)
        return self._next is not None

    def _start_all(self) -> None:
        for slot in self._slots:
            if slot.actor is None:
                slot.actor = self._start()
                slot.starting = slot.actor.place.remote()

    def _idle(self) -> list[_Slot]:
        """Return workers that have answered and are at nothing."""
        return [s for s in self._slots if s.actor and not s.starting and s.work is None]

    def _copy_straggler(self) -> None:
        """Give an idle worker the file that takes too long elsewhere."""
        idle = self._idle()
        if not idle or not self._seconds:
            return
        bound_s = max(STRAGGLES_FROM_S, STRAGGLES * statistics.median(self._seconds))
        for slot in self._slots:
            alone = [other.work for other in self._slots].count(slot.work) == 1
            late = time.monotonic() - slot.since_s > bound_s
            if slot.work is not None and alone and late and not slot.work.num_deaths:
                logger.warning("%s takes long; built a second time", one_line(slot.work.path.name))
                self.counts.num_copies += 1
                self._give(idle[0], slot.work)
                return

    def _give(self, slot: _Slot, work: Work) -> None:
        slot.work, slot.since_s = work, time.monotonic()
        slot.sent = work.task(work.halving.skipped if work.halving else frozenset())
        slot.stream = slot.actor.build.options(
            num_returns="streaming", _generator_backpressure_num_objects=MAX_UNREAD
        ).remote(slot.sent)

    # -- taking ----------------------------------------------------------------------------------

    def _receive(self) -> Iterator[Received | Lost]:
        """Yield what has come; waits a little where nothing has."""
        import ray

        slots: dict[Any, _Slot] = {s.starting: s for s in self._slots if s.starting}
        slots |= {slot.stream: slot for slot in self._slots if slot.work}
        if not slots:
            return
        ready: list[Any] = ray.wait(list(slots), num_returns=1, timeout=WAIT_S)[0]
        for one in ready:
            slot = slots[one]
            if slot.starting:
                self._started(slot)
            else:
                yield from self._receive_from(slot)

    def _started(self, slot: _Slot) -> None:
        import ray

        try:
            slot.node = ray.get(slot.starting)
        except ray.exceptions.RayActorError as error:
            if "node has died" in str(error):  # it is started on another one
                self.counts.num_lost_nodes += 1
                self._end(slot)
                return
            # No file is to blame, and another try would end the same.
            raise _cause(error) from error
        slot.starting = None
        self.counts.num_workers += 1

    def _receive_from(self, slot: _Slot) -> Iterator[Received | Lost]:
        import ray

        try:
            records = ray.get(next(slot.stream))
        except StopIteration:
            self._free(slot)
        except ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except ray.exceptions.RayError as error:
            yield from self._died(slot, error)
        else:
            yield from self._took(slot, records)

    def _took(self, slot: _Slot, records: list[Record]) -> Iterator[Received]:
        work, task = slot.work, slot.sent
        assert work is not None
        assert task is not None
        if work.is_done:
            return
        row = isinstance(records[-1], Row)
        if row and not work.lived():
            records = records[:-1]
            self._suspects.append(work)
        yield Received(work=work, task=task, records=records)
        if row and work not in self._suspects:
            work.is_done = True
            self._seconds.append(time.monotonic() - slot.since_s)
            for other in self._slots:
                if other is not slot and other.work is work:
                    self._end(other)

    def _died(self, slot: _Slot, error: Exception) -> Iterator[Lost]:
        """A worker is gone: blame its file, unless its machine went with it."""
        work = slot.work
        assert work is not None
        # the connection ends some seconds before the cluster counts the machine as lost
        is_node = _is_unreachable(error) or not _is_alive(slot.node)
        self._end(slot)
        self.counts.num_deaths += 1
        self.counts.num_lost_nodes += is_node
        is_at_work = any(other.work is work for other in self._slots)
        if work.is_done or is_at_work:
            return
        what = "machine of a worker" if is_node else "worker"
        logger.warning("%s: its %s ended: %s", one_line(work.path.name), what, _short(error))
        work.num_lost_nodes += is_node
        if not (work.num_lost_nodes < MAX_LOST_NODES if is_node else work.died()):
            work.is_done = True
            yield Lost(work=work, reason=reason_of(work, is_node))
        else:
            (self._again if is_node else self._suspects).append(work)

    def _free(self, slot: _Slot) -> None:
        slot.work = slot.sent = slot.stream = None

    def _end(self, slot: _Slot) -> None:
        import ray

        if slot.actor is not None:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(slot.actor)
        slot.actor = slot.starting = None
        self._free(slot)


def _is_alive(node_id: str) -> bool:
    import ray

    return any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes())  # type: ignore[no-untyped-call]


def _is_unreachable(error: Exception) -> bool:
    import ray

    return isinstance(error, ray.exceptions.ActorUnavailableError)


def _cause(error: Any) -> Exception:
    """Return what was raised in a worker; an error of FDVS as itself."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, FdvsError) else ModelError(f"a worker failed: {error}")


def _short(error: Exception) -> str:
    return one_line(str(error).strip().splitlines()[0] if str(error).strip() else repr(error))
