"""What is too large, slow, often or much at once is refused: each bound, and one more."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from fdvs.errors import StoreError, TooMany
from fdvs.pipelines.library import Library
from fdvs.pipelines.serve import app as server
from fdvs.pipelines.serve import bounds, engine, limits, media, streams
from fdvs.pipelines.serve.app import guarded, make_app, server_of
from fdvs.pipelines.serve.jobs import Job

TOKEN = "a-token-of-these-tests"
KEY = {"Authorization": f"Bearer {TOKEN}"}
API = "/api/v1"
SOON_S = 30.0  # against hanging, on a busy machine


@pytest.fixture
def guest(library: Library) -> Iterator[TestClient]:
    app = guarded(make_app(library), token=TOKEN, port=8765)
    with TestClient(app, base_url="http://127.0.0.1:8765", headers=KEY) as opened:
        yield opened


@pytest.fixture
def listening(library: Library) -> Iterator[Callable[[], tuple[str, Any]]]:
    """Start a server as `fdvs serve` does; gives its address and its application."""
    running: list[tuple[Any, threading.Thread, socket.socket]] = []

    def start() -> tuple[str, Any]:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = make_app(library)
        served = server_of(guarded(app, token=TOKEN, port=port))
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listener]}, daemon=True)
        running.append((served, thread, listener))
        thread.start()
        until_s = time.monotonic() + SOON_S
        while not served.started and time.monotonic() < until_s:
            time.sleep(0.02)
        return f"http://127.0.0.1:{port}", app

    yield start
    for served, thread, listener in running:
        served.should_exit = True
        thread.join(SOON_S)
        listener.close()
        assert not thread.is_alive()


def body_of(size: int) -> bytes:
    head, tail = b'{"question": "', b'"}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_has_a_bound(guest: TestClient, is_chunked: bool) -> None:
    for more, status in ((0, 422), (1, 413)):  # one within the bound is read: too long a question
        content = body_of(limits.MAX_BODY_BYTES + more)
        sent: Any = (part for part in (content[:999], content[999:])) if is_chunked else content
        answer = guest.post(f"{API}/ask", content=sent)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_picture_has_a_larger_bound(guest: TestClient) -> None:
    place = f"{API}/search/image"
    within = guest.post(place, content=b"x" * (limits.MAX_BODY_BYTES + 1))
    assert "picture" in within.text or "image" in within.text
    assert within.status_code == 422
    assert guest.post(place, content=b"x" * (16 * 1024 * 1024 + 1)).status_code == 413


def replies(app: Any, messages: list[dict[str, Any]], num: int = 1, **scope: Any) -> list[int]:
    """Ask an application `num` times with the same messages; return the statuses."""
    found: list[int] = []

    async def ask() -> None:
        left = list(messages)

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.sleep(SOON_S)
            return left.pop(0)

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                found.append(message["status"])

        told = {"type": "http", "path": "/", "headers": [], "client": ("127.0.0.1", 1), **scope}
        await app(told, receive, send)

    for _ in range(num):
        asyncio.run(ask())
    return found


async def fine(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": (await receive()).get("body", b"")})


WHOLE = [{"type": "http.request", "body": b"x", "more_body": False}]


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BODY_S", 0.1)
    part = [{"type": "http.request", "body": b"x", "more_body": True}]
    app = limits.Limits(fine, own_bounds={})
    assert replies(app, part) == [408]
    assert replies(app, WHOLE) == [200]


def test_one_client_may_ask_so_often() -> None:
    now_s = [100.0]
    app = limits.Limits(fine, own_bounds={}, clock=lambda: now_s[0])
    burst = int(limits.BURST)
    assert replies(app, WHOLE, burst + 1) == [200] * burst + [429]
    assert replies(app, WHOLE, client=("192.0.2.7", 1)) == [200]
    now_s[0] += 1.0
    rate = int(limits.RATE)
    assert replies(app, WHOLE, rate + 1) == [200] * rate + [429]


def test_a_question_has_a_bound(guest: TestClient) -> None:
    words = ("fox " * 1000)[: bounds.MAX_QUESTION_CHARS]
    for more, status in (("", 200), ("x", 422)):
        question = words + more
        assert guest.post(f"{API}/ask", json={"question": question}).status_code == status
        assert guest.get("/ask", params={"q": question}).status_code == status


def crowd(work: Callable[[], Any], num: int) -> list[threading.Thread]:
    """Start threads that do the same, and give them time to come to where they wait."""
    begun = threading.Semaphore(0)

    def run() -> None:
        begun.release()
        work()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(num)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=SOON_S)
    time.sleep(0.3)
    return threads


def test_so_many_questions_wait(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(library, "ask", lambda question, **more: go_on.wait(SOON_S))
    asked = engine.Engine(library)
    threads = crowd(lambda: asked.ask("?"), engine.MAX_WAITING)
    with pytest.raises(TooMany, match="waiting"):
        asked.ask("?")
    go_on.set()
    for thread in threads:
        thread.join(SOON_S)
    asked.ask("?")


def test_who_asks_for_too_much_is_told_when_to_come_back(
    guest: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(question: str, **more: Any) -> Any:
        raise TooMany("8 questions are waiting", after_s=30)

    monkeypatch.setattr(library, "ask", refuse)
    answer = guest.post(f"{API}/ask", json={"question": "?"})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")
    assert answer.json()["type"] == "urn:fdvs:problem:TooMany"
    assert guest.get("/ask?q=fox").status_code == 429


def test_so_many_pieces_wait_for_the_encoder() -> None:
    go_on = threading.Event()

    def hold() -> None:
        with media.encoding():
            go_on.wait(SOON_S)

    threads = crowd(hold, media.MAX_WAITING)
    with pytest.raises(TooMany, match="waiting"), media.encoding():
        pass
    go_on.set()
    for thread in threads:
        thread.join(SOON_S)
    with media.encoding():
        pass


def test_a_hundred_open_streams_do_not_stop_the_page(
    listening: Callable[[], tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "HEARTBEAT_S", 0.1)
    address, app = listening()
    job = Job(number=1, paths=("/films",), status="running")
    app.state.engine.jobs.jobs.append(job)
    client = httpx.Client(
        base_url=address, headers=KEY, timeout=SOON_S, limits=httpx.Limits(max_connections=None)
    )
    answers, beats, statuses = [], [], []
    for _ in range(100):
        request = client.build_request("GET", f"{API}/builds/1/events")
        answer = client.send(request, stream=True)
        statuses.append(answer.status_code)
        answers.append(answer)
        beats.append(answer.iter_text())
        if answer.status_code == 200:  # it beats, though nothing happens
            assert next(beats[-1]) == ": still at work\n\n"
    assert statuses == [200] * streams.MAX_STREAMS + [429] * (100 - streams.MAX_STREAMS)
    began_s = time.monotonic()
    assert httpx.get(f"{address}/", headers=KEY, timeout=SOON_S).status_code == 200
    assert time.monotonic() - began_s < 5
    for answer in answers:
        answer.close()
    client.close()
    until_s = time.monotonic() + SOON_S
    again = 429
    while again == 429 and time.monotonic() < until_s:  # places come back
        time.sleep(0.2)
        with httpx.stream("GET", f"{address}{API}/builds/1/events", headers=KEY) as answer:
            again = answer.status_code
    assert again == 200
    job.tell({"kind": "end"}, "done")


def test_connections_have_a_bound(
    listening: Callable[[], tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 4)
    address, _ = listening()
    place = ("127.0.0.1", int(address.rpartition(":")[2]))
    idle = [socket.create_connection(place) for _ in range(6)]
    time.sleep(0.3)
    assert httpx.get(f"{address}/health").status_code == 503
    for one in idle:
        one.close()
    time.sleep(0.3)
    assert httpx.get(f"{address}/health").status_code == 200


def test_a_file_that_was_swapped_behind_an_id_is_not_sent(
    guest: TestClient, library: Library, video_id: str
) -> None:
    places = (f"/v/{video_id}/file", f"/v/{video_id}/hls/0.ts")
    places += (f"{API}/videos/{video_id}/clip.mp4?start=0&end=1",)
    film = library.media(video_id)
    before, content = film.stat(), film.read_bytes()
    assert guest.get(places[0]).content == content
    film.write_bytes(b"secret" + content[6:])  # of the same size
    for place in places:
        answer = guest.get(place)
        assert answer.status_code == 410
        assert "build it again" in answer.text
        assert b"secret" not in answer.content
    film.write_bytes(content)
    os.utime(film, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert guest.get(places[0]).content == content
    film.unlink()
    assert guest.get(places[0]).status_code == 410
    film.symlink_to("/etc/passwd")
    assert guest.get(places[0]).status_code == 410


def test_no_error_tells_where_the_library_is(
    guest: TestClient, library: Library, video_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.media(video_id).unlink()

    def broken(*_: Any) -> Any:
        raise StoreError(f"library {library.path} cannot be written")

    monkeypatch.setattr(library, "videos", broken)
    statuses = set()
    for method, place, body in (
        ("GET", "/videos", None), ("GET", "/videos/nobody", None), ("GET", "/nowhere", None),
        ("GET", f"/videos/{video_id}/clip.mp4?start=0&end=1", None), ("GET", "/search", None),
        ("POST", "/ask", {"question": ""}), ("POST", "/builds", {"paths": ["/no/such"]}),
        ("PUT", "/videos", None), ("GET", f"/videos/{video_id}/export?format=none", None),
    ):  # fmt: skip
        answer = guest.request(method, API + place, json=body)
        statuses.add(answer.status_code)
        assert str(library.path.parent) not in answer.text
        assert answer.json()["instance"].startswith("urn:fdvs:request:")
    assert statuses == {404, 405, 410, 422, 500}
    for place in ("/", f"/v/{video_id}/file", "/v/nobody"):
        shown = guest.get(place).text
        assert "That did not work." in shown


def test_what_is_told_of_a_fault_of_ours_is_in_the_log(
    guest: TestClient, library: Library, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    def broken(*_: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(library, "videos", broken)
    problem = guest.get(f"{API}/videos").json()
    assert problem["detail"] == "see the server's log"
    assert any(
        problem["instance"] in record.getMessage() and "the disk is full" in record.getMessage()
        for record in caplog.records
    )


def test_a_path_of_another_place_is_never_a_video(guest: TestClient, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("secret")
    for name in ("..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "%2fetc%2fpasswd", str(tmp_path)):
        for place in (f"/v/{name}/file", f"{API}/videos/{name}", f"/static/{name}"):
            answer = guest.get(place)
            assert answer.status_code in (404, 422), place
            assert "root:" not in answer.text
