"""The default redundancy rule through a whole build: what stays, what is said, what is redone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import Config, CutConfig, RedundancyConfig
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.library import Library
from fdvs.store.store import Store
from fdvs.types import ClipView

DEFAULT = Config(cut=CutConfig(method="fixed", fixed_clip_s=8.0, max_clip_s=30.0))
PAPER = replace(
    DEFAULT,
    visual=replace(DEFAULT.visual, policy="paper"),
    textual=replace(DEFAULT.textual, policy="paper"),
)
FIRST, SECOND = [("red", 4), ("green", 4)], [("blue", 4), ("white", 4)]


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    """Four clips of two shots each: the third is as the first, the fourth as the second."""
    made: Path = make_film(tmp_path / "film.mp4", [*FIRST, *SECOND, *FIRST, *SECOND])
    return made


@pytest.fixture
def counting(models: dict[str, Any]) -> dict[str, Any]:
    """The models, with a captioner that names the colour of every picture it was given."""

    def describe(view: ClipView) -> str:
        greys = sorted({int(np.dot(f.image[20, 30] // 64, (1, 4, 16))) for f in view.frames})
        return " and ".join(f"colour{grey}" for grey in greys)

    return {**models, "captioner": ScriptedDescriber(describe)}


def kept_of(library: Library, stage: str) -> list[list[bool]]:
    with Store.open(library.path) as store:
        (video,) = store.videos()
        found = store.get_all(video.video_id, stage)
    return [list(found[i].payload["kept"]) for i in sorted(found)]


def test_one_frame_of_every_shot_and_one_of_equal_chapters_stay(
    film: Path, tmp_path: Path, counting: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "library", config=DEFAULT, models=counting) as library:
        report = library.build(film)
        assert kept_of(library, "kept_frames") == [[True, *[False] * 3, True, *[False] * 3]] * 4
        assert kept_of(library, "kept_chapters") == [[True, True, False, False]]
        assert report.saved.num_frames_kept == 8
        assert report.rules == {"frames": "cover, floor 0.95", "chapters": "cover, floor 0.95"}
        assert [row.status for row in library.build(film).rows] == ["unchanged"]


def test_as_many_frames_by_chance_miss_shots(
    film: Path, tmp_path: Path, counting: dict[str, Any]
) -> None:
    num_shots = 0
    for seed in range(4):
        config = replace(DEFAULT, visual=replace(DEFAULT.visual, policy="random", seed=seed))
        with Library.open(tmp_path / "library", config=config, models=counting) as library:
            report = library.build(film)
            frames = kept_of(library, "kept_frames")
        assert [sum(one) for one in frames] == [2] * 4
        assert all(one[0] for one in frames)
        assert report.rules["frames"] == "random, as many as cover, floor 0.95"
        num_shots += sum(any(one[:4]) + any(one[4:]) for one in frames)
    assert num_shots < 4 * 8


def test_a_library_keeps_the_rule_it_was_built_with_until_told_otherwise(
    film: Path, tmp_path: Path, counting: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "library", config=PAPER, models=counting) as library:
        library.build(film)
    with Library.open(tmp_path / "library", models=counting) as library:
        assert library.config == PAPER
        assert [row.status for row in library.build(film).rows] == ["unchanged"]
        before = kept_of(library, "kept_frames")
    with Library.open(tmp_path / "library", config=DEFAULT, models=counting) as library:
        report = library.build(film)
        assert [(row.status, row.num_clips_computed) for row in report.rows] == [("built", 4)]
        assert kept_of(library, "kept_frames") != before
        assert report.rules["chapters"] == "cover, floor 0.95"


def test_a_rule_that_decides_the_same_asks_no_captioner(
    film: Path, tmp_path: Path, counting: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "library", config=DEFAULT, models=counting) as library:
        library.build(film)
    counting["captioner"].seen.clear()
    same = replace(DEFAULT, visual=RedundancyConfig(floor=0.94))
    with Library.open(tmp_path / "library", config=same, models=counting) as library:
        library.build(film)
        assert kept_of(library, "kept_frames") == [[True, *[False] * 3, True, *[False] * 3]] * 4
    assert counting["captioner"].seen == []
