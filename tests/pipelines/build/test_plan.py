"""What of a clip is still to do, after a build and after a change of settings."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, RedundancyConfig, SampleConfig
from fdvs.media.readers import open_reader
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, VideoJob
from fdvs.pipelines.build.plan import plan_clip
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.store.store import Store
from fdvs.types import Clip

CONFIG = Config()


@pytest.fixture
def built(tmp_path: Path, make_film: Any, models: dict[str, Any]) -> Path:
    """A library of one film of two clips, each of eight equal frames."""
    film = make_film(tmp_path / "film.mp4", [("red", 4), ("green", 4)])
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        library.build(film)
    return tmp_path / "library"


def planned(folder: Path, config: Config, models: dict[str, Any]) -> ClipTask:
    """Return the plan of the film's second clip."""
    context = BuildContext(folder, config, ModelSet(config, models=models))
    with Store.open(folder) as store:
        (video,) = store.videos()
        job = VideoJob(video.path, video_id=video.video_id, sha256=video.sha256)
        with open_reader(video.path) as reader:
            job.info = reader.info
        clip = Clip(video_id=video.video_id, index=1, start_s=4.0, end_s=8.0)
        return plan_clip(job, clip, store, context)


def test_nothing_is_to_do_while_everything_holds(built: Path, models: dict[str, Any]) -> None:
    task = planned(built, CONFIG, models)
    assert (task.stale, task.decode_times_s) == ((), ())
    assert [o.text for o in task.observations["captioner"]] == [
        "A wall painted green fills the picture."
    ]


def test_another_rule_asks_the_captioner_about_stored_frames(
    built: Path, models: dict[str, Any]
) -> None:
    config = replace(CONFIG, visual=RedundancyConfig(policy="none"))
    task = planned(built, config, models)
    assert task.stale == ("captioner",)
    assert task.observations == {}
    assert task.vectors is not None, "the stored vectors still hold"
    assert task.decode_times_s == task.times_s == task.kept_times_s
    assert len(task.times_s) == 8


def test_another_sampling_decodes_everything_again(built: Path, models: dict[str, Any]) -> None:
    config = replace(CONFIG, sample=SampleConfig(num_frames_per_clip=3))
    task = planned(built, config, models)
    assert task.stale == ("captioner",)
    assert task.vectors is None
    assert len(task.decode_times_s) == 3
    assert task.decode_times_s[0] == 4.0


def test_a_damaged_result_counts_as_missing(built: Path, models: dict[str, Any]) -> None:
    with Store.open(built) as store, store.writing() as connection:
        connection.execute("UPDATE artifacts SET payload = '{}' WHERE stage = 'see:captioner'")
    task = planned(built, CONFIG, models)
    assert task.stale == ("captioner",)
    assert task.decode_times_s == task.kept_times_s == (4.0,)
