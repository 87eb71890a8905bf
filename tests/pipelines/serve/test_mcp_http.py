"""`/mcp`: the same tools over HTTP, by the SDK's own client, behind the guard of the page."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

mcp = pytest.importorskip("mcp")

from fdvs.errors import ModelUnavailable  # noqa: E402
from fdvs.pipelines.library import Library  # noqa: E402
from fdvs.pipelines.serve.app import guarded, make_app  # noqa: E402
from fdvs.pipelines.serve.mcp_server import make_server  # noqa: E402

TOKEN = "a-token-of-these-tests"
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {"protocolVersion": "2025-06-18", "capabilities": {},
               "clientInfo": {"name": "test", "version": "1"}},
}  # fmt: skip
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture
def address(library: Library) -> Iterator[str]:
    """The address of a server that listens, as a client of somebody's would use it."""
    import uvicorn

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app = guarded(make_app(library), token=TOKEN, port=port)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{port}/mcp"
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def test_the_clients_of_the_sdk_list_search_ask_and_read(address: str, video_id: str) -> None:
    from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

    async def run() -> list[Any]:
        async with (
            create_mcp_http_client(headers={"Authorization": f"Bearer {TOKEN}"}) as http,
            mcp.Client(streamable_http_client(address, http_client=http)) as client,
        ):
            return [
                await client.call_tool("list_videos", {}),
                await client.call_tool("search_moments", {"query": "fox hole"}),
                await client.call_tool("ask", {"question": "What does the rabbit eat?"}),
                await client.read_resource(f"fdvs://videos/{video_id}/chapters"),
                await client.list_resource_templates(),
            ]

    listed, found, answer, chapters, templates = asyncio.run(run())
    assert "one.mp4" in listed.content[0].text
    assert "[one.mp4 @ 0:00-0:02]" in found.content[0].text
    assert "eats grass" in answer.content[0].text
    assert "The rabbit eats grass." in chapters.contents[0].text
    assert len(templates.resource_templates) == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": f"Bearer {TOKEN}", "Host": "evil.example"}, 421),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "https://evil.example"}, 403),
        ({"Authorization": f"Bearer {TOKEN}", "Origin": "null"}, 403),
        ({"Authorization": f"Bearer {TOKEN}"}, 200),
    ],
)
def test_the_guard_stands_before_it(library: Library, headers: dict[str, str], status: int) -> None:
    app = guarded(make_app(library), token=TOKEN, port=8765)
    with TestClient(app, base_url="http://127.0.0.1:8765") as client:
        answer = client.post("/mcp", json=INITIALIZE, headers=ACCEPT | headers)
        assert answer.status_code == status


def test_questions_wait_in_the_line_of_the_page(library: Library) -> None:
    asked: list[str] = []

    def ask(question: str, **more: Any) -> Any:
        asked.append(question)
        return library.ask(question, **more)

    async def run() -> Any:
        async with mcp.Client(make_server(library, ask=ask)) as client:
            return await client.call_tool("ask", {"question": "What does the fox dig?"})

    assert "deep hole" in asyncio.run(run()).content[0].text
    assert asked == ["What does the fox dig?"]


def test_a_resource_that_is_not_there_is_one_line(library: Library) -> None:
    async def run() -> str:
        async with mcp.Client(make_server(library)) as client:
            try:
                await client.read_resource("fdvs://videos/nobody/story")
            except mcp.MCPError as error:
                return str(error)
        return "nothing was raised"

    told = asyncio.run(run())
    assert "nobody" in told
    assert "\n" not in told


def test_without_the_package_it_says_what_to_install(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(library: Library, **more: Any) -> Any:
        raise ModelUnavailable("this needs the package 'mcp'")

    monkeypatch.setattr("fdvs.pipelines.serve.mcp_server.make_server", missing)
    with TestClient(make_app(library), base_url="http://127.0.0.1:8765") as client:
        answer = client.post("/mcp", json=INITIALIZE)
    assert answer.status_code == 503
    assert "package" in answer.text
