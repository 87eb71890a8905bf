"""Builds that are killed or run out of disk, also while a film is replaced: nothing is lost or kept
that should not be, and the next build ends as an unbroken one."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.pipelines.library import Library
from fdvs.story.as_json import story_to_json

from .conftest import BUILD, Attack, write_film

pytestmark = [pytest.mark.attack, pytest.mark.slow]
StartBuild = Callable[..., subprocess.Popen[str]]

# Files may not grow beyond a bound: what a full disk does to whoever writes.
WITH_A_FULL_DISK = """
import resource, runpy, signal, sys
bound, script, *sys.argv[1:] = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(bound), int(bound)))
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


def greys(seed: int) -> list[int]:
    return [(seed * 53 + step * 41) % 256 for step in range(8)]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for number in range(3):
        write_film(folder / f"{number}.mp4", greys(number))
    return folder


def told(library: Path, scripted: ModuleType) -> dict[str, Any]:
    """Return the stories by name, and how many videos the library holds."""
    with Library.open(library, create=False, models=scripted.MODELS) as opened:
        rows = opened.videos()
        found: dict[str, Any] = {
            row.name: json.dumps(story_to_json(opened.story(row.name)), sort_keys=True)
            for row in rows
        }
    return found | {"statuses": sorted(row.status for row in rows)}


def quietly(start_build: StartBuild, library: Path, films: Path) -> str:
    build = start_build(library, films)
    _, errors = build.communicate(timeout=120)
    return errors[-800:] if build.returncode else ""


def killed_after(build: subprocess.Popen[str], seconds: float) -> None:
    time.sleep(seconds)
    build.kill()
    build.communicate(timeout=60)


def test_kills(
    attack: Attack, films: Path, tmp_path: Path, start_build: StartBuild, scripted: ModuleType
) -> None:
    """Every fifth one while a film is replaced; three kills before each build that may end."""
    rng = random.Random(2)
    seed, library = 100, tmp_path / "library"
    for number in range(attack.trials(6)):
        if number % 5 == 4:
            seed += 1
            write_film(films / "1.mp4", greys(seed))
        else:
            shutil.rmtree(library, ignore_errors=True)
        num_kills = rng.randint(1, 3)
        for _ in range(num_kills):
            killed_after(start_build(library, films), rng.uniform(0.3, 1.3))
        wrong = quietly(start_build, library, films)
        fresh = tmp_path / f"fresh{number}"
        wrong = wrong or quietly(start_build, fresh, films)
        if not wrong and told(library, scripted) != told(fresh, scripted):
            wrong = "another story than that of an unbroken build"
        attack.count(f"kill {number}: {wrong}" if wrong else "", num=num_kills)
        shutil.rmtree(fresh, ignore_errors=True)


def test_full_disks(
    attack: Attack, films: Path, tmp_path: Path, start_build: StartBuild, scripted: ModuleType
) -> None:
    rng = random.Random(4)
    assert not quietly(start_build, tmp_path / "whole", films)
    right = told(tmp_path / "whole", scripted)
    size = (tmp_path / "whole" / "library.sqlite").stat().st_size
    for number in range(attack.trials(6)):
        library = tmp_path / str(number)
        bound = str(rng.randrange(4096, size))
        command = [sys.executable, "-P", "-c", WITH_A_FULL_DISK, bound, str(BUILD)]
        full = subprocess.run(
            [*command, str(library), str(films)], capture_output=True, text=True, timeout=120
        )
        is_told = full.returncode == 0 or "disk" in full.stderr
        wrong = "" if is_told else f"at {bound} bytes: {full.stderr[-800:]}"
        wrong = wrong or quietly(start_build, library, films)
        if not wrong and told(library, scripted) != right:
            wrong = "another story than that of an unbroken build"
        attack.count(f"disk {number}: {wrong}" if wrong else "")
