"""Servers that never finish: every attempt ends within its time, whatever drips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fdvs.errors import ConfigError, ModelError
from fdvs.models.endpoint import client as client_module
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target

TIMEOUT_S = 0.4
OK = b"HTTP/1.1 200 OK\r\n"


def headers_for_ever(send: Callable[[bytes], None]) -> None:
    send(OK)
    while True:
        send(b"X-More: 1\r\n")
        time.sleep(0.02)


def continues_for_ever(send: Callable[[bytes], None]) -> None:
    while True:
        send(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.02)


def chunk_extension_for_ever(send: Callable[[bytes], None]) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\n1;x=")
    while True:
        send(b"y")
        time.sleep(0.02)


def trailers_for_ever(send: Callable[[bytes], None]) -> None:
    send(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
    while True:
        send(b"X-Trailer: 1\r\n")
        time.sleep(0.02)


def body_for_ever(send: Callable[[bytes], None]) -> None:
    send(OK + b"Content-Length: 1000000\r\n\r\n")
    while True:
        send(b" ")
        time.sleep(0.02)


def silence(send: Callable[[bytes], None]) -> None:
    time.sleep(30)


BEHAVIOURS = [
    headers_for_ever, continues_for_ever, chunk_extension_for_ever, trailers_for_ever,
    body_for_ever, silence,
]  # fmt: skip


@pytest.fixture
def listen() -> Iterator[Callable[[Callable[[Callable[[bytes], None]], None]], str]]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def start(behave: Callable[[Callable[[bytes], None]], None]) -> str:
        def serve() -> None:
            while True:
                try:
                    taken, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=answer, args=(taken,), daemon=True).start()

        def answer(taken: socket.socket) -> None:
            try:
                taken.recv(65536)
                behave(taken.sendall)
            except OSError:
                taken.close()

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1#m"

    yield start
    listener.close()


@pytest.mark.parametrize("behave", BEHAVIOURS, ids=lambda one: one.__name__)
def test_an_attempt_ends_within_its_time(
    listen: Callable[..., str], behave: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "GRACE_S", 0.1)
    options = EndpointOptions(timeout_s=TIMEOUT_S, max_attempts=2, backoff_s=0.0)
    chat = ChatClient(parse_target(listen(behave)), options, sleep=lambda _: None)
    began_s = time.monotonic()
    with pytest.raises(ModelError):
        chat.chat([{"role": "user", "content": "hi"}], max_tokens=5)
    assert time.monotonic() - began_s < 10 * TIMEOUT_S


def test_a_proxy_of_the_environment_is_not_for_this_machine(
    chat_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    target = parse_target(chat_server.target)  # type: ignore[attr-defined]
    chat = ChatClient(target, EndpointOptions(max_attempts=1))
    assert chat.chat([{"role": "user", "content": "hi"}], max_tokens=5).text == "a red square"


def test_a_broken_proxy_is_told_not_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://[::1")
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        ChatClient(parse_target("https://example.invalid/v1#m"), EndpointOptions())
