"""Overlap and grouping: order, bounds, errors and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.pipelines.build.items import groups
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


@given(st.lists(st.integers(0, 5)), st.integers(1, 8))
def test_groups_keep_order_and_are_never_overfull_except_by_one_big_item(
    weights: list[int], full: int
) -> None:
    items = list(enumerate(weights))
    made = list(groups(items, weight=lambda item: item[1], full=lambda: full))
    assert [item for group in made for item in group] == items
    for group in made:
        total = sum(weight for _, weight in group)
        assert total <= full or sum(weight > 0 for _, weight in group) == 1


def test_an_item_without_weight_passes_at_once_when_nothing_waits() -> None:
    taken = groups(iter([0, 0, 1, 0, 1]), weight=lambda w: w, full=lambda: 2)
    assert list(taken) == [[0], [0], [1, 0, 1]]


def test_full_is_not_asked_when_nothing_has_weight() -> None:
    def full() -> int:
        raise AssertionError("asked")

    assert list(groups([0, 0], weight=lambda w: w, full=full)) == [[0], [0]]
