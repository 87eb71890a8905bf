"""Guards and fixtures for every test: no repository root on sys.path, no network, own homes."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# Two processes share the machine's processors: one example may take long for no fault of its own.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
if os.environ.get("CI"):
    # The same examples in every run: what is found by chance is found by developers.
    settings.register_profile("ci", derandomize=True, deadline=None, database=None)
    settings.load_profile("ci")

ROOT = Path(__file__).resolve().parents[1]
sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() != ROOT]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("FDVS_LOCAL_SERVERS", "0")  # a developer's Ollama changes no result
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for programs that tests start; see _one_thread
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that does not go to this machine."""
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else "unix"
        if host not in {"127.0.0.1", "::1", "localhost", "unix"}:
            raise OSError(f"tests have no network: {address!r}")
        real(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect)


@pytest.fixture(autouse=True)
def _same_seed() -> None:
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: on a busy machine several wait for each other at every step."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _folder_or_skip(variable: str, require: str, what: str) -> Path:
    value = os.environ.get(variable)
    if value and Path(value).is_dir():
        return Path(value)
    message = f"{what}: set {variable} to its folder (now {value!r})"
    if os.environ.get(require) == "1":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """Import a script by its path below the root, for example `research/ablate.py`.

    Scripts of one folder import each other by name, as they do when one of them is run.
    """

    def load(path: str) -> ModuleType:
        place = ROOT / path
        sys.path.insert(0, str(place.parent))
        try:
            return importlib.import_module(place.stem)
        finally:
            sys.path.remove(str(place.parent))

    return load


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder FDVS_DATA (annotations); skipped without, fails where FDVS_REQUIRE_DATA=1."""
    return _folder_or_skip("FDVS_DATA", "FDVS_REQUIRE_DATA", "real data")


@pytest.fixture(scope="session")
def media_dir(data_dir: Path) -> Path:
    """Real videos: the folder `media` beside or inside FDVS_DATA."""
    for place in (data_dir / "media", data_dir.parent / "media"):
        if place.is_dir():
            return place
    pytest.fail(f"no folder `media` in or beside {data_dir}")


@pytest.fixture
def needs_models() -> None:
    """The offline preset's models are on disk."""
    from fdvs.models.weights.fetch import missing_models

    missing = missing_models("offline")
    if missing and os.environ.get("FDVS_REQUIRE_MODELS") == "1":
        pytest.fail(f"models missing: {missing}; run: fdvs models fetch --preset offline")
    if missing:
        pytest.skip(f"models missing: {missing}; run: fdvs models fetch --preset offline")


ChatAnswer = Callable[[BaseHTTPRequestHandler, dict[str, Any]], None]


class ChatServer(ThreadingHTTPServer):
    """An HTTP server on this machine: POSTs are answered from a queue, then by `default`.

    `asked`, `headers` and `paths` record the requests; `done` is set when the test is over.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ChatHandler)
        self.queue: list[ChatAnswer] = []
        self.default: ChatAnswer = self.says("a red square")
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.done = threading.Event()

    @property
    def target(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1#tiny/model"

    @staticmethod
    def sends(body: bytes = b"no", status: int = 200, **headers: str) -> ChatAnswer:
        """Answer with a status and bytes; a header's `_` stands for `-`."""

        def send(handler: BaseHTTPRequestHandler, _body: dict[str, Any]) -> None:
            handler.send_response(status)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.send_header("Content-Length", str(len(body)))
            handler.end_headers()
            handler.wfile.write(body)

        return send

    @classmethod
    def says(cls, text: object, *, status: int = 200, **more: object) -> ChatAnswer:
        """Answer with a chat completion."""
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        return cls.sends(json.dumps({"choices": [choice], **more}).encode(), status)


class _ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.headers.append(dict(self.headers))
            self.server.paths.append(self.path)
            answer = self.server.queue.pop(0) if self.server.queue else self.server.default
        with contextlib.suppress(OSError):  # some tests let the client hang up
            answer(self, body)

    def do_GET(self) -> None:
        self.server.paths.append("GET " + self.path)
        self.server.says("followed")(self, {})

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    running = ChatServer()
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield running
    running.done.set()
    running.shutdown()
    running.server_close()
    thread.join(5)
