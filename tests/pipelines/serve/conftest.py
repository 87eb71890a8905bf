"""A library of two made films behind the server's application."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

fastapi = pytest.importorskip("fastapi")

from fastapi.testclient import TestClient  # noqa: E402

from fdvs.config import AskConfig, Config, PerceiveConfig  # noqa: E402
from fdvs.pipelines.library import Library  # noqa: E402
from fdvs.pipelines.serve.app import make_app  # noqa: E402

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def library(
    tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]
) -> Iterator[Library]:
    folder = tmp_path / "films"
    folder.mkdir()
    make_film(folder / "one.mp4", [("red", 2.0), ("green", 2.0)])
    make_film(folder / "two.mp4", [("blue", 2.0)])
    (folder / "one.srt").write_text(
        f"1\n00:00:00,500 --> 00:00:01,500\nA fox digs a deep hole. {HOSTILE} is no markup.\n\n"
        "2\n00:00:02,500 --> 00:00:03,500\nThe rabbit eats grass.\n",
        "utf-8",
    )
    config = Config(
        perceive=PerceiveConfig(sources=("subtitles",)),
        ask=AskConfig(answerer="evidence", min_fit=-1),
    )
    with Library.open(tmp_path / "library", config=config, models=models) as opened:
        report = opened.build([folder])
        assert [row.status for row in report.rows] == ["built", "built"]
        yield opened


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(make_app(library), base_url="http://127.0.0.1:8765") as opened:
        yield opened


@pytest.fixture
def video_id(library: Library) -> str:
    return next(row.video_id or "" for row in library.videos() if row.name == "one.mp4")


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[subprocess.Popen[str], Any]]]:
    """Start a server as a program does: gives the process and what it says of itself."""
    started: list[subprocess.Popen[str]] = []

    def start(library: Path, *argv: str, **variables: str) -> tuple[subprocess.Popen[str], Any]:
        environment = {name: value for name, value in os.environ.items() if name != "FDVS_TOKEN"}
        code = "from fdvs.pipelines.cli.start import main; main()"
        command = [sys.executable, "-P", "-c", code, "serve", "-l", str(library), "--port", "0"]
        child = subprocess.Popen(
            [*command, "--json", *argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**environment, **variables},
        )  # fmt: skip
        started.append(child)
        assert child.stdout is not None
        return child, json.loads(child.stdout.readline())

    yield start
    for child in started:
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
        with contextlib.suppress(ValueError):  # a test has read it to its end
            child.communicate(timeout=60)
