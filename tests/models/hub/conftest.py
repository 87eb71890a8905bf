"""A stand-in hub, and FDVS in a process of its own that knows no other one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from .stand_in_hub import StandInHub, running_hub

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def hub() -> Iterator[StandInHub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def python(hub: StandInHub, tmp_path: Path) -> Run:
    """Run code in a process with empty caches of this test; `environment` adds to what it sees.

    The hub's client reads its settings when it is imported, so every run has its own process.
    """
    own = {
        "FDVS_CACHE": str(tmp_path / "models"), "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PIP_NO_INDEX": "1",
    }  # fmt: skip

    def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, **own, **environment}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip

    return run


@pytest.fixture
def fdvs(python: Run) -> Run:
    """Run `fdvs` with arguments as `python` runs code."""
    return partial(python, "from fdvs.pipelines.cli.start import main; main()")


@pytest.fixture
def publish(hub: StandInHub, tmp_path: Path) -> Callable[[str, dict[str, bytes]], Path]:
    """Give the hub a repository of plain files."""

    def make(name: str, files: dict[str, bytes]) -> Path:
        from .stand_in_hub import Repository

        folder = tmp_path / "published" / name
        for file, data in files.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_bytes(data)
        hub.repositories[name] = Repository(folder=folder)
        return folder

    return make
