"""The ten kinds of made films: their scripts are whole, and their table and pages are true."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fdvs.types import JsonDict

SCRIPTS = Path(__file__).resolve().parents[2] / "research" / "films.json"
FILMS: list[JsonDict] = json.loads(SCRIPTS.read_text("utf-8"))


@pytest.fixture(scope="module")
def film_stories(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/film_stories.py")


def test_ten_films_have_five_questions_each() -> None:
    assert len({film["name"] for film in FILMS}) == 10
    assert {len(film["questions"]) for film in FILMS} == {5}


@pytest.mark.parametrize("film", FILMS, ids=lambda film: str(film["name"]))
def test_every_fact_stands_in_its_script(film_stories: ModuleType, film: JsonDict) -> None:
    lecture = film_stories.scored(film)
    if "lecture" in film:
        said = [s for topic in lecture["topics"] for sl in topic["slides"] for s in sl["said"]]
    else:
        said = lecture["summary"]
        said = said + [" ".join(said[n : n + 2]) for n in range(len(said))]
    row = film_stories.scores(lecture, "script", said)
    assert row["facts"] == row["num_facts"]


def test_pages_are_written_between_the_marks_only(film_stories: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{film_stories.BEGIN}\nold\n{film_stories.END}\nafter\n")
    film_stories.write_between(page, "new")
    assert page.read_text().split() == [
        "before", *film_stories.BEGIN.split(), "new", *film_stories.END.split(), "after",
    ]  # fmt: skip
    page.write_text("no marks")
    with pytest.raises(SystemExit, match="lacks the marks"):
        film_stories.write_between(page, "new")
