"""Names follow the files, and what is gone is forgotten only where that is asked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, CutConfig
from fdvs.pipelines.library import Library
from fdvs.report import BuildReport
from fdvs.store.store import Store
from fdvs.story.as_json import story_to_json

CONFIG = Config(cut=CutConfig(method="fixed", fixed_clip_s=4.0))


@pytest.fixture
def films(tmp_path: Path, make_film: Any) -> Path:
    (tmp_path / "films").mkdir()
    make_film(tmp_path / "films" / "x.mp4", [("red", 4), ("green", 4)])
    make_film(tmp_path / "films" / "y.mp4", [("white", 4), ("black", 4)])
    return tmp_path / "films"


@pytest.fixture
def build(films: Path, models: dict[str, Any]) -> Any:
    def run(*paths: Path, prune: bool = False) -> BuildReport:
        with Library.open(films.parent / "library", config=CONFIG, models=models) as library:
            return library.build(paths or films, prune=prune)

    return run


def told(films: Path, models: dict[str, Any]) -> dict[str, str]:
    """Return the story of every video in the library by name."""
    with Library.open(films.parent / "library", config=CONFIG, models=models) as library:
        return {r.name: json.dumps(story_to_json(library.story(r.name))) for r in library.videos()}


def test_a_name_follows_its_file(films: Path, models: dict[str, Any], build: Any) -> None:
    build()
    (films / "x.mp4").rename(films / "holiday.mp4")
    assert {row.status for row in build().rows} == {"unchanged"}
    assert sorted(told(films, models)) == ["holiday.mp4", "y.mp4"]


def test_films_that_swap_names_swap_them_in_the_library(
    films: Path, models: dict[str, Any], build: Any
) -> None:
    build()
    (films / "x.mp4").rename(films / "z.mp4")
    (films / "y.mp4").rename(films / "x.mp4")
    (films / "z.mp4").rename(films / "y.mp4")
    assert {row.status for row in build().rows} == {"unchanged"}
    found = told(films, models)
    assert "white" in found["x.mp4"]
    assert "red" in found["y.mp4"]


def test_two_files_of_one_name_stay_apart_and_a_damaged_name_is_put_right(
    films: Path, models: dict[str, Any], make_film: Any, build: Any
) -> None:
    (films / "old").mkdir()
    make_film(films / "old" / "x.mp4", [("yellow", 4), ("blue", 4)])
    build()
    names = sorted(told(films, models))
    assert names == ["old/x.mp4", "x.mp4", "y.mp4"]
    with Store.open(films.parent / "library") as store, store.writing() as connection:
        connection.execute("UPDATE videos SET name = 'y.ep4' WHERE name = 'y.mp4'")
    build()
    assert sorted(told(films, models)) == names


def test_pruning_forgets_what_is_gone_below_the_given_folders_alone(
    films: Path, models: dict[str, Any], make_film: Any, build: Any, tmp_path: Path
) -> None:
    (tmp_path / "films too").mkdir()
    far = make_film(tmp_path / "films too" / "far.mp4", [("yellow", 4), ("blue", 4)])
    build(films, far)
    far.unlink()
    (films / "y.mp4").unlink()
    assert "forgotten" not in " ".join(build().notes)
    assert len(told(films, models)) == 3, "nothing is forgotten unasked"
    assert "y.mp4 is forgotten: its file is gone" in build(prune=True).notes
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        left = {row.name: row.status for row in library.videos()}
    assert left == {"x.mp4": "ok", "far.mp4": "missing"}
    assert len(list((tmp_path / "library" / "thumbnails").iterdir())) == 2


def test_a_second_file_of_its_content_keeps_a_video(
    films: Path, models: dict[str, Any], build: Any
) -> None:
    shutil.copy(films / "x.mp4", films / "twin.mp4")
    build()
    (films / "x.mp4").unlink()
    assert not [note for note in build(prune=True).notes if "forgotten" in note]
    with Library.open(films.parent / "library", config=CONFIG, models=models) as library:
        assert sorted(row.name for row in library.videos()) == ["twin.mp4", "y.mp4"]
        assert library.media("twin.mp4") == films / "twin.mp4"
