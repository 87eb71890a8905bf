"""The same made films built with other settings, by models that are told the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from fdvs.datasets.synthetic import plan, sound
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.evaluation.rule_reader import RuleReader


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
    with script.FilmStudy(tmp_path, RuleReader(), num_films=2, short=True, models=models) as study:
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
