"""What the server serves: one library, its builds, and one answer at a time."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue, ModelUnavailable, NotAllowed, NotFound, TooMany
from fdvs.media.files import collect
from fdvs.pipelines.library import Library
from fdvs.pipelines.machine import DoctorJson
from fdvs.pipelines.serve.bounds import MAX_QUESTION_CHARS
from fdvs.pipelines.serve.jobs import Job, Jobs
from fdvs.pipelines.serve.streams import MAX_STREAMS
from fdvs.pipelines.watching import settled
from fdvs.types import Answer, VideoRow

MAX_WAITING = 8  # questions; more are refused
QUESTION_BOUND = f"at most {MAX_QUESTION_CHARS} characters"
HEALTH_S = 30.0  # that a look at this machine is told again
MAX_AT_ONCE = 100  # files of one build, of those that appear

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What clients may change: nothing, or add what lies in some folders (None: anywhere)."""

    is_read_only: bool = False
    add_from: tuple[Path, ...] | None = None


class Engine:
    """The library of a server. `library` may be used from any thread."""

    def __init__(self, library: Library, doors: Doors | None = None) -> None:
        self.library = library
        self.doors = doors or Doors()
        self.jobs = Jobs(library.path)
        self.is_ready = False
        self._waiting = threading.Semaphore(MAX_WAITING)
        self._asking = threading.Lock()
        self.streams = threading.BoundedSemaphore(MAX_STREAMS)
        self._closing = threading.Event()
        self._examining = threading.Lock()
        self._health: tuple[float, DoctorJson] | None = None

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

        Raises InvalidValue for one that is too long, TooMany where too many wait.
        """
        if len(question) > MAX_QUESTION_CHARS:
            raise InvalidValue("question", f"{len(question)} characters", QUESTION_BOUND)
        if not self._waiting.acquire(blocking=False):
            raise TooMany(f"{MAX_WAITING} questions are waiting; ask again later", after_s=30)
        try:
            with self._asking:
                more: dict[str, Any] = {"options": list(options)} if options else {}
                return self.library.ask(question, video=video, on_text=on_text, **more)
        finally:
            self._waiting.release()

    def doctor(self) -> DoctorJson:
        """Return what is installed here and can run, and whether the library's settings can.

        It takes seconds, so one is made at a time and told again for `HEALTH_S`.
        """
        from fdvs.pipelines.doctor import examine, preset_state

        with self._examining:
            if self._health is None or time.monotonic() - self._health[0] > HEALTH_S:
                config = self.library.config
                state = preset_state(config.preset, config)
                made = DoctorJson(health=examine(self.library.path), settings=state)
                self._health = time.monotonic(), made
            return self._health[1]

    def build(self, paths: Sequence[str]) -> Job:
        """Start a build. Raises NotAllowed, InvalidValue for a path that may not be added."""
        self._check_changes()
        return self.jobs.start([str(self._addable(path)) for path in paths])

    def stop(self, job: Job) -> None:
        """Stop a build; what it finished stays. Raises NotAllowed."""
        self._check_changes()
        self.jobs.stop(job)

    def remove(self, video: str) -> VideoRow:
        """Remove a video from the library; its file stays. Raises NotAllowed, NotFound."""
        self._check_changes()
        return self.library.remove(video)

    def _check_changes(self) -> None:
        if self.doors.is_read_only:
            raise NotAllowed("this server only reads: it was started with --read-only")

    def _addable(self, path: str) -> Path:
        """Return the file or folder that a path leads to, if it may be added."""
        given, roots = Path(path).expanduser(), self.doors.add_from
        if roots is None:
            if not given.exists():
                raise InvalidValue("path", path, "a file or folder on this machine")
            return given.absolute()
        if not roots:
            raise NotAllowed("this server adds nothing: it was started without --add-from FOLDER")
        real = given.resolve()
        is_inside = any(real.is_relative_to(root) for root in roots)
        if not is_inside or not real.exists():  # what lies outside is not told
            raise InvalidValue("path", path, "a file or folder in one that --add-from names")
        for file in collect([real]).files:
            if not any(file.resolve().is_relative_to(root) for root in roots):
                raise InvalidValue("path", path, "a folder without links that lead out of it")
        return real

    def watch(self, folders: Sequence[str | Path]) -> None:
        """Build what is in folders and what appears there, when it is complete.

        Raises InvalidValue, ModelUnavailable; see `fdvs.pipelines.watching.settled`.
        """
        appearing = settled(folders, stop=self._closing)

        def follow() -> None:
            try:
                for files in appearing:
                    for start in range(0, len(files), MAX_AT_ONCE):
                        part = files[start : start + MAX_AT_ONCE]
                        self.jobs.start([str(path) for path in part]).wait()
            except ModelUnavailable as error:
                logger.error("no longer watching %s: %s", folders, error)

        threading.Thread(target=follow, name="fdvs-watching", daemon=True).start()

    def job(self, number: int) -> Job:
        """Return a build. Raises NotFound."""
        job = self.jobs.get(number)
        if job is None:
            raise NotFound(f"no build number {number}; there are {len(self.jobs.jobs)}")
        return job

    def close(self) -> None:
        """Stop watching and building, and close the library."""
        self._closing.set()
        self.jobs.close()
        self.library.close()
