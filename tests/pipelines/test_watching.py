"""Files that appear: told once they have stopped growing, never before, again when they change."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("watchfiles")

from fdvs.errors import InvalidValue
from fdvs.pipelines.watching import Steadiness, settled, signs

STEADY_S = 0.8
PATIENCE_S = 30.0  # against hanging, on a busy machine
A, B = Path("a.mp4"), Path("b.mp4")


def sign(size: int) -> tuple[tuple[str, int, int], ...]:
    return (("a.mp4", size, 0),)


def test_a_file_is_told_when_it_has_stayed_for_long_enough_and_once() -> None:
    steady = Steadiness(5.0)
    seen = [(0, 1), (2, 2), (4, 2), (6.9, 2), (7, 2), (8, 2), (20, 2)]
    told = [bool(steady.look({A: sign(size)}, now_s)) for now_s, size in seen]
    assert told == [False, False, False, False, True, False, False]
    assert not steady.is_waiting


def test_a_file_that_changes_or_comes_back_is_told_again() -> None:
    steady = Steadiness(5.0)
    steady.look({A: sign(1)}, 0)
    assert steady.look({A: sign(1), B: sign(1)}, 5) == [A]
    assert steady.is_waiting
    assert steady.look({A: sign(2), B: sign(1)}, 10) == [B]
    assert steady.look({A: sign(2)}, 15) == [A]
    assert steady.look({}, 16) == []
    steady.look({A: sign(2)}, 17)
    assert steady.look({A: sign(2)}, 22) == [A]


def test_signs_have_subtitles_and_no_empty_or_other_files(tmp_path: Path) -> None:
    for name in ("film.mp4", "film.2.mp4", "note.txt", "film.en.srt", ".film.mp4", "film.mp4.part"):
        (tmp_path / name).write_text("x")
    (tmp_path / "empty.mp4").touch()
    found = {path.name: [part[0] for part in one] for path, one in signs([tmp_path]).items()}
    assert found == {"film.mp4": ["film.mp4", "film.en.srt"], "film.2.mp4": ["film.2.mp4"]}
    assert signs([tmp_path / "no-longer"]) == {}


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Callable[[float], list[str]]]:
    """Names of files that a watch of `tmp_path` tells, one batch a call; [] after a time."""
    batches: queue.Queue[list[Path]] = queue.Queue()
    stop = threading.Event()
    files = settled([tmp_path], steady_s=STEADY_S, stop=stop)
    thread = threading.Thread(target=lambda: [batches.put(one) for one in files], daemon=True)
    thread.start()

    def next_batch(timeout_s: float = PATIENCE_S) -> list[str]:
        try:
            return [path.name for path in batches.get(timeout=timeout_s)]
        except queue.Empty:
            return []

    yield next_batch
    stop.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


def test_a_file_that_grows_is_told_after_its_last_byte(
    tmp_path: Path, told: Callable[..., list[str]]
) -> None:
    film = tmp_path / "sub" / "film.mp4"
    film.parent.mkdir()
    with film.open("wb") as out:
        for _ in range(12):  # grows for three times as long as it must stay
            out.write(b"x" * 1000)
            out.flush()
            assert told(STEADY_S / 4) == []
    ended_s = time.monotonic()
    assert told() == ["film.mp4"]
    assert time.monotonic() - ended_s >= STEADY_S / 2
    assert told(3 * STEADY_S) == []


def test_space_that_is_taken_in_advance_is_no_end(
    tmp_path: Path, told: Callable[..., list[str]]
) -> None:
    film = tmp_path / "film.mkv"
    with film.open("wb") as out:
        out.truncate(100_000)  # the size stays, the time of change does not
        for _ in range(8):
            out.write(b"x" * 1000)
            out.flush()
            assert told(STEADY_S / 4) == []
    assert told() == ["film.mkv"]


def test_a_renamed_copy_and_late_subtitles_are_seen(
    tmp_path: Path, told: Callable[..., list[str]]
) -> None:
    part = tmp_path / "film.mp4.part"
    part.write_bytes(b"x" * 1000)
    assert told(3 * STEADY_S) == []
    os.rename(part, tmp_path / "film.mp4")
    assert told() == ["film.mp4"]
    (tmp_path / "film.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nA fox.\n")
    assert told() == ["film.mp4"]


def test_what_is_no_folder_is_refused_before_anything_is_watched(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    with pytest.raises(InvalidValue, match=r"film\.mp4.*a folder"):
        settled([tmp_path / "film.mp4"])
