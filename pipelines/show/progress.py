"""What is shown while work goes on: a build's progress, and an answer as it is written.

A build shows a bar in a terminal and a line per video elsewhere. An answer's words appear in a
terminal as they come, not yet checked, and say so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from fdvs.report import BuildEvent, Watcher
from fdvs.text.clean import one_line
from fdvs.text.plain import plain_line

FAINT, PLAIN = "\x1b[2m", "\x1b[0m"
HEADING = "unchecked: "
LABELS = {"video": "reading ", "done_video": "done ", "failed": "failed ", "waiting": "waiting: "}


@contextmanager
def watching(*, is_quiet: bool) -> Iterator[Watcher]:
    """Give a watcher for one build; quiet means plain lines even in a terminal."""
    if is_quiet or not sys.stderr.isatty():
        yield write_line
        return
    with _bar() as watcher:
        yield watcher


def write_line(event: BuildEvent) -> None:
    """Write an event as one line; clips are too many for that."""
    text = describe(event)
    if text and event.kind not in ("clip", "track"):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def describe(event: BuildEvent) -> str:
    """Return an event as one line; "" where there is nothing to say.

    >>> describe(BuildEvent(kind="done_video", name="a.mp4", text="unchanged", done=1, total=2))
    '[1/2] done a.mp4: unchanged'
    """
    text = ": ".join(part for part in (plain_line(event.name), one_line(event.text)) if part)
    if not text:
        return ""
    counter = f"[{event.done}/{event.total}] " if event.total else ""
    return f"{counter}{LABELS.get(event.kind, '')}{text}"


@contextmanager
def _bar() -> Iterator[Watcher]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    out = Console(stderr=True, markup=False, emoji=False, highlight=False)
    words = TextColumn("{task.description}", markup=False)
    columns = (words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True) as progress:
        task = progress.add_task("starting", total=None)

        def watch(event: BuildEvent) -> None:
            if event.kind in ("clip", "track"):
                progress.update(
                    task,
                    description=plain_line(event.name)[:40],
                    completed=event.done,
                    total=event.total or None,
                )
            elif text := describe(event):
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
