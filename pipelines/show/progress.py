"""A running build on standard error: a bar in a terminal, a line per video elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fdvs.report import BuildEvent, Watcher
from fdvs.text.clean import one_line


@contextmanager
def watching(*, is_quiet: bool) -> Iterator[Watcher]:
    """Give a watcher for one build; quiet is plain lines even in a terminal."""
    if is_quiet or not sys.stderr.isatty():
        yield write_line
        return
    with _bar() as watcher:
        yield watcher


def write_line(event: BuildEvent) -> None:
    """Write what matters of an event as one line; clips are too many to tell."""
    text = describe(event)
    if text and event.kind != "clip":
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


WORDS = {"video": "reading ", "done_video": "done ", "failed": "failed ", "waiting": "waiting: "}


def describe(event: BuildEvent) -> str:
    """Return an event in words; empty where there is nothing to say.

    >>> describe(BuildEvent(kind="done_video", name="a.mp4", text="unchanged", done=1, total=2))
    '[1/2] done a.mp4: unchanged'
    """
    told = ": ".join(part for part in (one_line(event.name), one_line(event.text)) if part)
    if not told:
        return ""
    counter = f"[{event.done}/{event.total}] " if event.total else ""
    return f"{counter}{WORDS.get(event.kind, '')}{told}"


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
            if event.kind == "clip":
                progress.update(
                    task,
                    description=one_line(event.name)[:40],
                    completed=event.done,
                    total=event.total or None,
                )
            elif text := describe(event):
                progress.console.print(Text(text, style="dim"), soft_wrap=True)

        yield watch
