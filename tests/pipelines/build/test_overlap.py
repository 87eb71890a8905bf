"""Stages that run ahead in threads: order, bounds, errors and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from fdvs.pipelines.build.overlap import prefetch


def test_prefetch_keeps_the_order() -> None:
    assert list(prefetch(iter(range(100)), num_ahead=3, name="t")) == list(range(100))


def test_prefetch_runs_at_most_so_far_ahead() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    ahead = prefetch(items(), num_ahead=4, name="t")
    assert next(ahead) == 0
    time.sleep(0.3)
    # one was taken, four wait in the queue, one is in the producer's hand
    assert len(made) <= 6
    assert list(ahead) == list(range(1, 50))


def test_an_error_of_the_producer_reaches_the_consumer_after_what_came_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    ahead = prefetch(items(), num_ahead=2, name="t")
    assert next(ahead) == 1
    with pytest.raises(KeyError, match="broken"):
        next(ahead)


def test_closing_the_consumer_stops_and_closes_the_producer() -> None:
    closed = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10_000_000)
        finally:
            closed.set()

    ahead = prefetch(items(), num_ahead=2, name="fdvs-test-close")
    next(ahead)
    ahead.close()  # type: ignore[attr-defined]
    assert closed.wait(5)
    assert not any(t.name == "fdvs-test-close" for t in threading.enumerate())


def test_producer_and_consumer_overlap() -> None:
    busy = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        busy.set()
        yield 1

    ahead = prefetch(items(), num_ahead=1, name="t")
    next(ahead)
    assert busy.wait(5), "the producer did not go on while the consumer held an item"
    ahead.close()  # type: ignore[attr-defined]
