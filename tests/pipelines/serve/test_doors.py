"""Who comes in by which door, and what is open behind it: token, code, names, adding, removing."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from fdvs.errors import InvalidValue, StoreError
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.library import Library
from fdvs.pipelines.serve.app import guarded, make_app
from fdvs.pipelines.serve.engine import Doors
from fdvs.pipelines.serve.security import CODE_S, OnceCode
from fdvs.pipelines.serve.tokens import FAR_CHARS, new_token, token_of

TOKEN = "a-token-of-these-tests"
KEY = {"Authorization": f"Bearer {TOKEN}"}
BASE = "http://127.0.0.1:8765"
API = "/api/v1"
Served = Callable[..., tuple[subprocess.Popen[str], Any]]


def test_a_token_lasts_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "serve.token"
    token = token_of(path)
    assert token_of(path) == token == path.read_text().strip()
    assert len(token) >= FAR_CHARS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["serve.token"]


def test_a_token_that_others_may_know_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "serve.token"
    token_of(path)
    path.chmod(0o640)
    with pytest.raises(StoreError, match="known to others"):
        token_of(path)
    link = tmp_path / "link"
    path.chmod(0o600)
    link.symlink_to(path)
    with pytest.raises(StoreError, match="cannot be read"):
        token_of(link)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    with pytest.raises(StoreError, match="known to others"):
        token_of(pipe)
    with pytest.raises(StoreError, match="cannot be written"):
        token_of(tmp_path / "no" / "folder")


@pytest.mark.parametrize("token", ["short", "x" * 201, "sixteen chars; no", "é" * 20, ""])
def test_a_token_of_another_form_is_refused_and_not_shown(tmp_path: Path, token: str) -> None:
    path = tmp_path / "serve.token"
    path.touch(0o600)
    path.write_text(token)
    with pytest.raises(InvalidValue) as refused:
        token_of(path)
    assert not token or token not in str(refused.value)


Guest = Callable[..., TestClient]


@pytest.fixture
def guest(library: Library) -> Iterator[Guest]:
    """A client of a server with given doors, names and code; what it builds ends with the test."""
    engines = []

    def come(doors: Doors | None = None, **more: Any) -> TestClient:
        app = make_app(library, doors)
        engines.append(app.state.engine)
        guard = guarded(app, token=TOKEN, port=8765, **more)
        return TestClient(guard, base_url=BASE, follow_redirects=False)

    yield come
    for engine in engines:
        engine.jobs.close()


def test_the_printed_code_lets_in_once(guest: Guest) -> None:
    code = OnceCode()
    client = guest(code=code)
    assert client.get("/?code=wrong").status_code == 403
    assert client.get(f"/search?code={code.text}").status_code == 401  # it is of one address
    answer = client.get(f"/?code={code.text}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert code.text not in answer.headers["set-cookie"]
    assert client.get("/").status_code == 200
    assert client.get(f"/?code={code.text}").status_code == 303  # who is in, stays in
    other = TestClient(client.app, base_url=BASE, follow_redirects=False)
    answer = other.get(f"/?code={code.text}")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert other.get(f"/?token={TOKEN}").status_code == 303


def test_a_code_does_not_last() -> None:
    now_s = [0.0]
    early, late = (OnceCode(clock=lambda: now_s[0]) for _ in range(2))
    now_s[0] = CODE_S
    assert early.use(early.text)
    now_s[0] = CODE_S + 1
    assert not late.use(late.text)


def test_other_names_are_those_that_were_allowed(guest: Guest) -> None:
    client = guest(names=("films.example",))
    for host, status in {
        "films.example": 200, "Films.Example:8765": 200, "127.0.0.1:8765": 200,
        "films.example:9": 421, "evil.example": 421, "a.films.example": 421,
    }.items():  # fmt: skip
        assert client.get("/", headers={**KEY, "Host": host}).status_code == status, host
    for origin, status in {"https://films.example": 200, "https://evil.example": 403}.items():
        headers = {**KEY, "Host": "films.example", "Origin": origin}
        assert client.get("/", headers=headers).status_code == status


def test_a_server_that_only_reads_changes_nothing(
    guest: Guest, library: Library, video_id: str, tmp_path: Path
) -> None:
    client = guest(Doors(is_read_only=True))
    build = {"paths": [str(tmp_path / "films")]}
    answers = [
        client.post(f"{API}/builds", json=build, headers=KEY),
        client.post("/builds", data={"path": build["paths"][0]}, headers=KEY),
        client.delete(f"{API}/videos/{video_id}", headers=KEY),
    ]
    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert answers[0].json()["type"] == "urn:fdvs:problem:NotAllowed"
    assert client.get(f"{API}/builds", headers=KEY).json() == []
    assert "Add videos" not in client.get("/", headers=KEY).text
    assert "Add videos" in guest(Doors()).get("/", headers=KEY).text
    assert len(library.videos()) == 2
    assert client.get(f"{API}/search?q=fox", headers=KEY).status_code == 200


def test_a_video_is_removed_and_its_file_stays(
    guest: Guest, library: Library, video_id: str
) -> None:
    film = library.media(video_id)
    answer = guest().delete(f"{API}/videos/{video_id}", headers=KEY)
    assert answer.json()["removed"]["name"] == "one.mp4"
    assert [row.name for row in library.videos()] == ["two.mp4"]
    assert film.is_file()


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """A folder that may be added, and ways out of it."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside / "sub", inside / "linked", outside):
        folder.mkdir(parents=True)
    for film in (inside / "sub" / "film.mp4", outside / "secret.mp4"):
        film.write_bytes(b"this is no film")
    (inside / "link.mp4").symlink_to(outside / "secret.mp4")
    (inside / "linked" / "folder").symlink_to(outside)
    return {
        "folder": inside / "sub", "file": inside / "sub" / "film.mp4", "link": inside / "link.mp4",
        "linked": inside / "linked", "outside": outside, "secret": outside / "secret.mp4",
        "dots": inside / ".." / "outside", "no such": outside / "no-such.mp4",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "status"),
    [("folder", 202), ("file", 202), ("link", 422), ("linked", 422), ("outside", 422),
     ("secret", 422), ("dots", 422), ("no such", 422)],
)  # fmt: skip
def test_only_what_lies_in_a_named_folder_is_added(
    guest: Guest, places: dict[str, Path], name: str, status: int
) -> None:
    client = guest(Doors(add_from=((places["folder"].parent).resolve(),)))
    answer = client.post(f"{API}/builds", json={"paths": [str(places[name])]}, headers=KEY)
    assert answer.status_code == status
    if name == "no such":  # that it is not there, is not told
        told = answer.json()["detail"].replace("no-such", "secret")
        there = client.post(f"{API}/builds", json={"paths": [str(places["secret"])]}, headers=KEY)
        assert told == there.json()["detail"]


def test_without_a_named_folder_a_far_server_adds_nothing(guest: Guest, tmp_path: Path) -> None:
    answer = guest(Doors(add_from=())).post(
        f"{API}/builds", json={"paths": [str(tmp_path)]}, headers=KEY
    )
    assert answer.status_code == 403
    assert "--add-from" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--host", "0.0.0.0"], "one address"),
        (["--host", "::"], "one address"),
        (["--host", "192.0.2.1"], "--allow-host"),
        (["--allow-host", "films.example/x"], "allow-host"),
        (["--allow-host", "*"], "allow-host"),
    ],
)
def test_a_server_for_other_machines_has_conditions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], told: str
) -> None:
    library = tmp_path / "library"
    assert cli.run(["serve", "-l", str(library), "--port", "0", *argv]) == 2
    assert told in capsys.readouterr().err
    assert not library.exists()


def test_a_short_token_is_not_for_other_machines(
    library: Library, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    give_to_command_line: Callable[[Library], None],
) -> None:  # fmt: skip
    give_to_command_line(library)
    monkeypatch.setenv("FDVS_TOKEN", "x" * (FAR_CHARS - 1))
    assert cli.run(["serve", "--port", "0", "--allow-host", "films.example"]) == 2
    assert f"at least {FAR_CHARS}" in capsys.readouterr().err


def test_a_program_learns_how_to_use_a_server(library: Library, served: Served) -> None:
    tokens = []
    for _ in range(2):
        child, told = served(library.path)
        token = Path(told["token"]).read_text().strip()
        tokens.append(token)
        name, _, value = told["header"].replace("TOKEN", token).partition(": ")
        with httpx.Client(headers={name: value}, timeout=30) as client:
            rows = client.get(f"{told['api']}/videos").json()["items"]
            assert client.get(told["openapi"]).json()["openapi"].startswith("3.")
        assert [row["name"] for row in rows] == ["one.mp4", "two.mp4"]
        assert httpx.get(told["open"], timeout=30).status_code == 303
        assert httpx.get(told["open"], timeout=30).status_code == 403
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 143
        assert token not in err + json.dumps(told)
    assert tokens[0] == tokens[1]
    assert stat.S_IMODE((library.path / "serve.token").stat().st_mode) == 0o600


def test_a_token_of_the_environment_is_kept_nowhere(library: Library, served: Served) -> None:
    token = new_token()
    _, told = served(library.path, FDVS_TOKEN=token)
    assert told["token"] == "the variable FDVS_TOKEN"
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx.get(f"{told['api']}/videos", headers=headers, timeout=30).status_code == 200
    assert not (library.path / "serve.token").exists()
