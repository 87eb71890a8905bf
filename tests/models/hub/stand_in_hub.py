"""A model hub on the loopback: what huggingface_hub's client asks of the real one, over folders.

Repositories have their true names, published file layouts, commits and branches. One can be gated
(files are refused with 401 or 403), missing, or break off in the middle of a file. `requests` and
`sent` record what was asked for and how many bytes of a file went out, so that a test sees resumed
downloads. Not imitated: the hub's chunk store (Xet) and its content delivery network.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(/revision/(?P<rev>.+))?")
_TREE = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)/?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<file>.+)")


@dataclass
class Repository:
    """Files of a folder at one commit.

    `breaks` are, by file, the bytes after which each answer breaks off; the last goes for all more.
    """

    folder: Path
    commit: str = "a" * 40
    branches: tuple[str, ...] = ("main",)
    gated: bool = False
    breaks: dict[str, list[int]] = field(default_factory=dict)

    def knows(self, revision: str | None) -> bool:
        return revision is None or revision in (self.commit, *self.branches)

    def next_break(self, file: str) -> int | None:
        waiting = self.breaks.get(file, [])
        return (waiting.pop(0) if len(waiting) > 1 else waiting[0]) if waiting else None

    def files(self) -> dict[str, Path]:
        found = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path for path in found}


class StandInHub(ThreadingHTTPServer):
    """The server; `token` opens gated repositories."""

    daemon_threads = True
    token = "hf_consent"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.sent: Counter[str] = Counter()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def downloads(self) -> set[str]:
        """Return REPOSITORY/FILE of every file of which bytes were sent."""
        return {name for name, num_bytes in self.sent.items() if num_bytes}


@contextmanager
def running_hub() -> Iterator[StandInHub]:
    hub = StandInHub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: StandInHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path))
        for form, answer in ((_TREE, self._tree), (_INFO, self._info), (_FILE, self._file)):
            if found := form.fullmatch(path):
                parts = found.groupdict()
                repository = self.server.repositories.get(parts["repo"])
                if repository is None:  # as the hub tells who is not logged in
                    return self._refuse(401, "RepoNotFound")
                if not repository.knows(parts["rev"]):
                    return self._refuse(404, "RevisionNotFound")
                return answer(repository, with_body=with_body, **parts)
        self._refuse(404, "EntryNotFound")

    def _info(self, found: Repository, *, repo: str, rev: str | None, with_body: bool) -> None:
        siblings = [{"rfilename": name} for name in found.files()]
        gated = "manual" if found.gated else False
        about = {"id": repo, "sha": found.commit, "siblings": siblings, "tags": []}
        self._json({**about, "private": False, "gated": gated, "downloads": 0, "likes": 0})

    def _tree(self, found: Repository, *, repo: str, rev: str, with_body: bool) -> None:
        self._json([_entry(name, path) for name, path in found.files().items()])

    def _file(self, found: Repository, *, repo: str, rev: str, file: str, with_body: bool) -> None:
        path = found.files().get(file)
        if path is None:
            return self._refuse(404, "EntryNotFound", found.commit)
        if found.gated and (given := self.headers.get("Authorization")) != (
            f"Bearer {self.server.token}"
        ):
            return self._refuse(403 if given else 401, "GatedRepo")
        data = path.read_bytes()
        start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", found.commit)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if with_body:
            self._send(data[start:], f"{repo}/{file}", found.next_break(file))
        return None

    def _send(self, data: bytes, name: str, breaks_at: int | None) -> None:
        part = data if breaks_at is None else data[:breaks_at]
        self.wfile.write(part)
        self.server.sent[name] += len(part)
        if len(part) < len(data):
            self.close_connection = True

    def _json(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, commit: str = "") -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if commit:
            self.send_header("X-Repo-Commit", commit)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _entry(name: str, path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data)}
    entry["oid"] = hashlib.sha1(data).hexdigest()
    if path.suffix in {".safetensors", ".bin"}:
        sha256 = hashlib.sha256(data).hexdigest()
        entry["lfs"] = {"oid": sha256, "size": len(data), "pointerSize": 134}
    return entry
