"""The command of the ablations: what each table writes, halves and rules, and missing data."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.config import Config
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.models.scripted import HashTextEmbedder


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/ablate.py")


def test_without_data_one_line_says_what_is_needed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for table in ("xviii", "redundancy"):
        assert script.main([table, "--out", str(tmp_path)]) == 1
        assert "--data FOLDER" in capsys.readouterr().err


def test_every_table_of_films_is_written_as_it_came(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Study:
        def __init__(self, out: Path, *, num_films: int, short: bool) -> None:
            self.asked = (out, num_films, short)

    monkeypatch.setattr(script, "FilmStudy", Study)
    for table in script.ON_FILMS:
        rows = [{"name": table, "score": 0.5}, {"name": "other", "films": 2}]
        monkeypatch.setitem(script.ON_FILMS, table, lambda study, rows=rows: rows)
        target = tmp_path / f"{table}.csv"
        done = script.main([table, "--films", "2", "--out", str(tmp_path), "--csv", str(target)])
        assert done == 0
        with target.open() as file:
            assert json.loads(json.dumps(list(csv.DictReader(file)))) == [
                {"name": table, "score": "0.5", "films": ""},
                {"name": "other", "score": "", "films": "2"},
            ]


def test_memory_lengths_ask_no_question_unless_told_to(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = tuple(
        Caption(start_s=float(i), end_s=i + 1.0, text=f"stirs soup {i % 3}") for i in range(6)
    )
    question = ChoiceQuestion(
        id="q", video_id="v", question="?", options=("stirs soup 1", "sings"), answer=0
    )
    split = Split(
        dataset="invented", name="invented", is_partial=False, video_ids=("v",),
        choices=(question,), captions={"v": captions},
    )  # fmt: skip
    monkeypatch.setattr(script, "split_of", lambda job: split)
    monkeypatch.setattr(script, "stored_embedder", lambda job: HashTextEmbedder())
    for more, has_answers in (((), False), (("--answers",), True)):
        target = tmp_path / "rows.csv"
        arguments = ["xviii", *more, "--out", str(tmp_path), "--csv", str(target)]
        assert script.main(arguments) == 0
        with target.open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == 2 * len(script.paper_tables.MEMORIES)
        assert ("right" in rows[0]) == has_answers
        # cover with a memory of 41: one of each two equal chapters stays
        assert float(rows[-1]["kept"]) == 0.5


# --- redundancy rules


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


def test_floors_are_swept_on_one_half_and_the_default_is_reported_on_the_other(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "split_of", lambda job: invented())
    monkeypatch.setattr(script, "stored_embedder", lambda job: HashTextEmbedder())
    target = tmp_path / "rows.csv"
    assert (
        script.main(["redundancy", "--row", "nextqa", "--out", str(tmp_path), "--csv", str(target)])
        == 0
    )
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
    arguments = [
        "redundancy",
        "--row",
        "films",
        "--films",
        "2",
        "--out",
        str(tmp_path),
        "--csv",
        str(target),
    ]
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
