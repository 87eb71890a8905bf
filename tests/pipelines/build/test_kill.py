"""kill -9 at several moments, then again: the text of an unbroken build, and no committed clip
asked twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import Config
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder
from fdvs.pipelines.build.overlap import max_clips_in_flight
from fdvs.pipelines.library import Library
from fdvs.store.store import Store
from fdvs.story.as_json import story_to_json

NUM_SHOTS = 24
DESCRIBE_BATCH = 2
CHILD = """
import sys, time
from pathlib import Path
from fdvs.config import Config
from fdvs.models.scripted import (
    GridImageEmbedder, HashTextEmbedder, ScriptedDescriber, ScriptedLanguageModel)
from fdvs.pipelines.library import Library

library, films, log = sys.argv[1:]

def describe(view):
    time.sleep(0.05)
    with open(log, "a") as file:
        file.write(f"{view.clip.index}\\n")
    return [f"A wall with mean {int(view.frames[0].image.mean())} fills the picture."]

models = {
    "image_embedder": GridImageEmbedder(batch_size=16),
    "text_embedder": HashTextEmbedder(),
    "captioner": ScriptedDescriber(describe, batch_size=2),
    "llm": ScriptedLanguageModel([]),
}
with Library.open(library, config=Config(), models=models) as opened:
    report = opened.build(films)
    print([row.status for row in report.rows])
"""


def run(library: Path, film: Path, log: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-c", CHILD, str(library), str(film), str(log)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for_lines(log: Path, num: int, child: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if log.exists() and log.read_text().count("\n") >= num:
            return
        time.sleep(0.01)
    assert child.poll() is not None, "the build made no progress"


def vectors_of(library: Path, stage: str) -> dict[int, Any]:
    with Store.open(library) as store:
        (video,) = store.videos()
        return {i: a.vectors for i, a in store.get_all(video.video_id, stage).items()}


def described_clips(library: Path) -> set[int]:
    with Store.open(library) as store:
        return {
            item
            for video in store.videos()
            for item in store.get_all(video.video_id, "see:captioner")
        }


@pytest.fixture
def film(tmp_path: Path, make_film: Any) -> Path:
    colours = ["red", "green", "blue", "white", "yellow", "black"]
    shots = [(colours[i * 5 % 6], 3.0) for i in range(NUM_SHOTS)]
    path: Path = make_film(tmp_path / "long.mp4", shots)
    return path


def test_a_build_killed_at_several_moments_ends_as_an_unbroken_one(
    tmp_path: Path, film: Path
) -> None:
    log, killed = tmp_path / "log", tmp_path / "killed"
    num_kills = 0
    for moment in (1, 6, 14):
        child = run(killed, film, log)
        wait_for_lines(log, moment, child)
        if child.poll() is None:
            os.kill(child.pid, signal.SIGKILL)
            num_kills += 1
        child.communicate(timeout=30)
    assert num_kills == 3
    last = run(killed, film, log)
    assert last.communicate(timeout=120)[0].strip() == "['built']"
    asked = log.read_text().split()
    bound = max_clips_in_flight(16, DESCRIBE_BATCH)
    assert set(map(int, asked)) == set(range(NUM_SHOTS))
    assert len(asked) <= NUM_SHOTS + num_kills * bound

    whole = tmp_path / "whole"
    assert run(whole, film, tmp_path / "log2").communicate(timeout=120)[0].strip() == "['built']"
    models = {"text_embedder": HashTextEmbedder(), "image_embedder": GridImageEmbedder()}
    texts = []
    for folder in (killed, whole):
        with Library.open(folder, config=Config(), models=models) as library:
            texts.append(json.dumps(story_to_json(library.story("long.mp4")), sort_keys=True))
    assert texts[0] == texts[1]
    for stage in ("frames", "chapter_vector", "story_vector"):
        one, two = vectors_of(killed, stage), vectors_of(whole, stage)
        assert one.keys() == two.keys()
        for item in one:
            np.testing.assert_allclose(one[item], two[item], atol=1e-5)


def test_a_clip_that_was_committed_is_not_asked_again(tmp_path: Path, film: Path) -> None:
    library, log = tmp_path / "library", tmp_path / "log"
    child = run(library, film, log)
    wait_for_lines(log, 12, child)
    deadline = time.monotonic() + 60
    while not described_clips(library) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    committed = described_clips(library)
    assert committed, "nothing was committed before the kill"
    log.write_text("")
    run(library, film, log).communicate(timeout=120)
    assert committed.isdisjoint(map(int, log.read_text().split()))


def test_a_dead_builds_lock_does_not_block(tmp_path: Path, film: Path) -> None:
    library, log = tmp_path / "library", tmp_path / "log"
    child = run(library, film, log)
    wait_for_lines(log, 1, child)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    with Store.open(library) as store, store.build_lock(wait=False):
        pass
