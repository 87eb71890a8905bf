"""A question over several libraries is answered as one over the library they would be merged to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config
from fdvs.errors import InvalidValue, NotFound, StoreError
from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.cli import options as cli_options
from fdvs.pipelines.library import Library
from fdvs.pipelines.merge import merge
from fdvs.pipelines.together import Libraries
from fdvs.types import Answer

ASK = AskConfig(min_fit=-1, min_choice_fit=-1, min_support=0.5, answerer="evidence")
CONFIG = Config(ask=ASK)
FILMS = {"one": ("a.mp4", ["red", "green"]), "two": ("b.mp4", ["blue", "black"])}
QUESTIONS = ("Which wall is green?", "Which wall is blue?", "What fills the picture?")


@pytest.fixture
def opened(
    tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]
) -> Iterator[Callable[[str], Library]]:
    """Return a function that opens a library of the test's folder; two are built."""
    libraries = []

    def open_one(name: str) -> Library:
        libraries.append(Library.open(tmp_path / name, config=CONFIG, models=models))
        return libraries[-1]

    (tmp_path / "more").mkdir()
    for name, (film, colours) in FILMS.items():
        (tmp_path / f"films of {name}").mkdir()
        path = make_film(tmp_path / f"films of {name}" / film, [(one, 3) for one in colours])
        assert open_one(name).build([path]).num_failed == 0
    yield open_one
    for library in libraries:
        library.close()


def told(answer: Answer) -> Answer:
    """Return an answer without its times."""
    return replace(answer, seconds=0.0, timing=None)


@pytest.mark.parametrize("options", [None, ["a green wall", "a pink wall"]])
def test_the_answer_is_that_of_the_merged_library(
    opened: Callable[[str], Library], tmp_path: Path, options: list[str] | None
) -> None:
    several = Libraries([opened("one"), opened("two")])
    merge(tmp_path / "all", [tmp_path / "one", tmp_path / "two"])
    whole = opened("all")
    names = set()
    for question in QUESTIONS:
        found = several.ask(question, options=options)
        assert told(found) == told(whole.ask(question, options=options))
        names |= {moment.name for moment in found.evidence}
        assert all(Path(moment.path).is_file() for moment in found.evidence)
    assert names == {"a.mp4", "b.mp4"}


def test_one_video_is_asked_by_name_or_id(opened: Callable[[str], Library]) -> None:
    several = Libraries([opened("one"), opened("two")])
    (blue,) = several.ask("Which wall is blue?", video="b.mp4").evidence[:1]
    assert blue.name == "b.mp4"
    same = several.ask("Which wall is blue?", video=blue.video_id)
    assert same.evidence[0] == blue
    with pytest.raises(NotFound, match=r"c\.mp4"):
        several.ask("Which wall is blue?", video="c.mp4")


def test_films_of_one_name_are_told_apart_and_must_be_named_by_id(
    opened: Callable[[str], Library], tmp_path: Path, make_film: Callable[..., Path]
) -> None:
    film = make_film(tmp_path / "more" / "a.mp4", [("yellow", 3)])
    two = opened("two")
    two.build([film])
    several = Libraries([opened("one"), two])
    names = {moment.name for q in QUESTIONS for moment in several.ask(q).evidence}
    assert {"one/a.mp4", "b.mp4"} <= names
    ids = sorted({row.video_id or "" for one in (opened("one"), two) for row in one.videos()
                  if row.name == "a.mp4"})  # fmt: skip
    assert len(ids) == 2
    with pytest.raises(InvalidValue, match=f"{ids[0]}, {ids[1]}"):
        several.ask("Which wall is green?", video="a.mp4")


def test_a_build_between_two_questions_is_seen(
    opened: Callable[[str], Library], tmp_path: Path, make_film: Callable[..., Path]
) -> None:
    one, two = opened("one"), opened("two")
    several = Libraries([one, two])
    before = several.ask("Which wall is yellow?")
    two.build([make_film(tmp_path / "more" / "y.mp4", [("yellow", 3)])])
    after = several.ask("Which wall is yellow?")
    assert "y.mp4" not in {moment.name for moment in before.evidence}
    assert after.evidence[0].name == "y.mp4"


def test_libraries_of_other_models_and_no_libraries_are_refused(
    opened: Callable[[str], Library], tmp_path: Path, models: dict[str, Any],
    make_film: Callable[..., Path],
) -> None:  # fmt: skip
    other = HashTextEmbedder(num_dims=7)
    with Library.open(
        tmp_path / "x", config=CONFIG, models={**models, "text_embedder": other}
    ) as x:
        x.build([make_film(tmp_path / "x.mp4", [("red", 2)])])
        with pytest.raises(StoreError, match="text embedder"):
            Libraries([opened("one"), x])
    with pytest.raises(InvalidValue, match="one or more"):
        Libraries([])


def test_the_command_takes_a_library_several_times(
    opened: Callable[[str], Library], tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, models: dict[str, Any],
) -> None:  # fmt: skip
    class Scripted(Library):
        @classmethod
        def open(cls, path: Any, **given: Any) -> Library:
            return super().open(path, config=CONFIG, models=models, create=False)

    monkeypatch.setattr(cli_options, "library_class", lambda: Scripted)
    both = ["-l", str(tmp_path / "one"), "-l", str(tmp_path / "two")]
    assert cli.run(["ask", "Which wall is blue?", *both, "--json"]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert value["evidence"][0]["name"] == "b.mp4"
    questions = tmp_path / "q.txt"
    questions.write_text("Which wall is green?\nWhich wall is blue?\n")
    assert cli.run(["ask", "--questions", str(questions), *both]) == 0
    rows = [
        json.loads(line) for line in (tmp_path / "q.txt.answers.jsonl").read_text().splitlines()
    ]
    shown = json.dumps(rows)
    assert "a.mp4" in shown
    assert "b.mp4" in shown
    assert str(tmp_path / "two") in shown
