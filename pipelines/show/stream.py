"""A model's words as they come, for a person at a terminal: not yet checked, and said so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from fdvs.text.clean import one_line

FAINT, PLAIN = "\x1b[2m", "\x1b[0m"
HEADING = "unchecked: "


@contextmanager
def streamed_to(out: TextIO | None) -> Iterator[Callable[[str], None] | None]:
    """Give a function that shows pieces of text on a terminal, faintly, on one line.

    Gives None where `out` is None or no terminal: a pipe gets the checked answer alone.
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
    """Return a piece of text without controls; a sequence that spans pieces loses its start, too.

    >>> safe_piece("a\\x1b[31m b\\n")
    'a b '
    """
    inner = one_line(piece)
    before = " " if piece[:1].isspace() else ""
    after = " " if piece[-1:].isspace() and inner else ""
    return before + inner + after
