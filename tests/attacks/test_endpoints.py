"""Hostile servers behind the endpoint client: every call ends in time, in text or a ModelError."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest

from fdvs.errors import ModelError
from fdvs.models.endpoint import client as client_module
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target

from .conftest import Attack

pytestmark = [pytest.mark.attack, pytest.mark.slow]

TIMEOUT_S = 0.3
MAX_S = 20 * TIMEOUT_S
BODY = json.dumps({"choices": [{"message": {"content": "a red wall"}, "finish_reason": "stop"}]})
Send = Callable[[bytes], None]

HEADS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 200\r\n", b"HTTP/9.9 200 OK\r\n", b"HTTP/1.1 000 ?\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n", b"HTTP/1.1 500 no\r\n", b"",
    b"HTTP/1.1 301 x\r\nLocation: file:///etc/passwd\r\n", b"\0" * 500, b"\x16\x03\x01\x02\0\x01",
    b"HTTP/1.1 429 x\r\nRetry-After: 99999999999\r\n", b"HTTP/1.1 200 " + b"O" * 100_000 + b"\r\n",
    b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n", b"HTTP/1.1 407 x\r\nProxy-Authenticate: x\r\n",
]  # fmt: skip
FIELDS = [
    b"Content-Length: -1\r\n", b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"Content-Encoding: br\r\n",
    b"Content-Type: text/event-stream\r\n", b"X: " + b"y" * 200_000 + b"\r\n", b"X-Bad\r\n",
    b"Set-Cookie: " + b"a=b;" * 5000 + b"\r\n", b": empty\r\n", b"Content-Length: 3\r\n" * 2,
]  # fmt: skip


def bodies(rng: random.Random) -> bytes:
    """Return the bytes of an answer that nobody expects."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = packer.compress(bytes(20_000_000)) + packer.flush()
    strange: list[object] = [
        {}, [], None, 7, "text", {"choices": []}, {"choices": None}, {"choices": [None]},
        {"choices": [{"message": None}]}, {"choices": [{"message": {"content": {"a": 1}}}]},
        {"choices": [{"message": {"content": 1e308}}]}, {"error": {"message": "\x1b[31m" * 9999}},
        {"choices": [{"message": {"content": "x" * 3_000_000}, "finish_reason": "length"}]},
        {"choices": [{"message": {"content": None}, "finish_reason": []}], "usage": "no"},
        {"choices": {"0": {}}}, {"error": 5}, {"choices": [{"text": "a"}]},
    ]  # fmt: skip
    raw = [
        b"[" * 200_000, b'{"choices":' * 30_000, b"NaN", b"1" * 100_000, b'"\\ud800"',
        b"\xff" * 999,
        bomb, b"zz\r\nno chunk\r\n", b"ffffffffffffffffffff\r\nx", b"-1\r\n",
        b"data: {}\n\n" * 5000,
        BODY.encode(), b"", BODY.encode()[:-5],
    ]  # fmt: skip
    return rng.choice([*raw, *(json.dumps(one).encode() for one in strange)])


def behaviour(seed: int) -> Callable[[Send], None]:
    """Return what a server does with every request, by the seed."""
    rng = random.Random(seed)
    parts = [rng.choice(HEADS) if rng.random() < 0.6 else HEADS[0]]
    parts += rng.sample(FIELDS, rng.randint(0, 3))
    parts += [b"\r\n", bodies(rng)]
    drips, hangs = rng.random() < 0.3, rng.random() < 0.4

    def behave(send: Send) -> None:
        for part in parts:
            if not drips:
                send(part)
                continue
            for at in range(min(len(part), 4000)):
                send(part[at : at + 1])
                time.sleep(0.01)
        if hangs:
            time.sleep(MAX_S)

    return behave


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Send], None]], str]]:
    """Listen on the loopback and do the same with every request, until the test ends."""
    listeners: list[socket.socket] = []

    def start(behave: Callable[[Send], None]) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=take, args=(listener, behave), daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1#m"

    def take(listener: socket.socket, behave: Callable[[Send], None]) -> None:
        while True:
            try:
                taken, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(taken, behave), daemon=True).start()

    def answer(taken: socket.socket, behave: Callable[[Send], None]) -> None:
        try:
            with taken:
                taken.recv(65536)
                behave(taken.sendall)
        except OSError:
            pass

    yield start
    for listener in listeners:
        listener.close()


def test_hostile_servers(
    attack: Attack,
    serve: Callable[[Callable[[Send], None]], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_module, "GRACE_S", 0.1)
    options = EndpointOptions(timeout_s=TIMEOUT_S, max_attempts=2, backoff_s=0.0)
    for seed in range(attack.trials(60)):
        chat = ChatClient(parse_target(serve(behaviour(seed))), options, sleep=lambda _: None)
        began_s, wrong = time.monotonic(), ""
        try:
            text = chat.chat([{"role": "user", "content": "hi"}], max_tokens=5).text
            wrong = "" if isinstance(text, str) else f"no text but {text!r}"
        except ModelError as error:
            told = str(error)
            if not told or len(told) > 2000 or not told.isprintable():
                wrong = f"error text {told[:200]!r}"
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        if time.monotonic() - began_s > MAX_S:
            wrong = f"ended after {time.monotonic() - began_s:.1f} s"
        attack.count(f"server {seed}: {wrong}" if wrong else "")
