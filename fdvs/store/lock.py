"""One build at a time: a lock of the operating system, so that a dead process never blocks.

The lock file itself stays empty (some versions of filelock truncate it); the process that builds is
recorded in a file beside it, which is read only while the lock is held.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from fdvs.errors import LibraryBusy
from fdvs.files import write_whole
from fdvs.store.schema import store_errors

LOCK_NAME = "build.lock"
BUILDER_NAME = "builder.json"
POLL_S = 0.2

logger = logging.getLogger(__name__)


@contextmanager
def build_lock(
    folder: Path, *, wait: bool = True, on_wait: Callable[[str], None] | None = None
) -> Iterator[None]:
    """Hold the library's build lock.

    Args:
        wait: wait for another build to end; otherwise LibraryBusy is raised at once.
        on_wait: called once with a line that names the process waited for.
    """
    lock = FileLock(folder / LOCK_NAME)
    if not _try_lock(lock, folder):
        builder = read_builder(folder)
        if not wait:
            raise LibraryBusy(
                f"library {folder} is being built by {builder}; wait for it or stop it"
            )
        message = f"waiting for {builder}, which builds library {folder}"
        logger.info("%s", message)
        if on_wait is not None:
            on_wait(message)
        with store_errors(folder):
            lock.acquire(poll_interval=POLL_S)
    try:
        with store_errors(folder):
            _write_builder(folder)
        yield
    finally:
        with suppress(OSError):  # a file left behind is harmless: only the lock counts
            (folder / BUILDER_NAME).unlink(missing_ok=True)
        lock.release()


def _try_lock(lock: BaseFileLock, folder: Path) -> bool:
    with store_errors(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return False
    return True


def _write_builder(folder: Path) -> None:
    """Write down who holds the lock."""
    builder = {"pid": os.getpid(), "host": socket.gethostname()}
    write_whole(folder / BUILDER_NAME, json.dumps(builder))


def read_builder(folder: Path) -> str:
    """Return the process that holds the lock, for a message; its file may be unreadable."""
    try:
        note = json.loads((folder / BUILDER_NAME).read_bytes())
        return f"process {int(note['pid'])} on {str(note['host'])[:100]!r}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
