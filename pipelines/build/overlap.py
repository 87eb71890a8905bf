"""Bounded overlap: run an iterator ahead of its consumer in a thread, and fill model batches.

Order is kept. An error of the producer is raised at the consumer; closing the consumer stops
the producer before its next item.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")

POLL_S = 0.1
_END = object()


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
    """Put an item unless the consumer is gone; the wait is cut so that `stop` is seen."""
    while not stop.is_set():
        try:
            ready.put(item, timeout=POLL_S)
            return True
        except queue.Full:
            continue
    return False


def groups(
    items: Iterable[T], *, weight: Callable[[T], int], full: Callable[[], int]
) -> Iterator[list[T]]:
    """Yield runs of consecutive items whose weights reach `full()`; the last may be lighter.

    Items of weight 0 (markers, clips with nothing to do) ride along so that order is kept; where
    no weighty item waits they pass at once. An item that would overfill a group starts the next
    one. `full` is asked only when a weighty item comes: it may load a model.
    """
    group: list[T] = []
    total = 0
    for item in items:
        heavy = weight(item)
        if not heavy and not total:
            yield [item]
            continue
        if total and total + heavy > full():
            yield group
            group, total = [], 0
        group.append(item)
        total += heavy
        if total >= full():
            yield group
            group, total = [], 0
    if group:
        yield group
