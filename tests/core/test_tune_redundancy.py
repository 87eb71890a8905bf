"""The tuning script on a library whose rates are known by construction."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fdvs.store.store import Store, video_id_from
from fdvs.types import JsonDict, Vectors

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "tune_redundancy.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tune_redundancy", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tune_redundancy"] = module
    spec.loader.exec_module(module)
    return module


def put(
    store: Store,
    video_id: str,
    stage: str,
    item: int,
    payload: JsonDict,
    vectors: Vectors | None,
) -> None:
    store.put(video_id, stage, item, fingerprint="f", payload=payload, vectors=vectors)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """One video of 40 clips of four equal frames; every second chapter says the same."""
    sha256 = "0" * 64
    video_id = video_id_from(sha256)
    with Store.open(tmp_path / "lib", create=True) as store, store.build_lock():
        store.add_video(video_id=video_id, sha256=sha256, path=tmp_path / "film.mp4")
        for item in range(40):
            vector = np.eye(41, dtype=np.float32)[[0 if item % 2 == 0 else item]]
            text = "A wall." if item % 2 == 0 else f"Thing{item}."
            frames = np.ones((4, 3), dtype=np.float32)
            put(store, video_id, "frames", item, {}, frames)
            put(store, video_id, "chapter", item, {"text": text}, None)
            put(store, video_id, "chapter_vector", item, {}, vector)
    return tmp_path / "lib"


def test_a_library_is_measured(
    script: ModuleType, library: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([str(library), "--visual-floors", "0.9", "--textual-floors", "0.1"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("0.25") >= 2  # one of four equal frames: cover, and all pooled
    assert "cover 0.9" in printed
    assert "film.mp4" in printed


def test_a_long_video_is_shown_in_halves(script: ModuleType, library: Path) -> None:
    halves = list(script.read_library(library, script.labels_by(None), in_halves=True))
    assert [len(half.clips) for half in halves] == [20, 20]
    assert halves[1].name == "film.mp4 from clip 20"


def test_what_is_left_stands_beside_chance(script: ModuleType, library: Path) -> None:
    (video,) = script.read_library(library, script.labels_by(None), in_halves=False)
    rule = script.rules(script.TextualConfig(), [0.9])["cover 0.9"]
    lists = script.judged(video, video.chapters, script.keep_chapters, rule)
    (one,) = lists
    assert one.forced == (0,)
    # the wall again where the first is out of reach: chapters 38 and on are 35 places away
    assert one.kept.sum() == 22
    kept, left, by_chance = map(float, script.cell(lists).split(" / "))
    assert (kept, left) == (0.55, 1.0)
    assert by_chance < 0.7
    assert float(script.gain(lists).split()[0]) == pytest.approx(left - by_chance, abs=0.002)


def test_where_nothing_is_told_shares_alone_are_shown(script: ModuleType, library: Path) -> None:
    (video,) = script.read_library(library, script.labels_by(None), in_halves=False)
    rule = script.rules(script.RedundancyConfig(), [0.9])["paper"]
    lists = script.judged(video, video.clips, script.keep_frames, rule)
    assert all(one.forced == () for one in lists)
    assert script.cell(lists) == "1.00"
    assert script.gain(lists) == "nothing is told"


def test_an_empty_library_says_what_to_do(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Store.open(tmp_path / "lib", create=True).close()
    assert script.main([str(tmp_path / "lib")]) == 1
    assert "fdvs build" in capsys.readouterr().out
