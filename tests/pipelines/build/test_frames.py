"""Frames in a build: the size that each describer asks for, and how long they are kept."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.config import Config, SampleConfig
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.build.overlap import max_clips_in_flight
from fdvs.pipelines.library import Library
from fdvs.store.store import Store
from fdvs.types import ClipView

CONFIG = Config()


class CloseReader(ScriptedDescriber):
    """A describer that wants larger pictures than the embedder gets."""

    short_side_px = 40


def open_library(path: Path, models: dict[str, Any], config: Config = CONFIG) -> Library:
    return Library.open(path / "library", config=config, models=models)


def frame_vectors(folder: Path) -> list[Any]:
    with Store.open(folder) as store:
        rows = store.get_all(store.find_video("colours.mp4").video_id, "frames")
    assert sorted(rows) == [0, 1, 2, 3]
    return [rows[index].vectors for index in sorted(rows)]


def test_a_describer_gets_pictures_of_the_size_that_it_asks_for(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    shapes: dict[str, set[tuple[int, ...]]] = {"captioner": set(), "close": set()}

    def look(name: str) -> Callable[[ClipView], list[str]]:
        def describe(view: ClipView) -> list[str]:
            shapes[name].update(frame.image.shape for frame in view.frames)
            return [f"{name} saw it"]

        return describe

    models["captioner"] = ScriptedDescriber(look("captioner"))
    small = replace(CONFIG, sample=SampleConfig(short_side_px=32))
    with open_library(tmp_path, models, small) as library:
        library.build(films)
    vectors = frame_vectors(tmp_path / "library")
    assert shapes == {"captioner": {(32, 43, 3)}, "close": set()}
    models["source:screen-text"] = CloseReader(look("close"), source="screen text")
    closer = replace(small, perceive=replace(small.perceive, sources=("screen-text",)))
    with open_library(tmp_path / "new", models, closer) as library:
        library.build(films)
    for before, now in zip(vectors, frame_vectors(tmp_path / "new" / "library"), strict=True):
        assert np.array_equal(before, now)
    assert shapes == {"captioner": {(32, 43, 3)}, "close": {(40, 53, 3)}}


def test_pictures_are_let_go_once_their_clip_is_done(
    tmp_path: Path, models: dict[str, Any], make_film: Any
) -> None:
    film = make_film(tmp_path / "long.mp4", [("red", 3), ("green", 3), ("blue", 3)] * 20)
    alive: list[int] = []
    held: list[weakref.ref[Any]] = []

    def look(view: ClipView) -> list[str]:
        held.extend(weakref.ref(frame.image) for frame in view.frames)
        alive.append(sum(ref() is not None for ref in held))
        return ["x"]

    models["captioner"] = ScriptedDescriber(look, batch_size=1)
    models["image_embedder"].batch_size = 8
    with open_library(tmp_path, models) as library:
        library.build(film)
    assert len(alive) == 60
    assert max(alive) <= max_clips_in_flight(1, 1)
