"""Log lines that are lines: whatever a name or a message holds, it draws nothing on a terminal.

File names may carry line breaks, colours, window titles and direction overrides. A message is one
line; a traceback has its own lines, indented, so that none of them looks like a message.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import TextIO

from fdvs.text.clean import one_line

INDENT = "    "


class LineFormatter(logging.Formatter):
    """Formats a record as `LEVEL message` without control characters."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, and the lines of its traceback."""
        lines = [one_line(f"{record.levelname} {record.getMessage()}")]
        if record.exc_info and record.exc_info[1] is not None:
            lines.append(shown_traceback(record.exc_info[1]))
        elif record.exc_text:
            lines.append(_indented(record.exc_text))
        if record.stack_info:
            lines.append(_indented(record.stack_info))
        return "\n".join(lines)


def shown_traceback(error: BaseException) -> str:
    """Return an error's traceback, indented, without control characters."""
    return _indented("".join(traceback.format_exception(error)))


def _indented(text: str) -> str:
    lines = text.split("\n")
    kept = (line[: len(line) - len(line.lstrip(" "))] + one_line(line) for line in lines)
    return "\n".join(INDENT + line for line in kept if line.strip())


def log_to(stream: TextIO, level: int) -> None:
    """Let the root logger write lines to a stream, unless it writes already."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=level, handlers=[handler])


def print_traceback(error: BaseException) -> None:
    """Print an error's traceback to standard error."""
    sys.stderr.write(shown_traceback(error) + "\n")
