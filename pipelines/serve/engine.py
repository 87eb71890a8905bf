"""What the server serves: one library, its builds, and one answer at a time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue, LibraryBusy, NotFound
from fdvs.pipelines.library import Library
from fdvs.pipelines.serve.jobs import Job, Jobs
from fdvs.types import Answer

MAX_WAITING = 8  # questions; more are refused


class Engine:
    """The library of a server. `library` may be used from any thread."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.jobs = Jobs(library.path)
        self.is_ready = False
        self._waiting = threading.Semaphore(MAX_WAITING)
        self._asking = threading.Lock()

    def warm_up(self) -> None:
        """Load index and models in the background, so that the first search does not wait."""

        def load() -> None:
            with contextlib.suppress(Exception):  # what is wrong, the first request is told
                self.library.search("warm up", num=1)
            self.is_ready = True

        threading.Thread(target=load, daemon=True).start()

    def ask(
        self,
        question: str,
        *,
        video: str | None = None,
        options: Sequence[str] | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Answer:
        """Answer a question, after those that were asked before.

        Raises LibraryBusy where too many wait.
        """
        if not self._waiting.acquire(blocking=False):
            raise LibraryBusy(f"{MAX_WAITING} questions are waiting; ask again in a minute")
        try:
            with self._asking:
                more: dict[str, Any] = {"options": list(options)} if options else {}
                return self.library.ask(question, video=video, on_text=on_text, **more)
        finally:
            self._waiting.release()

    def build(self, paths: Sequence[str]) -> Job:
        """Start a build. Raises InvalidValue for a path that is not on this machine."""
        for path in paths:
            if not Path(path).expanduser().exists():
                raise InvalidValue("path", path, "a file or folder on this machine")
        return self.jobs.start([str(Path(path).expanduser().absolute()) for path in paths])

    def job(self, number: int) -> Job:
        """Return a build. Raises NotFound."""
        job = self.jobs.get(number)
        if job is None:
            raise NotFound(f"no build number {number}; there are {len(self.jobs.jobs)}")
        return job

    def close(self) -> None:
        """Stop builds and close the library."""
        self.jobs.close()
        self.library.close()
