"""The same made films built with other settings, by models that are told the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fdvs.datasets.synthetic import plan, sound
from fdvs.datasets.synthetic.plan import make_recipe
from fdvs.datasets.synthetic.recipe import Line, Shot, recipe_to_json
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.types import Clip, ClipView, Frame


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/film_study.py")


@pytest.fixture(autouse=True)
def _small_and_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "WIDTH_PX", 80)
    monkeypatch.setattr(plan, "HEIGHT_PX", 60)
    monkeypatch.setattr(sound.shutil, "which", lambda name: None)


def test_a_study_builds_the_same_films_with_other_settings(
    script: ModuleType, tmp_path: Path
) -> None:
    models = {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(lambda view: ["A pattern with a shape."]),
    }
    study = script.FilmStudy(tmp_path, RuleReader(), num_films=2, short=True, models=models)
    base = study.config()
    none = replace(base, visual=replace(base.visual, policy="none"))
    rows = [study.row("none", none), study.row("usual", base)]
    films = study.films(base)
    assert script.kept_shares(films)["frames_kept"] == rows[1]["frames_kept"]
    assert [row["name"] for row in rows] == ["none", "usual"]
    assert rows[0]["frames_kept"] == 1.0 > rows[1]["frames_kept"]
    assert rows[0]["num_captioner_calls"] > rows[1]["num_captioner_calls"]
    assert all(0 <= row["accuracy"] <= 1 for row in rows)
    assert rows[0]["num_questions"] == rows[1]["num_questions"] > 8
    assert "espeak-ng" in study.deaf


def test_rows_of_several_draws_are_one_row_with_its_range(script: ModuleType) -> None:
    rows = [{"name": "draw", "accuracy": a, "R1@0.5": 0.5, "note": None} for a in (0.2, 0.4)]
    mean = script.mean_row("random", rows)
    assert mean["accuracy"] == 0.3
    assert (mean["accuracy_min"], mean["accuracy_max"]) == (0.2, 0.4)
    assert mean["num_draws"] == 2
    assert "note" not in mean


@pytest.fixture
def views(tmp_path: Path) -> list[ClipView]:
    """Three clips of a film of eight seconds, whose recipe lies beside it."""
    recipe = replace(
        make_recipe(0, seed=5),
        name="small",
        shots=(
            Shot(index=0, scene="a", role="scene", start_s=0.0, end_s=4.0),
            Shot(index=1, scene="b", role="scene", start_s=4.0, end_s=8.0),
        ),
        texts=(
            Line(text="LANTERN", start_s=2.0, end_s=4.0),
            Line(text="SADDLE", start_s=4.0, end_s=8.0),
            Line(text="DOORS OPEN", start_s=6.9, end_s=7.6, is_banner=True),
        ),
        speech=(Line(text="It will snow on Monday.", start_s=4.5, end_s=6.0),),
    )
    (tmp_path / "small.json").write_text(json.dumps(recipe_to_json(recipe)))
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    clips = [(0.0, 4.0, (0.0, 3.0)), (4.0, 8.0, (4.0, 5.0)), (4.0, 8.0, (7.0,))]
    return [
        ClipView(
            video_path=tmp_path / "small.mp4",
            clip=Clip(video_id="v", index=i, start_s=start_s, end_s=end_s),
            frames=tuple(Frame(time_s=time_s, image=image) for time_s in times_s),
        )
        for i, (start_s, end_s, times_s) in enumerate(clips)
    ]


def test_the_recipe_is_read_for_the_frames_that_are_given(
    script: ModuleType, views: list[ClipView]
) -> None:
    texts = [script.shown_texts(view) for view in views]
    assert texts == [["LANTERN"], ["SADDLE"], ["SADDLE", "DOORS OPEN"]]


def test_the_recipe_is_heard_in_the_clip_that_holds_its_middle(
    script: ModuleType, views: list[ClipView]
) -> None:
    lines = [script.spoken_lines(view) for view in views]
    assert lines == [[], ["It will snow on Monday."], ["It will snow on Monday."]]
