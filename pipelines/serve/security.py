"""What stands before every request: token, host, origin, and the headers that bind the page.

The printed address holds a code that lets in once, for ten minutes; whoever opens it gets a cookie.
Programs send the token as a bearer. A page of another site reaches nothing: its host or origin
differs, and the cookie is never sent along (SameSite=Strict).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

COOKIE = "fdvs-token"
OPEN_PATHS = ("/health",)
POLICY = (
    "default-src 'none'; img-src 'self' data:; media-src 'self' blob:; style-src 'self'; "
    "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with no-referrer a form of ours has Origin: null
    (b"cross-origin-resource-policy", b"same-origin"),
)
REFUSED = (
    b"This page needs its token: open the address that `fdvs serve` printed, or send "
    b"Authorization: Bearer TOKEN.\n"
)
CODE_S = 600.0  # to open the printed address in
USED = (
    b"This address lets in once, for ten minutes. Open /?token=TOKEN instead, with the token that "
    b"`fdvs serve` keeps, or start it again.\n"
)


class OnceCode:
    """A code that lets in once, soon after it was made."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.text = secrets.token_urlsafe(24)
        self._clock = clock
        self._until_s = clock() + CODE_S
        self._is_used = False

    def use(self, given: str) -> bool:
        """Whether this is the code, for the first time and in time."""
        is_right = secrets.compare_digest(given.encode(), self.text.encode())
        if not is_right or self._is_used or self._clock() > self._until_s:
            return False
        self._is_used = True
        return True


class Guard:
    """ASGI middleware that lets in who has the token, from this machine's own pages only."""

    def __init__(
        self, app: Any, *, token: str, hosts: frozenset[str], code: OnceCode | None = None
    ) -> None:
        """`hosts` are the names, with their ports, under which the server answers."""
        self._app = app
        self._token = token
        self._hosts = hosts
        self._code = code

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        given = _query(scope)
        if headers.get("host", "").lower() not in self._hosts:
            await _reply(send, 421, b"Misdirected request: this server has other names.\n")
        elif _is_foreign(headers, self._hosts):
            await _reply(send, 403, b"Requests from other sites are refused.\n")
        elif "code" in given and scope["path"] == "/":
            is_in = self._has_token(headers) or (self._code and self._code.use(given["code"]))
            await (self._let_in(scope, headers, send) if is_in else _reply(send, 403, USED))
        elif scope["path"] in OPEN_PATHS or self._has_token(headers):
            await self._app(scope, receive, _with_headers(send))
        elif self._matches(given.get("token", "")):
            await self._let_in(scope, headers, send)
        else:
            await _reply(send, 401, REFUSED)

    def _has_token(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._matches(given.strip()):
            return True
        name, cookies = _cookie(headers), SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        return name in cookies and self._matches(cookies[name].value)

    def _matches(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())

    async def _let_in(self, scope: Any, headers: dict[str, str], send: Any) -> None:
        """Set the cookie and go on without token and code in the address."""
        rest = [
            (name, value)
            for name, value in parse_qsl(scope["query_string"].decode("latin-1"))
            if name not in ("token", "code")
        ]
        place = scope["path"] + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{_cookie(headers)}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        extra = (
            (b"location", place.encode()), (b"set-cookie", cookie.encode()),
            (b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"),
        )  # fmt: skip
        await _reply(send, 303, b"", extra)


def _cookie(headers: dict[str, str]) -> str:
    """Return the name of the cookie: browsers hand one host's cookies to the servers of all its
    ports, and one library must not throw out who reads another."""
    _, _, port = headers.get("host", "").rpartition(":")
    return f"{COOKIE}-{port}" if port.isdigit() else COOKIE


def _query(scope: Any) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))


def _is_foreign(headers: dict[str, str], hosts: frozenset[str]) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] not in hosts:
        return True
    return headers.get("sec-fetch-site", "none") not in ("none", "same-origin")


def _with_headers(send: Any) -> Any:
    async def guarded(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *HEADERS]}
        await send(message)

    return guarded


async def _reply(send: Any, status: int, body: bytes, extra: Any = ()) -> None:
    own = {name for name, _ in extra}
    others = [one for one in HEADERS if one[0] not in own]
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *extra, *others]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
