"""A server is asked about as many clips as it has places; a finished one is replaced at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.pipelines.build.in_flight import in_places
from fdvs.pipelines.library import Library
from fdvs.report import BuildEvent
from fdvs.types import ClipView, ModelIdentity, Observation

NUM_PLACES, NUM_CLIPS = 4, 24


class Server:
    """A captioner that waits for a server; the first clip takes as long as `slow` others."""

    source, needs_frames, asks_server, batch_size = "caption", True, True, NUM_PLACES
    identity = ModelIdentity(role="captioner", backend="test", name="server")

    def __init__(self, *, slow: int = 3, fails: Callable[[int], Exception | None]) -> None:
        self.slow, self.fails = slow, fails
        self.lock = threading.Lock()
        self.num_now = 0
        self.nums: list[int] = []
        self.order: list[int] = []

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        (view,) = clips
        index = view.clip.index
        with self.lock:
            self.num_now += 1
            self.nums.append(self.num_now)
        time.sleep(0.1 * (self.slow if index == 0 else 1))
        with self.lock:
            self.num_now -= 1
            self.order.append(index)
        if (error := self.fails(index)) is not None:
            raise error
        text = f"Clip {index} is seen."
        clip = view.clip
        return [[Observation(source="caption", text=text, start_s=clip.start_s, end_s=clip.end_s)]]


@pytest.fixture
def film(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    shots = [("red" if n % 2 else "blue", 2.0) for n in range(NUM_CLIPS)]
    return make_film(tmp_path / "film.mp4", shots)


def build(
    tmp_path: Path, film: Path, models: dict[str, Any], server: Server
) -> tuple[Any, list[int]]:
    committed: list[int] = []

    def watch(event: BuildEvent) -> None:
        if event.kind == "clip":
            committed.append(event.done)

    with Library.open(tmp_path / "library", models={**models, "captioner": server}) as library:
        report = library.build([film], progress=watch)
        (row,) = report.rows
        return (row, library.story(film.name).text), committed


def test_a_slow_clip_does_not_idle_the_server_and_the_order_is_kept(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    server = Server(slow=5, fails=lambda _: None)
    (row, _), committed = build(tmp_path, film, models, server)
    assert max(server.nums) == NUM_PLACES
    assert server.order.index(0) >= 2 * NUM_PLACES  # others were asked meanwhile
    assert committed == sorted(committed)
    assert (row.status, len(committed)) == ("built", NUM_CLIPS)


def test_a_bad_clip_costs_itself_and_is_asked_again(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    bad = Server(fails=lambda index: ModelError("no words") if index == 5 else None)
    (row, _), _ = build(tmp_path, film, models, bad)
    assert (row.status, row.missing) == ("built", ("captioner",))
    good = Server(fails=lambda _: None)
    (row, _), _ = build(tmp_path, film, models, good)
    assert good.order == [5]
    assert row.missing == ()


def test_a_server_that_is_gone_ends_the_build(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    gone = Server(fails=lambda index: ModelUnavailable("no server") if index == 9 else None)
    with pytest.raises(ModelUnavailable, match="no server"):
        build(tmp_path, film, models, gone)


def test_the_first_error_of_any_place_is_raised_when_all_have_ended() -> None:
    numbers: Iterator[int] = iter(range(8))
    done: list[int] = []

    def work() -> None:
        number = next(numbers)
        time.sleep(0.02 * number)
        done.append(number)
        if number in (2, 5):
            raise ModelError(str(number))

    with pytest.raises(ModelError, match="2"):
        in_places(work, num=8, name="test")
    assert sorted(done) == list(range(8))
