"""Stop what takes long: `with stoppable(event): ...`, and `check_stop()` inside of it.

The request travels with the thread, not through every signature: what works in blocks (layers of
a model, tokens, attempts at a server, videos of an index) calls `check_stop` between them, which
raises `Stopped` once the caller wants it. Without `stoppable` it does nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from fdvs.errors import Stopped

Stop = threading.Event | Callable[[], bool]
R = TypeVar("R")

POLL_S = 0.1

_wants: ContextVar[Callable[[], bool] | None] = ContextVar("wants_stop", default=None)


@contextmanager
def stoppable(stop: Stop | None) -> Iterator[None]:
    """Let `check_stop` in this thread raise Stopped once an event is set or a function says so."""
    if stop is None:
        yield
        return
    token = _wants.set(stop.is_set if isinstance(stop, threading.Event) else stop)
    try:
        check_stop()
        yield
    finally:
        _wants.reset(token)


def stop_wanted() -> Callable[[], bool] | None:
    """Return what says whether to stop, None where nobody can ask for it."""
    return _wants.get()


def check_stop() -> None:
    """Raise Stopped if that is wanted."""
    wants = _wants.get()
    if wants is not None and wants():
        raise Stopped


def carried(function: Callable[..., R]) -> Callable[..., R]:
    """Return a function that can be stopped in another thread as it can be here."""
    wants = _wants.get()

    def call(*values: object) -> R:
        with stoppable(wants):
            return function(*values)

    return call


@contextmanager
def acquired(lock: threading.RLock | threading.Lock) -> Iterator[None]:  # type: ignore[valid-type]
    """Hold a lock; waiting for it can be stopped."""
    while not lock.acquire(timeout=POLL_S):  # type: ignore[attr-defined]
        check_stop()
    try:
        yield
    finally:
        lock.release()  # type: ignore[attr-defined]


def pause(seconds: float) -> None:
    """Sleep; the sleep can be stopped."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check_stop()
        time.sleep(min(left, POLL_S))
