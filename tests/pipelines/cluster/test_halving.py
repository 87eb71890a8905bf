"""The search for the clip that ends workers, played with every clip as the culprit."""

from __future__ import annotations

import math

import pytest

from fdvs.pipelines.cluster.halving import MAX_SUSPECTED, Halving


def played(num_clips: int, culprit: int, first: int, ahead: int) -> tuple[frozenset[int], int]:
    """Return what is left out at last, and how many workers ended.

    A worker ends where the culprit is not left out; up to `ahead` clips before it are not
    committed then.
    """
    halving, num_deaths = Halving(first, num_clips), 0
    for _ in range(100):
        if culprit in halving.skipped:
            if halving.lived():
                return halving.skipped, num_deaths
        else:
            num_deaths += 1
            assert halving.died(max(first, culprit - ahead))
    raise AssertionError("it does not end")


@pytest.mark.parametrize("num_clips", [1, 2, 3, 7, 64, 200])
@pytest.mark.parametrize("ahead", [0, 5, 50])
def test_every_culprit_is_found_and_only_it_is_left_out(num_clips: int, ahead: int) -> None:
    for culprit in range(num_clips):
        skipped, num_deaths = played(num_clips, culprit, max(0, culprit - ahead), ahead)
        assert skipped == {culprit}
        assert num_deaths <= math.ceil(math.log2(max(num_clips, 2)))


def test_what_ends_workers_without_the_suspected_clip_is_given_up() -> None:
    halving = Halving(0, 4)
    tries = 1
    while halving.died(0):
        tries += 1
    assert tries == 3
    assert halving.skipped == {0}


def test_only_clips_that_can_be_on_their_way_are_suspected() -> None:
    assert max(Halving(10, 100_000).skipped) == 10 + MAX_SUSPECTED - 1
