"""Run the stages of a build at the same time: each in a thread, a bounded number of items ahead.

Order is kept. An error of a producer is raised at its consumer; closing the consumer stops the
producer before its next item. Clips in flight are bounded (`max_clips_in_flight`): `NUM_AHEAD`
wait behind each of the four stages, one group is being embedded and one described.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.describe import describe_clips
from fdvs.pipelines.build.embed import embed_clips
from fdvs.pipelines.build.hear import hear_tracks
from fdvs.pipelines.build.items import Item
from fdvs.pipelines.build.read import read_videos

T = TypeVar("T")

NUM_AHEAD = 8
POLL_S = 0.1
_END = object()


def max_clips_in_flight(embed_batch: int, describe_batch: int) -> int:
    """Return how many clips a kill can lose at most: queues, groups, and one held by each stage."""
    return 4 * NUM_AHEAD + embed_batch + describe_batch + 5


def overlapped(paths: Sequence[Path], context: BuildContext) -> Iterator[Item]:
    """Read, embed, hear and describe the files of `paths`: yield every item in order, ready to
    commit.

    Close the iterator to stop the stages early.
    """
    items: Iterator[Item] = read_videos(paths, context)
    items = prefetch(items, num_ahead=NUM_AHEAD, name="fdvs-read")
    items = prefetch(embed_clips(items, context), num_ahead=NUM_AHEAD, name="fdvs-embed")
    items = prefetch(hear_tracks(items, context), num_ahead=NUM_AHEAD, name="fdvs-hear")
    return prefetch(describe_clips(items, context), num_ahead=NUM_AHEAD, name="fdvs-describe")


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
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failed):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join(timeout=60)


def _produce(items: Iterable[Any], ready: queue.Queue[Any], stop: threading.Event) -> None:
    source = iter(items)
    try:
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
