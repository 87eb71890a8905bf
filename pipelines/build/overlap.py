"""Run the stages of a build at the same time: each in a thread, a bounded number of items ahead.

Order is kept. An error of a producer is raised at its consumer; closing the consumer stops the
producer before its next item, and where it calls `check_stop`. Clips in flight are bounded
(`max_clips_in_flight`): `NUM_AHEAD` wait behind each of the three stages, one group is being
embedded, and `perceive.room_for` are with the describers.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.embed import embed_clips
from fdvs.pipelines.build.items import Item
from fdvs.pipelines.build.perceive import NUM_AHEAD, perceive, room_for
from fdvs.pipelines.build.read import read_videos
from fdvs.stopping import POLL_S, check_stop, stoppable

T = TypeVar("T")

_END = object()


def max_clips_in_flight(embed_batch: int, describe_batch: int) -> int:
    """Return how many clips a kill can lose at most: queues, groups, and one held by each stage.

    For a server, `describe_batch` is twice the number that it is asked about at once.
    """
    return 3 * NUM_AHEAD + embed_batch + room_for(describe_batch) + 5


def overlapped(paths: Sequence[Path], context: BuildContext) -> Iterator[Item]:
    """Read, embed and perceive the files of `paths`: yield every item in order, ready to commit.

    Close the iterator to stop the stages early.
    """
    items: Iterator[Item] = read_videos(paths, context)
    items = prefetch(items, num_ahead=NUM_AHEAD, name="fdvs-read")
    items = prefetch(embed_clips(items, context), num_ahead=NUM_AHEAD, name="fdvs-embed")
    return prefetch(perceive(items, context), num_ahead=NUM_AHEAD, name="fdvs-join")


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def prefetch(items: Iterable[T], *, num_ahead: int, name: str) -> Iterator[T]:
    """Yield `items` in order while a thread keeps up to `num_ahead` of them ready."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=num_ahead)
    stop = threading.Event()
    thread = threading.Thread(target=_produce, args=(items, ready, stop), name=name, daemon=True)
    thread.start()
    try:
        while (item := _taken(ready)) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join(timeout=60)


def _taken(ready: queue.Queue[Any]) -> Any:
    """Wait for an item in short steps: a stage that is stopped waits no longer."""
    while True:
        check_stop()
        try:
            return ready.get(timeout=POLL_S)
        except queue.Empty:
            continue


def _produce(items: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    source = iter(items)
    try:
        with stoppable(stop):
            for item in source:
                if not _offer(ready, item, stop):
                    break
        _offer(ready, _END, stop)
    except BaseException as error:
        _offer(ready, _Failed(error), stop)
    finally:
        close = getattr(source, "close", None)
        if close is not None:
            close()


def _offer(ready: queue.Queue[Any], item: Any, stop: threading.Event) -> bool:
    """Put an item unless the consumer is gone; wait in short steps, to notice `stop`."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=POLL_S)
            return True
        except queue.Full:
            continue
    return False
