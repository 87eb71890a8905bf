"""One command a set: halves, rules, and what it says where it cannot run."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.config import Config
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.models.scripted import HashTextEmbedder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("table", ROOT / "scripts/redundancy_table.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invented() -> Split:
    """Twelve videos: someone stirs for long and does one other thing, which is asked for."""
    names = [f"v{n}" for n in range(12)]
    captions = {
        name: tuple(
            Caption(
                start_s=float(i),
                end_s=i + 1.0,
                text=f"takes thing{name}" if i == 5 else "stirs soup in a pot",
            )
            for i in range(9)
        )
        for name in names
    }
    questions = tuple(
        ChoiceQuestion(
            id=name, video_id=name, question="?", options=(f"takes thing{name}", "x"), answer=0
        )
        for name in names
    )
    return Split(
        dataset="invented", name="invented", is_partial=False, video_ids=tuple(names),
        choices=questions, captions=captions,
    )  # fmt: skip


def read(target: Path) -> list[dict[str, str]]:
    with target.open() as file:
        return list(csv.DictReader(file))


def test_without_data_one_line_says_what_is_needed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["egoschema", "--out", str(tmp_path)]) == 1
    assert "--data FOLDER" in capsys.readouterr().err


def test_floors_are_swept_on_one_half_and_the_default_is_reported_on_the_other(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "split_of", lambda job: invented())
    monkeypatch.setattr(script, "stored_embedder", lambda job: HashTextEmbedder())
    target = tmp_path / "rows.csv"
    assert script.main(["nextqa", "--out", str(tmp_path), "--csv", str(target)]) == 0
    rows = read(target)
    halves = {
        half: {row["rule"]: row for row in rows if row["half"] == half}
        for half in ("tuning", "report")
    }
    assert list(halves["report"]) == ["none", "paper", "cover 0.95"]
    floors = ["cover 0.7", "cover 0.84", "cover 0.9", "cover 0.95", "cover 0.98"]
    assert list(halves["tuning"])[2:] == floors
    ours, literal = halves["report"]["cover 0.95"], halves["report"]["paper"]
    assert float(ours["kept"]) == pytest.approx(2 / 9, abs=1e-3)
    assert float(ours["lost"]) == 0 < float(ours["lost_random"])
    assert float(ours["lost_gain_interval"].split(" to ")[1]) < 0
    assert literal["lost_gain"]
    assert sum(int(half["none"]["num_videos"]) for half in halves.values()) == 12


def test_films_of_one_seed_choose_and_of_another_are_reported(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = []

    class Study:
        def __init__(self, out: Path, *, num_films: int, seed: int, short: bool) -> None:
            assert out.is_dir()
            seeds.append((out.name, num_films, seed, short))

        def __enter__(self) -> Study:
            return self

        def __exit__(self, *_: object) -> None:
            return None

        def config(self) -> Config:
            return Config()

        def films(self, config: Config) -> str:
            assert config == Config()
            return "films"

    asked: list[Any] = []

    def rows_of(films: str, visual: Any, textual: Any, *, floors: Any) -> Any:
        asked.append((films, visual, textual, tuple(floors)))
        row = {"rule": "none", "kept": 1.0, "gain_interval": [0.1, 0.25]}
        return {"frames": [row], "chapters": [row]}

    monkeypatch.setattr(script, "FilmStudy", Study)
    monkeypatch.setattr(script, "film_rows", rows_of)
    target = tmp_path / "rows.csv"
    arguments = ["films", "--films", "2", "--out", str(tmp_path), "--csv", str(target)]
    assert script.main(arguments) == 0
    assert seeds == [("tuning", 2, 1, False), ("report", 2, 0, False)]
    config = Config()
    assert asked == [
        ("films", config.visual, config.textual, script.FLOORS),
        ("films", config.visual, config.textual, ()),
    ]
    assert [(row["half"], row["what"]) for row in read(target)] == [
        ("tuning", "frames"), ("tuning", "chapters"), ("report", "frames"), ("report", "chapters"),
    ]  # fmt: skip
    assert read(target)[0]["gain_interval"] == "0.1000 to 0.2500"
