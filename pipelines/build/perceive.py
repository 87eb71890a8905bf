"""Third stage of a build: every source works in a thread of its own, and a clip is joined from all.

A feeder hands each embedded clip to the describers that are to look at it, and each opened file to
the sources that read whole files. So a captioner on a GPU does not wait for speech or for text on
screen on the CPU: a build is as long as its slowest source. The joiner yields in the order of the
items. A clip whose file has a track that is still being read is yielded at once, without its
chapter, so that it is committed; its chapter follows (`Told`) when the track is known.

Bounds: `room_for` clips hold their pictures here, `NUM_AHEAD` stretches of a track wait. Of clips
that wait for a track only the words are kept, and only of one file.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.describe import (
    Described,
    batch_size,
    describe_batch,
    record,
    write_chapter_of,
)
from fdvs.pipelines.build.hear import hear, note_heard
from fdvs.pipelines.build.in_flight import in_places
from fdvs.pipelines.build.items import ClipTask, Finished, Item, Opened, Stretch, Told
from fdvs.stopping import POLL_S, check_stop, stoppable

NUM_AHEAD = 8


def room_for(batch: int) -> int:
    """Return how many clips may be with the describers: a batch in work, one filling, some more.

    Where a server is asked, a batch are its places; as many again may be done, without pictures,
    while the first one is still being described: `room_for(2 * places)` in all.
    """
    return 2 * batch + NUM_AHEAD


def perceive(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Ask every source about what lacks its observations; yield every item in order, and a
    chapter for each clip. Close the iterator to stop early."""
    desk = _Desk(context)
    work: dict[str, Callable[[], None]] = {"feed": partial(_feed, items, desk)}
    work |= {name: partial(_describe, name, desk) for name in context.describer_names}
    work |= {name: partial(_hear, name, desk) for name in context.track_names}
    threads = [
        threading.Thread(target=_run, args=(one, desk), name=f"fdvs-{name}", daemon=True)
        for name, one in work.items()
    ]
    try:
        for thread in threads:
            thread.start()
        yield from _joined(desk)
    finally:
        desk.stop()
        for thread in threads:
            thread.join(timeout=60)


@dataclass(slots=True, eq=False)
class _Slot:
    """An item on its way. `pending` are the sources that it waits for; of an opened file, those
    that have not read its track. `error` is raised in the item's place."""

    item: Item | None
    pending: set[str] = field(default_factory=set)
    found: dict[str, Described] = field(default_factory=dict)
    error: BaseException | None = None


class _Desk:
    """What the threads share. Its members are read and changed while `changed` is held."""

    def __init__(self, context: BuildContext) -> None:
        self.context = context
        self.stopping = threading.Event()
        self.changed = threading.Condition()
        self.slots: deque[_Slot] = deque()  # not yet joined, in order
        self.inboxes: dict[str, deque[_Slot]] = {n: deque() for n in context.observer_names}
        self.stretches: dict[str, deque[Stretch]] = {n: deque() for n in context.track_names}
        self.batch_sizes: dict[str, int] = {}
        self.num_clips = 0
        self.has_places = False  # whether a server is asked
        self.is_fed = False
        self.is_full = False
        self.error: BaseException | None = None

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the desk, then tell the others that something changed."""
        with self.changed:
            yield
            self.changed.notify_all()

    def wait(self) -> None:
        """Let the others work until something changed; raises Stopped once the build stops."""
        self.changed.wait(POLL_S)
        check_stop()

    def stop(self) -> None:
        self.stopping.set()
        with self.changing():
            pass


def _run(work: Callable[[], None], desk: _Desk) -> None:
    """Run a source's thread; what ends it ends the build."""
    try:
        with stoppable(desk.stopping):
            work()
    except BaseException as error:
        with desk.changing():
            desk.error = desk.error or error


# -- the feeder ------------------------------------------------------------------------------------


def _feed(items: Iterable[Item], desk: _Desk) -> None:
    """Hand every item to its sources. An error of an earlier stage stands behind what came before
    it."""
    try:
        for item in items:
            _admit(item, desk)
    except BaseException as error:
        with desk.changing():
            desk.slots.append(_Slot(None, error=error))
    finally:
        with desk.changing():
            desk.is_fed = True
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _admit(item: Item, desk: _Desk) -> None:
    slot = _Slot(item)
    if isinstance(item, ClipTask):
        slot.pending = set() if item.job.failed else set(item.stale)
    elif isinstance(item, Opened):
        slot.pending = set(desk.context.track_names)
    with desk.changing():
        if isinstance(item, ClipTask):
            _wait_for_room(desk)
            desk.num_clips += 1
        desk.slots.append(slot)
        for name in slot.pending:
            desk.inboxes[name].append(slot)


def _is_crowded(desk: _Desk) -> bool:
    size = max(desk.batch_sizes.values(), default=1)
    if not desk.has_places:
        return desk.num_clips >= room_for(size)
    num_open = sum(isinstance(slot.item, ClipTask) and bool(slot.pending) for slot in desk.slots)
    return num_open >= room_for(size) or desk.num_clips >= room_for(2 * size)


def _wait_for_room(desk: _Desk) -> None:
    while _is_crowded(desk):
        if not desk.is_full:
            desk.is_full = True  # what waits for a full batch may have to go without
            desk.changed.notify_all()
        desk.wait()
    desk.is_full = False


# -- the sources -----------------------------------------------------------------------------------


def _describe(name: str, desk: _Desk) -> None:
    """Describe the clips of an inbox: one in each place of a server, else in batches, across
    videos."""
    if not desk.context.models.asks_server(name):
        _describe_batches(name, desk)
    elif num := _num_places(name, desk):
        in_places(partial(_describe_batches, name, desk, num_places=num), num=num, name=name)


def _describe_batches(name: str, desk: _Desk, *, num_places: int = 0) -> None:
    while batch := _next_batch(name, desk, size=1 if num_places else 0):
        found = describe_batch([_clip(slot) for slot in batch], name, desk.context)
        with desk.changing():
            for slot, described in zip(batch, found, strict=True):
                if described is not None:
                    seconds = described.seconds / (num_places or 1)
                    slot.found[name] = replace(described, seconds=seconds)
                slot.pending.discard(name)
                if not slot.pending:
                    _clip(slot).frames = []
        del batch, found  # clips hold pictures


def _num_places(name: str, desk: _Desk) -> int:
    """Wait for a clip, and return how many a server is asked about at once; 0 where none comes."""
    with desk.changed:
        while not (desk.inboxes[name] or desk.is_fed):
            desk.wait()
        if not desk.inboxes[name]:
            return 0
    num = batch_size(name, desk.context)  # loads the model
    with desk.changing():
        desk.batch_sizes[name] = num
        desk.has_places = True
    return num


def _next_batch(name: str, desk: _Desk, *, size: int = 0) -> list[_Slot]:
    """Wait for `size` clips, 0 for a full batch; return fewer at the end, or where all wait for one
    of them."""
    inbox = desk.inboxes[name]
    with desk.changed:
        while not (inbox or desk.is_fed):
            desk.wait()
        if not inbox:
            return []
        if size:
            return [inbox.popleft() for _ in range(size)]
    size = desk.batch_sizes.get(name) or batch_size(name, desk.context)  # loads the model
    with desk.changing():
        desk.batch_sizes[name] = size
        while not (len(inbox) >= size or desk.is_fed or _is_awaited(name, desk)):
            desk.wait()
        return [inbox.popleft() for _ in range(min(size, len(inbox)))]


def _is_awaited(name: str, desk: _Desk) -> bool:
    """Whether no clip may come before one is out, and the first to go waits for this describer."""
    return desk.is_full and name in desk.slots[0].pending


def _hear(name: str, desk: _Desk) -> None:
    """Read the tracks of the opened files of an inbox."""
    while (slot := _next_opened(name, desk)) is not None:
        assert isinstance(slot.item, Opened)
        for stretch in hear(slot.item.job, name, desk.context):
            with desk.changing():
                while len(desk.stretches[name]) >= NUM_AHEAD:
                    desk.wait()
                desk.stretches[name].append(stretch)
        with desk.changing():
            slot.pending.discard(name)


def _next_opened(name: str, desk: _Desk) -> _Slot | None:
    inbox = desk.inboxes[name]
    with desk.changed:
        while not (inbox or desk.is_fed):
            desk.wait()
        return inbox.popleft() if inbox else None


# -- the joiner ------------------------------------------------------------------------------------


def _joined(desk: _Desk) -> Iterator[Item]:
    """Yield all items in order; stretches as they come, and chapters once they can be written."""
    opened = _Slot(None)  # the file whose clips are joined now
    untold: deque[ClipTask] = deque()  # its clips that wait for a track
    while (step := _next_step(opened, untold, desk)) is not None:
        if isinstance(step, Stretch):
            yield step
        elif isinstance(step, ClipTask):
            write_chapter_of(step, desk.context)
            if step.results:
                yield Told(job=step.job, results=step.results)
        elif isinstance(step.item, ClipTask):
            task = _joined_clip(step, desk)
            if opened.pending or untold:
                untold.append(_words_only(task))
            else:
                _tell(task, desk.context)
            yield task
        else:
            assert step.item is not None
            opened = step if isinstance(step.item, Opened) else _Slot(None)
            if isinstance(step.item, Finished):
                _order_notes(step.item, desk.context)
            yield step.item


def _next_step(
    opened: _Slot, untold: deque[ClipTask], desk: _Desk
) -> Stretch | ClipTask | _Slot | None:
    """Wait for what can go next: a stretch, a clip to write the chapter of, or the first slot."""
    with desk.changing():
        while True:
            for waiting in desk.stretches.values():
                if waiting and opened.item is not None and waiting[0].job is opened.item.job:
                    return waiting.popleft()
            if untold and not opened.pending:
                return _given(untold.popleft())
            first = desk.slots[0] if desk.slots else None
            if first is not None and _is_ready(first, opened):
                desk.slots.popleft()
                desk.num_clips -= isinstance(first.item, ClipTask)
                if first.error is not None:
                    raise first.error
                return first
            if desk.error is not None:
                raise desk.error
            if first is None and desk.is_fed:
                return None
            desk.wait()


def _is_ready(slot: _Slot, opened: _Slot) -> bool:
    if isinstance(slot.item, ClipTask):
        return not slot.pending
    return isinstance(slot.item, Opened) or not opened.pending


def _joined_clip(slot: _Slot, desk: _Desk) -> ClipTask:
    """Return a clip with what its describers said, in the order of the settings."""
    task = _clip(slot)
    for name in desk.context.describer_names:
        if name in slot.found:
            record(task, name, slot.found[name], desk.context)
    task.frames = []  # large, and not needed while the clip waits to be committed
    return task


def _clip(slot: _Slot) -> ClipTask:
    assert isinstance(slot.item, ClipTask)
    return slot.item


def _words_only(task: ClipTask) -> ClipTask:
    """Return what a chapter needs of a clip."""
    return replace(
        task,
        observations=dict(task.observations),
        vectors=None,
        kept=None,
        thumbnail=None,
        results=[],
    )


def _given(task: ClipTask) -> ClipTask:
    """Return a clip with what was said in it."""
    said = {name: by_clip[task.clip.index] for name, by_clip in task.job.said.items()}
    task.observations.update(said)
    return task


def _tell(task: ClipTask, context: BuildContext) -> None:
    write_chapter_of(_given(task), context)


def _order_notes(finished: Finished, context: BuildContext) -> None:
    """Put what happened to a file in an order that does not depend on which thread was faster."""
    job = finished.job
    note_heard(job)
    names = ("pictures", "image_embedder", "picture_matcher", *context.observer_names)
    rank = {name: place for place, name in enumerate(names)}
    job.failures = dict(sorted(job.failures.items(), key=lambda one: rank.get(one[0], len(rank))))
