"""Progress of a build: from events and a clock to lines, and as a real terminal shows it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.pipelines.show.pace import Pace, about
from fdvs.pipelines.show.progress import Lines
from fdvs.progress import counted_from, read_up_to, reported
from fdvs.report import BuildEvent

LENGTH_S = 600.0
STEP_S = 60.0
SPEECH, PICTURES = 0.1, 0.25  # seconds of work on a second of film


def film(number: int, start_s: float, *, num: int = 3) -> Iterator[tuple[float, BuildEvent]]:
    """Yield (time, event) of one film of ten minutes: first its sound, then its pictures."""
    about_it: dict[str, Any] = {"name": f"film{number}.mp4", "number": number, "length_s": LENGTH_S}
    now_s = start_s
    yield now_s, BuildEvent(kind="video", size_bytes=1000, total=num, **about_it)
    for source, cost in (("speech", SPEECH), ("pictures", PICTURES)):
        for step in range(1, round(LENGTH_S / STEP_S) + 1):
            now_s += cost * STEP_S
            kind: Any = "clip" if source == "pictures" else "track"
            yield now_s, BuildEvent(kind=kind, text=source, at_s=step * STEP_S, **about_it)
    yield now_s, BuildEvent(
        kind="done_video", text="10:00 of film in 3:30", done=number, total=num, size_bytes=1000,
        **about_it,
    )  # fmt: skip


def start(num: int) -> BuildEvent:
    return BuildEvent(kind="start", total=num, size_bytes=num * 1000)


def test_nothing_is_estimated_before_it_was_measured() -> None:
    pace = Pace()
    pace.take(start(3), 0.0)
    (first, opened), *_ = film(1, 0.0)
    pace.take(opened, first)
    assert pace.line() == "file 1 of 3  film1.mp4"
    assert (pace.stage_left_s(), pace.all_left_s()) == (None, None)


def test_time_left_is_the_work_left_at_the_pace_of_each_source() -> None:
    pace = Pace()
    pace.take(start(3), 0.0)
    for now_s, event in film(1, 0.0):
        pace.take(event, now_s)
        if event.kind == "track" and event.at_s == 240.0:
            assert pace.stage_left_s() == pytest.approx((LENGTH_S - 240.0) * SPEECH)
            assert pace.line() == "file 1 of 3  film1.mp4  speech 4:00 of 10:00  about 40 s left"
            assert pace.all_left_s() is None, "its pictures were not seen yet"
    one_s = LENGTH_S * (SPEECH + PICTURES)
    assert pace.all_left_s() == pytest.approx(2 * one_s)
    for now_s, event in film(2, one_s):
        pace.take(event, now_s)
        if event.kind == "clip" and event.at_s == 300.0:
            here_s = 300.0 * PICTURES
            assert pace.all_left_s() == pytest.approx(one_s + here_s)
            assert pace.line().endswith(
                "film2.mp4  pictures 5:00 of 10:00  about 80 s left  (all: about 5 min)"
            )
    assert pace.all_left_s() == pytest.approx(one_s)


def test_what_a_resumed_build_flies_over_is_soon_forgotten() -> None:
    pace = Pace()
    pace.take(start(1), 0.0)
    events = [event for _, event in film(1, 0.0)]
    stored, rest = events[1:6], events[6:11]
    pace.take(events[0], 0.0)
    for event in stored:
        pace.take(event, 0.0)
    for step, event in enumerate(rest, start=1):
        pace.take(event, step * 60.0)  # a minute of work each
    cost = pace.costs["speech"].per_film_s
    assert 0.85 < cost < 1.0, "true is 1.0; the mean would be 0.5"


def test_loading_a_model_is_shown_and_is_no_work_on_the_film() -> None:
    pace = Pace()
    events = film(1, 0.0)
    pace.take(start(1), 0.0)
    pace.take(next(events)[1], 0.0)
    pace.take(BuildEvent(kind="loading", text="speech-base"), 1.0)
    assert pace.line() == "file 1 of 1  film1.mp4  loading speech-base"
    pace.take(BuildEvent(kind="loaded", text="speech-base"), 100.0)
    assert pace.line() == "file 1 of 1  film1.mp4"
    pace.take(next(events)[1], 106.0)
    assert pace.stage_left_s() is None
    pace.take(next(events)[1], 112.0)
    assert pace.stage_left_s() == pytest.approx((LENGTH_S - 120.0) * 6.0 / STEP_S)


def test_what_a_source_does_once_is_not_expected_again() -> None:
    pace = Pace()
    events = film(1, 0.0)
    pace.take(start(1), 0.0)
    for now_s in (0.0, 90.0, 96.0):  # a minute and a half until the first step
        pace.take(next(events)[1], now_s)
    assert pace.stage_left_s() == pytest.approx((LENGTH_S - 120.0) * 6.0 / STEP_S)


def test_an_unchanged_file_is_no_work_left() -> None:
    pace = Pace()
    pace.take(start(3), 0.0)
    same = BuildEvent(kind="done_video", name="b.mp4", text="unchanged", number=1, size_bytes=2500)
    pace.take(same, 0.0)
    assert pace.num_built == 0
    assert pace.unopened_bytes == 500


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "a few seconds"), (11, "about 20 s"), (89, "about 90 s"), (90, "about 2 min"),
     (3569, "about 60 min"), (3571, "about 1 h"), (7000, "about 2 h"), (5000, "about 1 h 25 min")],
)  # fmt: skip
def test_an_estimate_is_told_in_round_numbers(seconds: float, words: str) -> None:
    assert about(seconds) == words


def test_a_name_from_outside_draws_nothing_and_leaves_room() -> None:
    pace = Pace(num_files=1, number=1, name="\x1b[2J" + "a" * 60 + " part 12.mp4")
    line = pace.line()
    assert "\x1b" not in line
    assert line.endswith("part 12.mp4")
    assert len(line) < 60


def test_without_a_terminal_a_long_file_gets_a_line_every_half_minute() -> None:
    lines: list[str] = []
    clock = [0.0]
    watch = Lines(lines.append, lambda: clock[0])
    watch(start(1))
    for clock[0], event in film(1, 0.0, num=1):
        watch(event)
    assert lines[0] == "[0/1] reading film1.mp4 (10:00)"
    assert lines[1] == "file 1 of 1  film1.mp4  speech 5:00 of 10:00  about 30 s left"
    assert lines[-1] == "[1/1] done film1.mp4: 10:00 of film in 3:30"
    assert len(lines) == 2 + 210 // 30


def test_a_source_tells_how_far_it_has_come_within_a_stretch() -> None:
    heard: list[float] = []

    def stretches() -> Iterator[str]:
        for begin_s in (0.0, 600.0):
            with counted_from(begin_s):
                read_up_to(30.0)
            yield "stretch"

    read_up_to(1.0)
    assert list(reported(stretches(), heard.append)) == ["stretch", "stretch"]
    read_up_to(2.0)
    assert heard == [30.0, 630.0]


SCRIPT = """
import time
from fdvs.report import BuildEvent
from fdvs.pipelines.show.progress import watching
with watching(is_quiet=False) as watch:
    watch(BuildEvent(kind="start", total=1, size_bytes=9))
    watch(BuildEvent(kind="loading", text="speech-base"))
    time.sleep(0.8)
    watch(BuildEvent(kind="loaded", text="speech-base"))
    watch(BuildEvent(kind="video", name="a.mp4", number=1, total=1, length_s=90.0, size_bytes=9))
    watch(BuildEvent(kind="track", name="a.mp4", text="speech", number=1, at_s=65, length_s=90))
    time.sleep(0.8)
    watch(BuildEvent(kind="done_video", name="a.mp4", text="1:30 of film in 0:01", number=1,
                     done=1, total=1))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
def test_a_terminal_shows_what_is_at_work_and_keeps_a_line_a_video(tmp_path: Path) -> None:
    import os
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "24"}
    program = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=theirs, stdout=theirs, stderr=theirs,
        env=environment, cwd=tmp_path,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # how Linux ends a pseudo terminal
            break
        if not piece:
            break
        shown += piece
    assert program.wait(timeout=20) == 0
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert "loading speech-base" in text
    assert "file 1 of 1  a.mp4  speech 1:05 of 1:30" in text
    lines = [line.strip() for line in re.split(r"[\r\n]+", text) if line.strip()]
    assert "[1/1] done a.mp4: 1:30 of film in 0:01" in lines
