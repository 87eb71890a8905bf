"""Builds that the page starts: child processes, one at a time, whose events are kept and told.

A child is `fdvs build --events`: what crashes a decoder cannot take the server along, and a
stopped build keeps what is finished. The last events of a job are kept by number, so that a page
that was closed can go on where it was.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from typing_extensions import TypedDict

from fdvs.pipelines.results import BuildReportJson

MAX_EVENTS = 500
KILL_AFTER_S = 30.0
MAX_LINE = 64 * 1024


Status = Literal["waiting", "running", "done", "failed", "stopped"]


class JobJson(TypedDict):
    """A build that a server started; `event` is the last one, `report` that of its end."""

    number: int
    paths: list[str]
    status: Status
    error: str
    event: dict[str, Any] | None
    report: BuildReportJson | None


@dataclass
class Job:
    """One build."""

    number: int
    paths: tuple[str, ...]
    status: Status = "waiting"
    events: deque[tuple[int, dict[str, Any]]] = field(
        default_factory=lambda: deque(maxlen=MAX_EVENTS)
    )
    report: BuildReportJson | None = None
    error: str = ""
    changed: threading.Condition = field(default_factory=threading.Condition)
    process: subprocess.Popen[str] | None = None
    wants_stop: bool = False

    def tell(self, event: dict[str, Any], status: Status | None = None) -> None:
        """Add an event, with it a new status, and wake who waits for the end."""
        with self.changed:
            last = self.events[-1][0] if self.events else 0
            self.events.append((last + 1, event))
            self.status = status or self.status
            self.changed.notify_all()

    def after(self, number: int) -> list[tuple[int, dict[str, Any]]]:
        """Return the events after a number."""
        with self.changed:
            return [one for one in self.events if one[0] > number]

    def wait(self) -> None:
        """Wait until the job is over."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_over)

    @property
    def is_over(self) -> bool:
        return self.status in ("done", "failed", "stopped")

    def as_json(self) -> JobJson:
        """Return the state for the page and the API."""
        return {
            "number": self.number,
            "paths": list(self.paths),
            "status": self.status,
            "error": self.error,
            "event": self.events[-1][1] if self.events else None,
            "report": self.report,
        }


class Jobs:
    """The builds of one server, in the order in which they were asked for."""

    def __init__(self, library: Path) -> None:
        self._library = library
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # one build at a time; the library allows no more
        self._is_closed = False
        self.jobs: list[Job] = []

    def start(self, paths: Sequence[str]) -> Job:
        """Start a build of files or folders on this machine, after those that wait."""
        with self._lock:
            job = Job(number=len(self.jobs) + 1, paths=tuple(paths))
            self.jobs.append(job)
        threading.Thread(target=self._run, args=(job,), daemon=True).start()
        return job

    def get(self, number: int) -> Job | None:
        """Return a job, None where there is none of that number."""
        return self.jobs[number - 1] if 0 < number <= len(self.jobs) else None

    def stop(self, job: Job) -> None:
        """Interrupt a job; what it finished stays. One that does not end is killed."""
        job.wants_stop = True
        process = job.process
        if process is None or process.poll() is not None:
            return
        _interrupt(process)
        threading.Timer(KILL_AFTER_S, _kill, (process,)).start()

    def close(self) -> None:
        """Interrupt whatever runs, wait for it, and start nothing more."""
        self._is_closed = True
        for job in self.jobs:
            if not job.is_over:
                self.stop(job)
                if job.process is not None:
                    try:
                        job.process.wait(KILL_AFTER_S)
                    except subprocess.TimeoutExpired:
                        _kill(job.process)

    def _run(self, job: Job) -> None:
        with self._turn:
            if job.wants_stop or self._is_closed:
                self._end(job, "stopped")
                return
            try:
                self._watch(job)
            except OSError as error:
                job.error = str(error)
                self._end(job, "failed")

    def _watch(self, job: Job) -> None:
        program = [sys.executable, "-c", "from fdvs.pipelines.cli.start import main; main()"]
        line = [*program, "build", "--events", "-l", str(self._library), "--", *job.paths]
        job.process = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, errors="replace",
        )  # fmt: skip
        job.tell({"kind": "start"}, "running")
        errors: deque[str] = deque(maxlen=20)
        reader = threading.Thread(target=_drain, args=(job.process.stderr, errors), daemon=True)
        reader.start()
        assert job.process.stdout is not None
        for text in job.process.stdout:
            self._take(job, text[:MAX_LINE])
        code = job.process.wait()
        reader.join(1)
        job.error = "" if code in (0, 1) else " ".join(errors)[-500:]
        self._end(job, "stopped" if job.wants_stop else "done" if code in (0, 1) else "failed")

    def _take(self, job: Job, text: str) -> None:
        try:
            event = json.loads(text)
        except ValueError:
            return
        if isinstance(event, dict) and event.get("kind") == "report":
            job.report = event.get("report")
        elif isinstance(event, dict):
            job.tell(event)

    def _end(self, job: Job, status: Status) -> None:
        job.tell({"kind": "end", "status": status, "error": job.error}, status)


def _drain(stream: Any, into: deque[str]) -> None:
    for line in stream:
        into.append(line.strip())


def _interrupt(process: subprocess.Popen[str]) -> None:
    """Ask a build to end; Windows cannot, and a killed build loses only the clips in flight."""
    if sys.platform == "win32":
        process.terminate()
    else:
        process.send_signal(signal.SIGINT)


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
