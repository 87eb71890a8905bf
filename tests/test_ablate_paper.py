"""One command a table of the paper: what it writes, and what it says where it cannot run."""

from __future__ import annotations

import csv
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

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
