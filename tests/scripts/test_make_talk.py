"""The demo's talk: slides that change when the subtitles do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest


@pytest.fixture(scope="module")
def talk(
    tmp_path_factory: pytest.TempPathFactory, load_script: Callable[[str], ModuleType]
) -> Path:
    folder = tmp_path_factory.mktemp("talk")
    assert load_script("scripts/make_talk.py").main([str(folder)]) == 0
    return folder


def test_every_sentence_is_a_cue_and_the_film_lasts_until_the_last(talk: Path) -> None:
    text = (talk / "tides-talk.srt").read_text("utf-8")
    blocks = text.strip().split("\n\n")
    assert len(blocks) == 22
    assert blocks[0].splitlines()[1].startswith("00:00:00,500 --> ")
    with av.open(str(talk / "tides-talk.mp4")) as film:
        duration_s = float(film.duration / av.time_base)
    assert duration_s == pytest.approx(125.2, abs=1)


def test_slides_change_with_what_is_said(talk: Path) -> None:
    with av.open(str(talk / "tides-talk.mp4")) as film:
        frames = [f.to_ndarray(format="gray") for f in film.decode(video=0)]
    changes = [
        place / 5
        for place in range(1, len(frames))
        if np.abs(frames[place].astype(int) - frames[place - 1]).mean() > 1
    ]
    assert len(changes) == 5


def test_what_is_there_is_not_made_again(
    talk: Path, load_script: Callable[[str], ModuleType]
) -> None:
    before = (talk / "tides-talk.mp4").stat().st_mtime_ns
    assert load_script("scripts/make_talk.py").main([str(talk)]) == 0
    assert (talk / "tides-talk.mp4").stat().st_mtime_ns == before
    assert not list(talk.glob("*.part*"))
