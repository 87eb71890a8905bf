"""A build's events for a page that stays open: server-sent, few at a time, never in a thread."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from fdvs.errors import TooMany
from fdvs.pipelines.serve.jobs import Job
from fdvs.pipelines.serve.problems import problem

MAX_STREAMS = 32  # open at once, of all clients
HEARTBEAT_S = 15.0  # so that who went away is noticed
LOOK_S = 0.2


class Events(StreamingResponse):
    """The events of a job after a number, until it is over."""

    def __init__(self, job: Job, start: int, places: threading.Semaphore) -> None:
        super().__init__(_told(job, start), media_type="text/event-stream")
        self._places = places

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send what there is and what comes; refuse where too many are open."""
        if not self._places.acquire(blocking=False):
            refused = TooMany(f"{MAX_STREAMS} builds are being followed", after_s=10)
            await problem(refused)(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.release()


async def _told(job: Job, start: int) -> AsyncIterator[str]:
    last, quiet_since_s = start, time.monotonic()
    while True:
        is_over = job.is_over  # before the events are read: the last one is told with it
        found = job.after(last)
        for last, event in found:
            yield f"id: {last}\ndata: {json.dumps(event)}\n\n"
        if is_over and not found:
            return
        if found:
            quiet_since_s = time.monotonic()
        elif time.monotonic() - quiet_since_s >= HEARTBEAT_S:
            quiet_since_s = time.monotonic()
            yield ": still at work\n\n"
        await asyncio.sleep(0 if found else LOOK_S)
