"""A client for chat servers: one request, one bounded and checked reply (`dialects` has the forms).

The server is untrusted: its reply is bounded in size and time and parsed strictly, and redirects
are not followed. Transient failures (429, 5xx, time-outs, lost connections) are retried with
exponential, jittered pauses; everything else is an error at once. The key comes from the
environment, is only sent as a header, and appears in no message.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from fdvs.errors import BadModelOutput, ConfigError, ModelError, ModelUnavailable, Stopped
from fdvs.models.endpoint.dialects import chat_body, chat_path, dialect, dialect_of
from fdvs.models.endpoint.refusals import (
    NAMELESS,
    REFUSABLE,
    SPARE,
    TooMuch,
    is_loading,
    told_error,
)
from fdvs.models.endpoint.replies import Reply, parse_reply, retry_after_s
from fdvs.stopping import POLL_S, carried, check_stop, pause, stop_wanted
from fdvs.typed import Checked, Range, check_range

if TYPE_CHECKING:
    import httpx

EXCERPT_CHARS = 200
WORDS_CHARS = 2000  # of an error, to find out what it means
GRACE_S = 1.0  # after the time limit, before the sockets are shut
MORE_FOR_THOUGHTS = 4
LOOPBACK = ("localhost", "127.0.0.1", "::1")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOptions(Checked):
    """How to talk to a server; the options of an endpoint's model card.

    `timeout_s` bounds one whole attempt, `load_timeout_s` the first one where a server loads its
    model then, and `max_retry_after_s` the pause that a server may ask for.
    `frames_per_call`: 0 sends all kept frames of a clip at once. `context_tokens` is the server's
    limit, which the protocol does not report. `dialect`: the kind of server, "" for any that is
    OpenAI-compatible.
    """

    dialect: Literal[
        "", "ollama", "lmstudio", "llamacpp", "vllm", "sglang", "openai", "gemini", "mistral"
    ] = ""  # fmt: skip
    api_key_env: str = "FDVS_API_KEY"
    timeout_s: Annotated[float, Range(0.05, 3600)] = 120.0
    load_timeout_s: Annotated[float, Range(0.05, 3600)] = 300.0
    max_attempts: Annotated[int, Range(1, 20)] = 5
    backoff_s: Annotated[float, Range(0, 60)] = 0.5
    max_backoff_s: float = 20.0
    max_retry_after_s: Annotated[float, Range(0, 3600)] = 60.0
    concurrency: Annotated[int, Range(1, 64)] = 4
    max_reply_bytes: Annotated[int, Range(1000, 100_000_000)] = 1_000_000
    max_tokens: Annotated[int, Range(1, 100_000)] = 160
    frames_per_call: Annotated[int, Range(0, 256)] = 0
    jpeg_quality: Annotated[int, Range(1, 95)] = 85
    context_tokens: Annotated[int, Range(64, 10_000_000)] = 8192

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        check_range("max_backoff_s", self.max_backoff_s, self.backoff_s, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server's base URL (without a trailing slash) and the name of a model."""

    base_url: str
    model: str


class _RefusedParameter(Exception):
    """The server refuses a parameter; `instead` is another name for it, "" for none."""

    def __init__(self, name: str, instead: str) -> None:
        super().__init__(name)
        self.name, self.instead = name, instead


class _TransientError(Exception):
    """An attempt failed and may be retried; `wait_s` is the pause that the server asked for."""

    def __init__(
        self,
        reason: str,
        *,
        wait_s: float | None = None,
        offline: bool = False,
        loading: bool = False,
    ) -> None:
        super().__init__(reason)
        self.wait_s = wait_s
        self.offline = offline
        self.loading = loading


def parse_target(target: str) -> Target:
    """Split `http://host:port/v1#model-name`. Raises ConfigError."""
    url, _, model = target.partition("#")
    parts = urlsplit(url)
    wrong = (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username is not None
        or parts.query
        or not model.strip()
    )
    if wrong:
        # Not the target itself: it may contain a key or a password.
        raise ConfigError(
            f"endpoint at {parts.hostname!r}, model {model!r}: want "
            "http(s)://HOST[:PORT]/v1#MODEL without user, password or query; "
            "the key goes into an environment variable (FDVS_API_KEY)"
        )
    return Target(base_url=url.rstrip("/"), model=model.strip())


class ChatClient:
    """Client of one server; safe to share between threads.

    `looks`: an unnamed server is asked once which one it is, to be spoken to in its own dialect.
    """

    def __init__(
        self,
        target: Target,
        options: EndpointOptions,
        *,
        sleep: Callable[[float], None] = pause,
        looks: bool = False,
    ) -> None:
        self.target = target
        self.options = options
        self._base_url = target.base_url
        self._looks = looks and not options.dialect
        self._first = threading.Lock()  # held by the request that loads the model
        self._is_loaded = False
        self._sleep = sleep
        self._random = random.Random()
        self._dialect = dialect(options.dialect)
        self._refused: dict[str, str] = {}  # parameters that the server refuses -> other names
        key_name = self._dialect.api_key_env
        self._key = os.environ.get(options.api_key_env, "").strip()
        if not self._key and key_name:
            self._key = os.environ.get(key_name, "").strip()
        if self._key and target.base_url.startswith("http:"):
            self._warn_of_plain_http()
        self._http = self._connected()

    def _connected(self) -> httpx.Client:
        import httpx

        # a proxy of the environment is never asked for a server on this machine
        is_local = urlsplit(self.target.base_url).hostname in LOOPBACK
        try:
            return httpx.Client(
                follow_redirects=False,
                timeout=httpx.Timeout(self.options.timeout_s),
                limits=httpx.Limits(max_connections=self.options.concurrency),
                headers=self._headers(),
                trust_env=not is_local,
            )
        except (ValueError, ImportError, httpx.InvalidURL) as error:
            raise ConfigError(
                f"the proxy of the environment cannot be used ({error}); mend HTTPS_PROXY or "
                "ALL_PROXY"
            ) from None

    def chat(self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int) -> Reply:
        """Return the reply at temperature 0, without thoughts; transient failures are retried.

        A parameter that the server refuses is left out, or renamed, from then on. Where thoughts
        used up the tokens, the question is asked once more with four times as many.

        Raises:
            ModelUnavailable: no server answers, or it refuses the key or the model.
            TooMuch: the messages are longer than the server takes.
            BadModelOutput: the reply is not a chat completion; the message has an excerpt.
            ModelError: the request is refused, or fails in the last attempt, too.
            Stopped: the caller wanted it (see `fdvs.stopping`).
        """

        def ask() -> Reply:
            reply = self._ask(messages, max_tokens)
            if not reply.text and (reply.num_thoughts or not reply.stopped):
                reply = self._ask(messages, MORE_FOR_THOUGHTS * max_tokens)
            return reply

        return ask() if stop_wanted() is None else self._until_stopped(ask)

    def _until_stopped(self, ask: Callable[[], Reply]) -> Reply:
        """Ask in a thread of its own, and let go of the server once that is wanted.

        Raises Stopped, and what `chat` raises.
        """
        found: Future[Reply] = Future()
        asking = carried(ask)

        def work() -> None:
            try:
                found.set_result(asking())
            except BaseException as error:
                found.set_exception(error)

        threading.Thread(target=work, name="fdvs-ask", daemon=True).start()
        try:
            while not wait([found], timeout=POLL_S).done:
                check_stop()
        except Stopped:
            self._hang_up()
            raise
        return found.result()

    def _ask(self, messages: Sequence[Mapping[str, Any]], max_tokens: int) -> Reply:
        """Ask; where the first request loads the model, the others wait for it."""
        if self._is_loaded:
            return self._asked(messages, max_tokens)
        with self._first:
            self._look()
            is_first = self._dialect.loads_late and not self._is_loaded
            if is_first:
                reply = self._asked(messages, max_tokens, is_first=True)
            self._is_loaded = True
        return reply if is_first else self._asked(messages, max_tokens)

    def _look(self) -> None:
        """Find out once which server this is, where nobody said."""
        if not self._looks:
            return
        self._looks = False
        self._dialect = dialect_of(self.target.base_url, self._http)
        if self._dialect.is_native:
            self._base_url = self.target.base_url.removesuffix("/v1")
        if self._dialect.name:
            logger.info("%s: speaks to it as %s", self.target.base_url, self._dialect.name)

    def _asked(
        self, messages: Sequence[Mapping[str, Any]], max_tokens: int, *, is_first: bool = False
    ) -> Reply:
        body = chat_body(
            self._dialect, self.target.model, messages, max_tokens=max_tokens,
            context_tokens=self.options.context_tokens,
        )  # fmt: skip
        options = self.options
        timeout_s = (
            max(options.timeout_s, options.load_timeout_s) if is_first else options.timeout_s
        )
        attempt, loading_s = 1, 0.0
        while True:
            check_stop()
            try:
                return self._parsed(self._post(self._accepted(body), timeout_s))
            except _RefusedParameter as refused:
                self._refused[refused.name] = refused.instead
            except _TransientError as failure:
                paused_s = self._pause_or_give_up(attempt, failure, loading_s)
                loading_s += paused_s if failure.loading else 0.0
                attempt += not failure.loading

    def _parsed(self, data: bytes) -> Reply:
        """Return a reply. Raises what the words of an error mean that came with status 200."""
        try:
            return parse_reply(data, self._dialect)
        except BadModelOutput:
            raise
        except ModelError as error:
            words = self._safe(str(error), WORDS_CHARS)
            where = self.target.base_url
            told = told_error(words, where=where, model=self.target.model)
            raise told or ModelError(f"{where}: {words}") from None

    def _accepted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request without what the server refused before."""
        found = {}
        for name, value in body.items():
            name = self._refused.get(name, name)
            if name:
                found[name] = value
        return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _headers(self) -> dict[str, str]:
        # No compression: a small reply must not decompress into a large one.
        headers = {"Accept-Encoding": "identity", "Accept": "application/json"}
        return headers | ({"Authorization": f"Bearer {self._key}"} if self._key else {})

    def _warn_of_plain_http(self) -> None:
        if urlsplit(self.target.base_url).hostname not in LOOPBACK:
            logger.warning("%s is not https: the key travels unencrypted", self.target.base_url)

    def _pause_or_give_up(self, attempt: int, failure: _TransientError, loading_s: float) -> float:
        """Pause before the next attempt, and return how long. Raises ModelError after the last."""
        options = self.options
        is_over = attempt >= options.max_attempts
        if failure.loading:
            is_over = loading_s >= options.load_timeout_s
        if is_over:
            kind = ModelUnavailable if failure.offline or failure.loading else ModelError
            raise kind(
                f"{self.target.base_url}: {failure} after {attempt} attempts; is the server "
                "running, and is the URL right?"
            ) from None
        pause_s = self._pause_s(attempt, failure.wait_s)
        logger.info("%s: %s; again in %.2f s", self.target.base_url, failure, pause_s)
        self._sleep(pause_s)
        return max(pause_s, POLL_S)

    def _pause_s(self, attempt: int, wait_s: float | None) -> float:
        """Return the pause that the server asked for (bounded), or a jittered exponential one."""
        if wait_s is not None:
            return min(wait_s, self.options.max_retry_after_s)
        full_s = min(self.options.max_backoff_s, self.options.backoff_s * 2.0 ** (attempt - 1))
        return full_s * self._random.uniform(0.5, 1.0)

    def _post(self, body: Mapping[str, Any], timeout_s: float) -> bytes:
        import httpx

        deadline_s = time.monotonic() + timeout_s
        watch = threading.Timer(timeout_s + GRACE_S, self._hang_up)
        watch.daemon = True
        watch.start()
        try:
            with self._http.stream(
                "POST",
                f"{self._base_url}{chat_path(self._dialect)}",
                json=body,
                timeout=timeout_s,
            ) as response:
                data = self._read(response, deadline_s, timeout_s)
                self._check_status(response, data)
                return data.replace(self._key.encode(), b"***") if self._key else data
        except httpx.TimeoutException:
            raise _TransientError(f"no answer within {timeout_s:g} s") from None
        except httpx.ConnectError as error:
            raise _TransientError(
                f"no connection ({self._safe(str(error))})", offline=True
            ) from None
        except httpx.TransportError as error:
            raise _TransientError(f"connection lost ({self._safe(str(error))})") from None
        except (OSError, RuntimeError, AttributeError) as error:
            # what closing the sockets below a waiting request looks like
            if time.monotonic() < deadline_s:
                raise
            raise _TransientError(
                f"no whole answer within {timeout_s:g} s ({self._safe(str(error))})"
            ) from None
        finally:
            watch.cancel()

    def _hang_up(self) -> None:
        """Shut the sockets of this client: a server that drips headers for ever is let go.

        Time-outs of the HTTP library bound each read, not the whole of an answer.
        """
        old, self._http = self._http, self._connected()
        for connection in _sockets_of(old):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _read(self, response: httpx.Response, deadline_s: float, timeout_s: float) -> bytes:
        """Read a reply of bounded size within the attempt's time, however slowly it arrives."""
        limit, num_bytes = self.options.max_reply_bytes, 0
        parts: list[bytes] = []
        for part in response.iter_raw():
            num_bytes += len(part)
            if num_bytes > limit:
                raise BadModelOutput(f"{self.target.base_url}: reply larger than {limit} bytes")
            if time.monotonic() > deadline_s:
                raise _TransientError(f"no whole answer within {timeout_s:g} s")
            parts.append(part)
        return b"".join(parts)

    def _check_status(self, response: httpx.Response, data: bytes) -> None:
        status = response.status_code
        if status == 200:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise BadModelOutput(f"{self.target.base_url}: compressed reply not asked for")
            return
        words = self._safe(data.decode("utf-8", errors="replace"), WORDS_CHARS)
        excerpt = words[:EXCERPT_CHARS]
        told = told_error(words, where=self.target.base_url, model=self.target.model)
        if told is not None and status >= 400:
            raise told
        if status == 413:
            raise TooMuch(f"{self.target.base_url}: status 413, not retried ({excerpt})")
        if status in (408, 429) or status >= 500:
            wait_s = retry_after_s(response.headers.get("retry-after"))
            said = f" ({excerpt})" if excerpt else ""
            loading = status == 503 and is_loading(words)
            raise _TransientError(f"status {status}{said}", wait_s=wait_s, loading=loading)
        if status in (400, 422):
            self._learn(words)
        if status in (401, 403):
            raise ModelUnavailable(
                f"{self.target.base_url}: status {status}, the key was refused; set "
                f"{self._dialect.api_key_env or self.options.api_key_env} ({excerpt})"
            )
        if status == 404:
            raise ModelUnavailable(
                f"{self.target.base_url}: status 404, no such path or model "
                f"{self.target.model!r}; want http://HOST:PORT/v1#MODEL ({excerpt})"
            )
        raise ModelError(f"{self.target.base_url}: status {status}, not retried ({excerpt})")

    def _learn(self, words: str) -> None:
        """Raise _RefusedParameter where a refusal names a parameter that can be left out."""
        for name, instead in REFUSABLE.items():
            if name not in self._refused and re.search(rf"\b{name}\b", words):
                logger.info("%s: refuses %s, so it is left out", self.target.base_url, name)
                raise _RefusedParameter(name, instead)
        for name in SPARE if NAMELESS.search(words) else ():
            if name in self._dialect.extra and name not in self._refused:
                logger.info("%s: refuses a request; %s is left out", self.target.base_url, name)
                raise _RefusedParameter(name, "")

    def _safe(self, text: str, max_chars: int = EXCERPT_CHARS) -> str:
        """Return an excerpt in one line, with the key masked should the server echo it."""
        plain = text.replace(self._key, "***") if self._key else text
        return " ".join(plain.split())[:max_chars]


def _sockets_of(client: httpx.Client) -> list[socket.socket]:
    """Return the open sockets of an HTTP client; none where its inside is built otherwise."""
    pool = getattr(getattr(client, "_transport", None), "_pool", None)
    found = []
    for connection in list(getattr(pool, "connections", ())):
        inner = getattr(connection, "_connection", None)
        stream = getattr(inner, "_network_stream", None)
        raw = stream.get_extra_info("socket") if stream is not None else None
        if isinstance(raw, socket.socket):
            found.append(raw)
    return found
