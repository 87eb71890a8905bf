"""SIGINT and SIGTERM end every command in seconds, with exit code 130 or 143 and no traceback.

Three phases. While modules are loaded there is nothing to keep: the process ends at once. While a
command works, the signal is a KeyboardInterrupt in the main thread, so that files and databases
are closed; a thread watches, and ends the process where that takes too long, for the main thread
may be inside of a native library. At the end nothing of the interpreter is taken down: threads
inside of native libraries would abort the process (SIGABRT).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

HANDLED = (signal.SIGINT, signal.SIGTERM)
EXIT_BASE = 128  # exit code of a signal: this and its number
GRACE_S = 3.0
TOLD = "fdvs: interrupted: finished work is kept; run the same command again to resume\n"


class _State:
    """What the handlers share; there is one main thread and one set of handlers a process."""

    caught = 0
    grace_s = GRACE_S
    is_watching = False
    wakes: socket.socket | None = None  # kept open as long as the process lives


def end_at_once() -> None:
    """From now on, a signal ends the process at once."""
    _handle(_leave)


def interrupt_main() -> None:
    """From now on, a signal interrupts the main thread, and the process if that takes too long."""
    _watch()
    _handle(_interrupt)


def allow(seconds: float) -> None:
    """Give the command this long to end after a signal."""
    _State.grace_s = seconds


def exit_code(default: int) -> int:
    """Return the exit code of the signal that was caught, `default` without one."""
    return EXIT_BASE + _State.caught if _State.caught else default


def leave(code: int) -> NoReturn:
    """End the process: in the usual way, or after a signal at once, with what was printed."""
    if not _State.caught:
        end_at_once()
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _handle(handler: object) -> None:
    if threading.current_thread() is not threading.main_thread():
        return
    for number in HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:  # a job in the background stays one
            signal.signal(number, handler)  # type: ignore[arg-type]


def _leave(number: int, frame: FrameType | None) -> None:
    _end(number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _State.caught:  # the second one: at once
        _end(number)
    _State.caught = number
    raise KeyboardInterrupt


def _watch() -> None:
    """Start the thread that hears of a signal even while the main thread cannot."""
    if _State.is_watching or threading.current_thread() is not threading.main_thread():
        return
    heard, written = socket.socketpair()  # pipes cannot be used for this on Windows
    written.setblocking(False)
    signal.set_wakeup_fd(written.fileno(), warn_on_full_buffer=False)
    _State.wakes = written
    threading.Thread(target=_end_in_time, args=(heard,), name="fdvs-signals", daemon=True).start()
    _State.is_watching = True


def _end_in_time(heard: socket.socket) -> None:
    while True:
        numbers = [one for one in heard.recv(64) if one in HANDLED]
        handled = [one for one in numbers if signal.getsignal(one) is not signal.SIG_IGN]
        if handled:
            time.sleep(_State.grace_s)
            _end(handled[0])


def _end(number: int) -> NoReturn:
    with contextlib.suppress(OSError):
        os.write(2, TOLD.encode())
    os._exit(EXIT_BASE + number)
