"""How far a source has read within one stretch: `read_up_to(at_s)`, heard by `reported(...)`.

The listener travels with the thread, not through every signature, as a wish to stop does
(`fdvs.stopping`). Where nobody listens, `read_up_to` does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Listener = Callable[[float], None]
T = TypeVar("T")

_listener: ContextVar[Listener | None] = ContextVar("progress_listener", default=None)


def read_up_to(at_s: float) -> None:
    """Tell the listener of this thread, if there is one, how far the source has read."""
    listener = _listener.get()
    if listener is not None:
        listener(at_s)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Let `listener` hear `read_up_to` in this thread."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def counted_from(start_s: float) -> Iterator[None]:
    """Add `start_s` to what is read up to: inside, times are those of a part."""
    outer = _listener.get()
    with listening(None if outer is None else lambda at_s: outer(start_s + at_s)):
        yield


def reported(items: Iterable[T], listener: Listener) -> Iterator[T]:
    """Yield items; while each is made, `listener` hears how far its maker has read."""
    iterator = iter(items)
    while True:
        with listening(listener):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item
