"""One open store a thread, so that a library may be used from a page, a notebook, an executor.

SQLite connections belong to the thread that opened them; what is read through them (the index, the
models) is shared.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

from fdvs.errors import StoreError
from fdvs.store.schema import DATABASE_NAME
from fdvs.store.store import Store

Signature = tuple[tuple[int, int], ...]


class ThreadStores:
    """The stores of one library's folder; `here` returns that of the calling thread."""

    def __init__(self, store: Store) -> None:
        self.folder: Path = store.folder
        self._local = threading.local()
        self._local.store = store
        self._all = [store]
        self._lock = threading.Lock()
        self._is_closed = False

    def here(self) -> Store:
        """Return the calling thread's store, opened at its first call. Raises StoreError."""
        store: Store | None = getattr(self._local, "store", None)
        if store is not None:
            return store
        with self._lock:
            if self._is_closed:
                raise StoreError(f"the library in {self.folder} is closed; open it again")
            store = Store.open(self.folder)
            self._all.append(store)
        self._local.store = store
        return store

    def close(self) -> None:
        """Close the store of this thread; those of others close with their threads."""
        with self._lock:
            self._is_closed = True
            for store in self._all:
                with contextlib.suppress(sqlite3.ProgrammingError):
                    store.close()
            self._all.clear()

    def signature(self) -> Signature:
        """Return what changes when any process writes to the library."""
        found = []
        for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal"):
            try:
                stat = (self.folder / name).stat()
                found.append((stat.st_mtime_ns, stat.st_size))
            except OSError:
                found.append((0, 0))
        return tuple(found)
