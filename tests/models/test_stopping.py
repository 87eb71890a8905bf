"""Work that nobody wants any more ends soon, and as Stopped, whatever is at work."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fdvs.errors import ModelError, Stopped
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target
from fdvs.stopping import acquired, carried, check_stop, pause, stoppable

SOON_S = 5.0  # against hanging; a second is promised, on a machine with nothing else to do


def after(calls: int) -> Callable[[], bool]:
    """Return what wants to stop from the n-th time that it is asked on."""
    asked = iter(range(calls))
    return lambda: next(asked, None) is None


def test_nothing_stops_where_nobody_can_ask_for_it() -> None:
    check_stop()
    with stoppable(None):
        check_stop()
    with stoppable(lambda: False):
        check_stop()
    check_stop()


@pytest.mark.parametrize("kind", ["event", "function"])
def test_an_event_or_a_function_stops(kind: str) -> None:
    event = threading.Event()
    with stoppable(event if kind == "event" else event.is_set):
        check_stop()
        event.set()
        with pytest.raises(Stopped):
            check_stop()
    with pytest.raises(Stopped), stoppable(event):
        pytest.fail("what is stopped before it began does not begin")


def test_sleeping_and_waiting_for_a_lock_are_stopped() -> None:
    lock = threading.Lock()
    with lock, stoppable(after(3)), pytest.raises(Stopped), acquired(lock):
        pytest.fail("the lock is held by another")
    assert lock.acquire(blocking=False)
    with stoppable(after(3)), pytest.raises(Stopped):
        pause(60)


def test_another_thread_is_stopped_where_it_carries_the_wish() -> None:
    event = threading.Event()
    found: list[BaseException] = []

    def work() -> None:
        try:
            while True:
                check_stop()
                time.sleep(0.01)
        except Stopped as stopped:
            found.append(stopped)

    with stoppable(event):
        thread = threading.Thread(target=carried(work), daemon=True)
    thread.start()
    event.set()
    thread.join(SOON_S)
    assert len(found) == 1


@pytest.fixture
def silent_server() -> Iterator[tuple[str, threading.Event]]:
    """A server that takes a request and never answers; the event says that the client let go."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    let_go = threading.Event()

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while connection.recv(65536):
                pass
            let_go.set()
        except OSError:
            let_go.set()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1#m", let_go
    listener.close()


def test_a_request_to_a_server_is_let_go(silent_server: tuple[str, threading.Event]) -> None:
    target, let_go = silent_server
    client = ChatClient(parse_target(target), EndpointOptions(timeout_s=600))
    began = time.monotonic()
    with stoppable(after(5)), pytest.raises(Stopped):
        client.chat([{"role": "user", "content": "hello"}], max_tokens=5)
    assert time.monotonic() - began < SOON_S
    assert let_go.wait(SOON_S)


def test_pauses_between_attempts_are_stopped() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        target = f"http://127.0.0.1:{listener.getsockname()[1]}/v1#m"
    options = EndpointOptions(backoff_s=60, max_backoff_s=60)
    client = ChatClient(parse_target(target), options)
    with stoppable(after(5)), pytest.raises(Stopped):
        client.chat([{"role": "user", "content": "hello"}], max_tokens=5)


def test_errors_of_a_server_stay_what_they_are_beside_a_wish_to_stop() -> None:
    options = EndpointOptions(max_attempts=1)
    client = ChatClient(parse_target("http://127.0.0.1:9/v1#m"), options)
    with stoppable(lambda: False), pytest.raises(ModelError, match="1 attempts"):
        client.chat([{"role": "user", "content": "hello"}], max_tokens=5)


@pytest.mark.parametrize("attention", ["sdpa", "dga"])
@pytest.mark.parametrize("calls", [1, 2, 3, 6])
def test_a_local_model_stops_between_layers_and_is_whole_afterwards(
    attention: str, calls: int, llama_folder: Path, model_cache: Path
) -> None:
    from fdvs.models.llm.local import LocalLanguageModel

    card = Card(name="w", role="llm", backend="transformers", target=str(llama_folder))
    writer = LocalLanguageModel.load(card, LoadSettings(device="cpu", attention=attention))
    whole = writer.write("the notes", "what moves", max_tokens=6)
    with pytest.raises(Stopped), stoppable(after(calls)):
        writer.write("the notes", "what moves", max_tokens=6)
    with stoppable(lambda: False):
        assert writer.write("the notes", "what moves", max_tokens=6) == whole
