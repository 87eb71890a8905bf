"""Groups of work items that fill a model's batch: order and bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fdvs.pipelines.build.items import groups


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
