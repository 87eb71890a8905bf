"""One command a table of the paper: what it writes, and what it says where it cannot run."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.models.scripted import HashTextEmbedder

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("ablate", ROOT / "scripts/ablate_paper.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_data_one_line_says_what_is_needed(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["xviii", "--out", str(tmp_path)]) == 1
    assert "--data FOLDER" in capsys.readouterr().err


def test_every_table_of_films_is_written_as_it_came(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Study:
        def __init__(self, out: Path, *, num_films: int, short: bool) -> None:
            self.asked = (out, num_films, short)

        def __enter__(self) -> Study:
            return self

        def __exit__(self, *_: object) -> None:
            return None

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
        assert len(rows) == 3 * len(script.ablations.MEMORIES)
        assert ("right" in rows[0]) == has_answers
        # cover with a memory of 41: one of each two equal chapters stays
        assert float(rows[-1]["kept"]) == 0.5
