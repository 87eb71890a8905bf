"""Bounds of what one client may ask for: the size of a body, its time, and requests a second.

Stands behind the guard, before all else. Bodies are read here, so that no handler waits for a slow
client; those of addresses with a bound of their own pass.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from fastapi.responses import JSONResponse

from fdvs.errors import TooMany
from fdvs.pipelines.serve.problems import problem

MAX_BODY_BYTES = 64 * 1024
BODY_S = 10.0  # that a body may take to come
RATE, BURST = 120.0, 240.0  # requests a second of one client, and at once
MAX_CLIENTS = 1000


class TooLarge(ValueError):
    """A body is larger than its bound."""


class Bucket:
    """Tokens of one client: a request takes one, time gives them back."""

    def __init__(self, now_s: float) -> None:
        self._tokens, self._seen_s = BURST, now_s

    def take(self, now_s: float) -> bool:
        """Take a token; False where none is left."""
        self._tokens = min(BURST, self._tokens + (now_s - self._seen_s) * RATE)
        self._seen_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Limits:
    """ASGI middleware that refuses what is too large, too slow or too often."""

    def __init__(
        self,
        app: Any,
        *,
        own_bounds: Mapping[str, int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`own_bounds` are the most bytes of bodies by path, where it is not MAX_BODY_BYTES."""
        self._app = app
        self._own_bounds = own_bounds
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if not self._may_ask(str((scope.get("client") or ("",))[0])):
            await problem(TooMany("too many requests", after_s=1))(scope, receive, send)
            return
        refused: JSONResponse | None = None
        try:
            receive = await self._checked(scope, receive)
        except TooLarge as error:
            refused = problem(error, status=413)
        except TimeoutError:
            late = ValueError(f"the body did not come within {BODY_S:g} s")
            refused = problem(late, status=408)
        if refused is not None:
            refused.headers["Connection"] = "close"  # what is left of the body is not read
            await refused(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _may_ask(self, client: str) -> bool:
        now_s = self._clock()
        bucket = self._buckets.setdefault(client, Bucket(now_s))
        self._buckets.move_to_end(client)
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return bucket.take(now_s)

    async def _checked(self, scope: Any, receive: Any) -> Any:
        """Return what gives the body. Raises TooLarge, TimeoutError."""
        bound = self._own_bounds.get(scope["path"], MAX_BODY_BYTES)
        headers = dict(scope["headers"])
        size = headers.get(b"content-length", b"0")
        if size.isdigit() and int(size) > bound:
            raise TooLarge(f"the body has {int(size)} bytes; allowed: at most {bound}")
        if scope["path"] in self._own_bounds:  # read in parts, and counted, by its handler
            return receive
        async with asyncio.timeout(BODY_S):
            return _again(await _read(receive, bound), receive)


async def _read(receive: Any, bound: int) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return bytes(body)
        body += message.get("body", b"")
        if len(body) > bound:
            raise TooLarge(f"the body has more than {bound} bytes")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Any) -> Any:
    """Return a `receive` that gives a body that was read, then what comes after it."""
    is_given = False

    async def give() -> Any:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
