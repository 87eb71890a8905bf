"""Search by filters through a library: the same from Python, the command line and REST."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config, PerceiveConfig
from fdvs.errors import NotFound
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines import results
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.library import Library
from fdvs.types import ClipView


def on_screen(view: ClipView) -> list[str]:
    """The second shot shows a sign that names the fox."""
    return ["FOX CROSSING AHEAD"] if view.clip.start_s > 1.5 else []


@pytest.fixture
def library(
    tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]
) -> Iterator[Library]:
    folder = tmp_path / "films é"
    folder.mkdir()
    make_film(folder / "one.mp4", [("red", 2.0), ("green", 2.0), ("blue", 2.0)])
    make_film(folder / "two.mp4", [("blue", 2.0), ("yellow", 2.0)])
    (folder / "one.srt").write_text(
        "1\n00:00:00,500 --> 00:00:01,500\nA fox digs a deep hole.\n\n"
        "2\n00:00:04,500 --> 00:00:05,500\nThe rabbit eats grass.\n",
        "utf-8",
    )
    screen = ScriptedDescriber(on_screen, source="screen text")
    config = Config(
        perceive=PerceiveConfig(sources=("subtitles", "signs")),
        ask=AskConfig(answerer="evidence", min_fit=-1),
    )
    own = {**models, "source:signs": screen}
    with Library.open(tmp_path / "library", config=config, models=own) as opened:
        assert opened.build([folder]).exit_code == 0
        yield opened


def starts(library: Library, query: str, **limits: Any) -> list[float]:
    found = library.search(query, **{"num": 50, "video": "one.mp4", "min_score": 1.0, **limits})
    return sorted(one.start_s for one in found)


def test_a_source_is_searched_alone(library: Library) -> None:
    assert starts(library, "fox") == [0.0]  # neighbours are one moment
    assert starts(library, "fox", sources=["subtitles"]) == [0.0]
    assert starts(library, "fox", sources=["screen"]) == [2.0]
    assert starts(library, "fox", sources=["speech"]) == []
    assert starts(library, "red", sources=["pictures"]) == [0.0]
    assert starts(library, "red", sources=["subtitles"]) == []
    (said,) = library.search("a fox digs a hole", sources=["subtitles"], min_score=0.5)
    assert (said.start_s, said.matched_by) == (0.0, ("meaning", "words"))


def test_videos_and_time_limit_a_search(library: Library) -> None:
    assert {m.name for m in library.search("blue", videos=["one.mp4", "two.mp4"])} == {
        "one.mp4", "two.mp4",
    }  # fmt: skip
    assert {m.name for m in library.search("blue", video="two.mp4")} == {"two.mp4"}
    assert starts(library, "blue", start_s=4.0) == [4.0]
    assert starts(library, "blue", end_s=4.0) == []
    with pytest.raises(NotFound):
        library.search("blue", videos=["one.mp4", "nobody.mp4"])


def test_hits_and_citations_know_their_file(library: Library, tmp_path: Path) -> None:
    file = tmp_path / "films é" / "one.mp4"
    (moment, *_) = library.search("fox", video="one.mp4")
    assert moment.path == str(file)
    assert library.search_videos("fox")[0].path == str(file)
    answer = results.answer_json(library.ask("What does the fox dig?"))
    assert answer["sentences"][0]["citations"][0]["link"].startswith(f"{file.as_uri()}#t=0.5,")


LIMITS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"num": 1, "offset": 1}, ["--num", "1", "--offset", "1"]),
    ({"video": ["one.mp4", "two.mp4"]}, ["--video", "one.mp4", "--video", "two.mp4"]),
    ({"start_s": 1, "end_s": 3}, ["--time", "1-3"]),
    ({"source": ["screen", "subtitles"]}, ["--source", "screen,subtitles"]),
    ({"by": "words", "min_score": 0.9}, ["--by", "words", "--min-score", "0.9"]),
    ({"kind": "videos", "num": 2}, ["--videos", "--num", "2"]),
]


@pytest.mark.parametrize("query", ["fox", "unicorn", "狗", "blue wall"])
@pytest.mark.parametrize(("asked", "argv"), LIMITS)
def test_rest_and_the_command_line_give_the_same_bytes(
    query: str, asked: dict[str, Any], argv: list[str], library: Library,
    monkeypatch: pytest.MonkeyPatch, give_to_command_line: Callable[[Library], None],
) -> None:  # fmt: skip
    testclient = pytest.importorskip("fastapi.testclient")
    from fdvs.pipelines.serve.app import make_app

    give_to_command_line(library)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.run(["search", query, *argv, "--json"]) == 0
    with testclient.TestClient(make_app(library), base_url="http://127.0.0.1:8765") as client:
        answer = client.get("/api/v1/search", params={"q": query, **asked})
    assert answer.text == out.getvalue()
    found = json.loads(answer.text)
    key = "videos" if asked.get("kind") else "moments"
    if query in ("unicorn", "狗"):
        assert found[key] == []
        assert ("nearest" in found) == (not (asked.get("offset") or asked.get("by")))


@pytest.mark.parametrize(
    "wrong",
    [
        {"offset": -1}, {"start_s": 3, "end_s": 2}, {"source": "smell"}, {"by": "luck"},
        {"kind": "sounds"}, {"kind": "videos", "video": "one.mp4"}, {"num": 0},
    ],
)  # fmt: skip
def test_a_wrong_limit_is_a_problem(library: Library, wrong: dict[str, Any]) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    from fdvs.pipelines.serve.app import make_app

    with testclient.TestClient(make_app(library), base_url="http://127.0.0.1:8765") as client:
        answer = client.get("/api/v1/search", params={"q": "fox", **wrong})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
