"""Films and models for builds by workers; captioners that end the process they run in."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import Config, CutConfig, PerceiveConfig
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.library import Library
from fdvs.report import BuildReport
from fdvs.store.schema import DATABASE_NAME
from fdvs.types import ClipView

os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported

CONFIG = Config(
    cut=CutConfig(min_clip_s=0.5, max_clip_s=1.0), perceive=PerceiveConfig(sources=("subtitles",))
)
CLOCKED = "('cost', 'saved')"  # rows with times of the clock
MakeFilm = Callable[[Path, Any], Path]
Describe = Callable[[ClipView], list[str]]


def mean_colour(view: ClipView) -> list[int]:
    """Return red, green and blue of the first picture, in eighths."""
    mean = view.frames[0].image.reshape(-1, 3).mean(axis=0)
    return [int(value) // 32 for value in np.asarray(mean)]


def say_colour(view: ClipView) -> list[str]:
    red, green, blue = mean_colour(view)
    return [f"A wall of red {red}, green {green} and blue {blue} fills the picture."]


def say_colour_slowly(view: ClipView) -> list[str]:
    time.sleep(0.3)
    return say_colour(view)


def is_yellow(view: ClipView) -> bool:
    red, green, blue = mean_colour(view)
    return min(red, green) > 5 and blue < 2


def is_of_second_folder(view: ClipView) -> bool:
    return view.video_path.parts[-2:] == ("1", "film1.mp4")


class AnotherEverywhere(HashTextEmbedder):
    """An embedder that is another one in every process."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.identity = replace(self.identity, name=f"in process {os.getpid()}")


def once(flag: Path, ends: Callable[[ClipView], bool]) -> Describe:
    """Return what ends the process at the first clip for which `ends` is true, and only once."""

    def describe(view: ClipView) -> list[str]:
        if ends(view) and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return say_colour(view)

    return describe


def stuck_once(flag: Path, ends: Callable[[ClipView], bool]) -> Describe:
    """Return what hangs for minutes at the first clip for which `ends` is true, and only once."""

    def describe(view: ClipView) -> list[str]:
        if ends(view) and not flag.exists():
            flag.touch()
            time.sleep(600)
        return say_colour(view)

    return describe


def always(flag: Path, ends: Callable[[ClipView], bool]) -> Describe:
    """Return what ends the process at every clip for which `ends` is true; `flag` gets a byte."""

    def describe(view: ClipView) -> list[str]:
        if ends(view):
            with flag.open("ab") as file:
                file.write(b".")
            os.kill(os.getpid(), signal.SIGKILL)
        return say_colour(view)

    return describe


def made_of(describe: Describe) -> dict[str, Any]:
    return {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(describe),
    }


@pytest.fixture
def films(tmp_path: Path, make_film: MakeFilm) -> Path:
    """Six films of six clips, two of one name, two of one content, and two broken files."""
    folder = tmp_path / "films"
    colours = ["red", "green", "blue", "white", "yellow", "black"]
    for number in range(4):
        place = folder / str(number % 2) / f"film{number // 2}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        make_film(place, [(colours[(number + step) % 6], 1.0) for step in range(6)])
    (folder / "twin.mp4").write_bytes((folder / "0" / "film0.mp4").read_bytes())
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((folder / "0" / "film0.mp4").read_bytes()[:900])
    return folder


def rows_of(library: Path) -> dict[str, list[Any]]:
    """Return what a library holds, but for times of the clock."""
    with sqlite3.connect(library / DATABASE_NAME) as connection:
        found = {
            "results": "SELECT video_id, stage, item, fingerprint, digest FROM artifacts"
            f" WHERE stage NOT IN {CLOCKED} AND stage != 'done' ORDER BY 1, 2, 3",
            "done": "SELECT video_id, fingerprint FROM artifacts WHERE stage = 'done' ORDER BY 1",
            "videos": "SELECT video_id, name, path FROM videos ORDER BY 1",
            "sources": "SELECT path, video_id, status, reason FROM sources ORDER BY 1",
        }
        return {name: connection.execute(query).fetchall() for name, query in found.items()}


def build(library: Path, films: Path, describe: Describe, **given: Any) -> BuildReport:
    with Library.open(library, config=CONFIG, models=made_of(describe)) as opened:
        return opened.build(films, **given)


@pytest.fixture
def plain(tmp_path: Path, films: Path) -> Path:
    """The library of a build in this process."""
    build(tmp_path / "plain", films, say_colour)
    return tmp_path / "plain"


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """Ray on this machine, for several builds; functions of this file travel by value."""
    import sys

    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    ray.init(
        address="local", num_cpus=4, include_dashboard=False, log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )  # fmt: skip
    yield
    ray.shutdown()
