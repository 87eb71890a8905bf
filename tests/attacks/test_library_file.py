"""Bits flip in the library's file: what is shown is right or an error, and it can be repaired."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.errors import FdvsError
from fdvs.pipelines.library import Library
from fdvs.store.repair import repair
from fdvs.story.as_json import story_to_json

from .conftest import Attack, write_film

pytestmark = pytest.mark.attack
QUERIES = ("a red wall", "wall of blue 3")


@pytest.fixture(scope="module")
def built(scripted: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library of three films, beside them, closed."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "films").mkdir()
    for number in range(3):
        greys = [(number * 90 + step * 37) % 256 for step in range(9)]
        write_film(folder / "films" / f"{number}.mp4", greys)
    build(folder / "library", scripted)
    return folder


def build(library: Path, scripted: ModuleType) -> None:
    with Library.open(library, config=scripted.CONFIG, models=scripted.MODELS) as opened:
        report = opened.build(library.parent / "films")
        assert not report.num_bugs
        assert not [row for row in report.rows if row.status == "failed"]


def view(library: Path, scripted: ModuleType) -> dict[str, Any]:
    """Return all that people see of a library."""
    with Library.open(library, create=False, models=scripted.MODELS) as opened:
        rows = [(row.name, row.path, row.status, row.num_clips) for row in opened.videos()]
        stories = {
            name: json.dumps(story_to_json(opened.story(name)), sort_keys=True)
            for name, _, status, _ in rows
            if status == "ok"
        }
        hits = [[(m.name, m.start_s, m.text) for m in opened.search(q)] for q in QUERIES]
    return {"rows": sorted(rows), "stories": stories, "hits": hits}


def tells_wrong(seen: dict[str, Any], right: dict[str, Any]) -> str:
    """Return what a damaged library told that is not so; leaving something out is no lie."""
    for name, story in seen["stories"].items():
        if story != right["stories"].get(name, story):
            return f"another story of {name}"
    known = {text for hits in right["hits"] for *_, text in hits}
    known |= {text for story in right["stories"].values() for text in texts_of(story)}
    for hits in seen["hits"]:
        for hit in hits:
            if hit[2] not in known:
                return f"a hit that is not in the library: {hit}"
    return ""


def texts_of(story: str) -> set[str]:
    return {chapter["text"] for chapter in json.loads(story)["chapters"]}


def flip(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.choice((1, 1, 2, 5))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(data)


def one_trial(copy: Path, right: dict[str, Any], scripted: ModuleType, rng: random.Random) -> str:
    """Damage a copy, look, build again (after a repair where that says so), look again."""
    flip(copy / "library.sqlite", rng)
    try:
        seen = view(copy, scripted)
    except FdvsError:
        seen = None
    if seen is not None and (wrong := tells_wrong(seen, right)):
        return f"told {wrong}"
    try:
        build(copy, scripted)
        view(copy, scripted)
    except FdvsError as error:
        if "doctor --repair" not in str(error):
            return f"no way out is named: {error}"
        repair(copy)
        build(copy, scripted)
    again = view(copy, scripted)
    lost = [key for key in right if again[key] != right[key]]
    return f"after a build {lost} differ: {again}" if lost else ""


def test_flipped_bits_in_a_library(attack: Attack, built: Path, scripted: ModuleType) -> None:
    rng = random.Random(5)
    library, sound = built / "library", built / "sound"
    right = view(library, scripted)
    shutil.copytree(library, sound)
    for number in range(attack.trials(30)):
        shutil.rmtree(library)
        shutil.copytree(sound, library)
        try:
            wrong = one_trial(library, right, scripted, rng)
        except Exception as error:
            wrong = f"{type(error).__name__}: {error}"
        attack.count(f"trial {number}: {wrong}" if wrong else "")
