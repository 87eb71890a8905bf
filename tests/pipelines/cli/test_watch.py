"""`fdvs build --watch` and `fdvs serve --watch` as processes: files that grow, bad ones, an end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("watchfiles")

PATIENCE_S = 90.0  # against hanging, on a busy machine
STEADY_S = 1.0
# the command line with models that need no weights
SCRIPTED = f"""
from fdvs.config import Config
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines import library, watching
from fdvs.pipelines.cli import options, start

class Scripted(library.Library):
    @classmethod
    def open(cls, path, **values):
        models = {{"image_embedder": GridImageEmbedder(), "text_embedder": HashTextEmbedder(),
                  "captioner": ScriptedDescriber(lambda view: ["A wall."])}}
        return library.Library.open(path, config=Config(), models=models)

watching.STEADY_S = {STEADY_S}
options.library_class = lambda: Scripted
start.main()
"""
PLAIN = f"""
from fdvs.pipelines import watching
from fdvs.pipelines.cli import start
watching.STEADY_S = {STEADY_S}
start.main()
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program of FDVS; whatever happens, it ends with the test."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *argv: str, **more: Any) -> subprocess.Popen[str]:
        started.append(
            subprocess.Popen(
                [sys.executable, "-P", "-c", code, *argv], stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, **more,
            )
        )  # fmt: skip
        return started[-1]

    yield run
    signal.signal(signal.SIGINT, before)
    for one in started:
        one.kill()
        one.communicate()


@pytest.fixture
def film(tmp_path: Path, make_film: Callable[..., Path]) -> bytes:
    return make_film(tmp_path / "source.mp4", [("red", 2.0), ("green", 2.0)]).read_bytes()


def copy_slowly(
    content: bytes, target: Path, *, num: int = 6, pause_s: float = STEADY_S / 2
) -> None:
    with target.open("wb") as out:
        for part in range(num):
            out.write(content[part * len(content) // num : (part + 1) * len(content) // num])
            out.flush()
            time.sleep(pause_s)


def reports(child: subprocess.Popen[str]) -> Iterator[dict[str, Any]]:
    assert child.stdout is not None
    for line in child.stdout:
        event = json.loads(line)
        if event["kind"] == "report":
            yield event["report"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_appears_is_built_when_it_is_whole_and_a_bad_file_ends_nothing(
    start: Start, film: bytes, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    (folder / "bad.mp4").write_text("this is no film")
    child = start(
        SCRIPTED, "build", str(folder), "-l", str(tmp_path / "library"), "--watch", "--events"
    )
    told = reports(child)
    assert [(row["name"], row["status"]) for row in next(told)["rows"]] == [("bad.mp4", "failed")]
    copy_slowly(film, folder / "film.mp4")
    rows = next(told)["rows"]  # a half of it would have failed, or come out shorter
    assert [(row["name"], row["status"]) for row in rows] == [("film.mp4", "built")]
    assert rows[0]["duration_s"] == pytest.approx(4.0, abs=0.2)
    (folder / "bad.mp4").write_bytes(film[:-1000] + b"x" * 1000)  # mended, as other content
    assert [row["name"] for row in next(told)["rows"]] == ["bad.mp4"]
    child.send_signal(number)
    _, err = child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 128 + number
    assert "finished work is kept" in err
    assert "Traceback" not in err


def test_watching_needs_folders_and_forgets_nothing(start: Start, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")
    library = tmp_path / "library"
    for more, told in (([], "a folder"), (["--prune"], "--prune")):
        argv = ["build", str(tmp_path / "film.mp4"), "-l", str(library), "--watch", *more]
        child = start(SCRIPTED, *argv)
        _, err = child.communicate(timeout=PATIENCE_S)
        assert (child.returncode, told in err) == (2, True)
    assert not library.exists()


@pytest.mark.slow
@pytest.mark.usefixtures("needs_models")
def test_a_server_builds_what_appears_in_its_folder(
    start: Start, film: bytes, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    argv = ["serve", "-l", str(tmp_path / "library"), "--port", "0", "--watch", str(folder)]
    token = "a-token-of-these-tests"
    child = start(PLAIN, *argv, env={**os.environ, "OMP_NUM_THREADS": "1", "FDVS_TOKEN": token})
    assert child.stderr is not None
    address = next(line.split()[1] for line in child.stderr if line.startswith("open"))
    origin = address.partition("/?")[0]
    with httpx.Client(base_url=origin, headers={"Authorization": f"Bearer {token}"}) as client:
        copy_slowly(film, folder / "film.mp4")
        until_s = time.monotonic() + PATIENCE_S
        jobs: list[Any] = []
        while not (jobs and jobs[0]["report"]) and time.monotonic() < until_s:
            time.sleep(0.3)
            jobs = client.get("/api/v1/builds").json()
        rows = client.get("/api/v1/videos").json()["items"]
        assert [(row["name"], row["status"]) for row in rows] == [("film.mp4", "ok")]
        (job,) = jobs
        assert [Path(path).name for path in job["paths"]] == ["film.mp4"]
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=PATIENCE_S)
    assert child.returncode == 143
