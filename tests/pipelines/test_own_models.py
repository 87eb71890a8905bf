"""Own models: plain functions as captioners, and what is said of objects that are no models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import ConfigError, UnknownName
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.own_models import EXAMPLES, PROTOCOLS, checked_models
from fdvs.types import Frame

from .conftest import COLOURS

SHOTS = [("red", 2), ("green", 2)]


def colour_of(frames: Sequence[Frame]) -> str:
    mean = frames[0].image.reshape(-1, 3).mean(axis=0)
    near = min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
    return f"A wall painted {near} at {frames[0].time_s:.1f} seconds."


def colour_and_more(frames: Sequence[Frame]) -> list[str]:
    return [colour_of(frames), f"There are {len(frames)} pictures.", " "]


@pytest.fixture
def film(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    return make_film(tmp_path / "film.mp4", SHOTS)


@pytest.mark.parametrize("function", [colour_of, colour_and_more])
def test_a_plain_function_describes_films(
    tmp_path: Path, film: Path, models: dict[str, Any], function: Any
) -> None:
    with Library.open(tmp_path / "l", models={**models, "captioner": function}) as library:
        (row,) = library.build([film]).rows
        chapters = [chapter.text for chapter in library.story(film.name).chapters]
    assert (row.status, row.missing) == ("built", ())
    assert "painted red at 0.0" in chapters[0]
    assert "painted green at 2.0" in chapters[1]
    assert ("pictures" in chapters[0]) == (function is colour_and_more)


def test_another_function_describes_again_and_the_same_does_not(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    statuses = []
    for function in (colour_of, colour_of, colour_and_more):
        with Library.open(tmp_path / "l", models={**models, "captioner": function}) as library:
            statuses += [row.status for row in library.build([film]).rows]
    assert statuses == ["built", "unchanged", "built"]


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda frames: 5, "returned int; want a text"),
        (lambda frames: [b"no"], "returned list; want a text"),
        (lambda frames: frames[99], "IndexError"),
    ],
)
def test_a_function_that_fails_costs_captions_and_is_told(
    tmp_path: Path, film: Path, models: dict[str, Any], function: Any, told: str
) -> None:
    with Library.open(tmp_path / "l", models={**models, "captioner": function}) as library:
        report = library.build([film])
    assert report.num_bugs == 0
    assert told in repr(report.rows)


@pytest.mark.parametrize(
    ("role", "model", "told"),
    [
        ("captioner", object(), "object, which lacks source, identity, needs_frames, batch_size"),
        ("image_embedder", colour_of, "a function colour_of, which lacks identity"),
        ("llm", "gpt", "str, which lacks identity, context_tokens"),
        ("text_embedder", Frame, "the class Frame instead of an object"),
        ("source:mine", 5, "want a Describer or TrackSource"),
    ],
)
def test_what_is_no_model_is_told_when_the_library_is_opened(
    tmp_path: Path, models: dict[str, Any], role: str, model: Any, told: str
) -> None:
    with pytest.raises(ConfigError, match="an example: ") as caught:
        Library.open(tmp_path / "library", models={**models, role: model})
    assert told in str(caught.value)
    assert repr(role) in str(caught.value)
    assert not (tmp_path / "library").exists()


def test_an_unknown_role_names_near_ones() -> None:
    with pytest.raises(UnknownName, match="Did you mean captioner"):
        checked_models({"captoner": colour_of})


def test_every_role_has_an_example_and_good_models_stay_as_they_are(
    models: dict[str, Any],
) -> None:
    assert set(EXAMPLES) == set(PROTOCOLS)
    assert checked_models(models) == models
    from fdvs.config import Config

    assert dict(ModelSet(Config(), models=models).own) == models
