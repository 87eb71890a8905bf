"""What is shown while work goes on: a build's progress, and an answer as it is written.

A terminal gets one line that says what is at work, how far it has come and how long it may take,
and above it a line per video as it is committed. Elsewhere there are only such lines, and one
every half minute while a long file is at work. An answer's words appear in a
terminal as they come, not yet checked, and say so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from fdvs.pipelines.show.pace import Pace
from fdvs.report import BuildEvent, Watcher
from fdvs.text.clean import one_line
from fdvs.text.plain import plain_line
from fdvs.text.timecode import end_code

FAINT, PLAIN = "\x1b[2m", "\x1b[0m"
HEADING = "unchecked: "
LABELS = {
    "video": "reading ",
    "done_video": "done ",
    "failed": "failed ",
    "waiting": "waiting: ",
    "loading": "loading ",
}
EVERY_S = 30.0


@contextmanager
def watching(*, is_quiet: bool) -> Iterator[Watcher]:
    """Give a watcher for one build; quiet means plain lines even in a terminal."""
    if is_quiet or not sys.stderr.isatty():
        yield Lines(_write_line, time.monotonic)
        return
    with _live() as watcher:
        yield watcher


class Lines:
    """A watcher that writes plain lines: one for each file's steps, and now and then how far."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._write, self._clock = write, clock
        self._pace = Pace()
        self._last_s = clock()

    def __call__(self, event: BuildEvent) -> None:
        """Take in an event, and write its line if it has one."""
        now_s = self._clock()
        self._pace.take(event, now_s)
        text = describe(event)
        if event.kind in ("clip", "track"):
            text = self._pace.line() if now_s - self._last_s >= EVERY_S else ""
        if text:
            self._write(text)
            self._last_s = now_s


def _write_line(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def describe(event: BuildEvent) -> str:
    """Return an event as one line; "" where there is nothing to say.

    >>> describe(BuildEvent(kind="done_video", name="a.mp4", text="unchanged", done=1, total=2))
    '[1/2] done a.mp4: unchanged'
    """
    if event.kind == "loaded":
        return ""
    text = ": ".join(part for part in (plain_line(event.name), one_line(event.text)) if part)
    if not text:
        return ""
    if event.kind == "video" and event.length_s:
        text = f"{plain_line(event.name)} ({end_code(event.length_s)})"
    counter = f"[{event.done}/{event.total}] " if event.total else ""
    return f"{counter}{LABELS.get(event.kind, '')}{text}"


@contextmanager
def _live() -> Iterator[Watcher]:
    """Give a watcher that keeps one line up to date and prints lasting lines above it."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    out = Console(stderr=True, markup=False, emoji=False, highlight=False)
    words = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    columns = (SpinnerColumn("line"), words, TimeElapsedColumn())
    pace = Pace()
    with Progress(*columns, console=out, transient=True, refresh_per_second=2) as progress:
        task = progress.add_task(pace.line(), total=None)

        def watch(event: BuildEvent) -> None:
            pace.take(event, time.monotonic())
            progress.update(task, description=pace.line())
            lasting = event.kind in ("done_video", "failed", "waiting")
            if lasting and (text := describe(event)):
                progress.console.print(Text(text, style="dim"), soft_wrap=True)

        yield watch


@contextmanager
def streamed_to(out: TextIO | None) -> Iterator[Callable[[str], None] | None]:
    """Give a function that shows pieces of text on a terminal, dimmed, on one line.

    Gives None where `out` is None or not a terminal: a pipe gets only the checked answer.
    """
    if out is None or not out.isatty():
        yield None
        return
    shown = False

    def show(piece: str) -> None:
        nonlocal shown
        out.write(("" if shown else FAINT + HEADING) + safe_piece(piece))
        out.flush()
        shown = True

    try:
        yield show
    finally:
        if shown:
            out.write(PLAIN + "\n")
            out.flush()


def safe_piece(piece: str) -> str:
    """Return a piece of text without control characters, its outer spaces kept.

    Of an escape sequence that spans two pieces, the letters after the escape remain.

    >>> safe_piece("a\\x1b[31m b\\n")
    'a b '
    """
    inner = one_line(piece)
    before = " " if piece[:1].isspace() else ""
    after = " " if piece[-1:].isspace() and inner else ""
    return before + inner + after
