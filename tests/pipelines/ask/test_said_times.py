"""A quoted subtitle is cited with the seconds in which it stands, its evidence with its chapter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config, PerceiveConfig
from fdvs.pipelines.library import Library
from fdvs.pipelines.results import answer_json

SUBTITLES = """1
00:00:01,000 --> 00:00:03,500
The red wall was painted by Anna.

2
00:00:04,000 --> 00:00:07,250
Ben plays the violin in Vienna.
"""


@pytest.fixture
def library(tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]) -> Library:
    film = make_film(tmp_path / "wall.mp4", [("red", 8.0)])
    film.with_suffix(".srt").write_text(SUBTITLES)
    config = Config(
        perceive=PerceiveConfig(sources=("subtitles",)), ask=AskConfig(answerer="evidence")
    )
    library = Library.open(tmp_path / "library", config=config, models=models)
    library.build(film)
    return library


def test_a_quote_is_cited_with_its_own_seconds(library: Library) -> None:
    with library:
        answer = library.ask("Who plays the violin in Vienna?")
        (sentence,) = answer.sentences
        (cited,) = sentence.citations
        assert "violin" in sentence.text
        assert cited.said_s == (4.0, 7.25)
        assert (cited.start_s, cited.end_s) == (0.0, 8.0)  # the chapter, which is the evidence
        assert "[wall.mp4 @ 0:04-0:08]" in answer.text
        (told,) = answer_json(answer)["sentences"]
        assert told["citations"][0]["link"].endswith("#t=4,7.25")


def test_a_story_cites_the_seconds_of_its_sentences(library: Library) -> None:
    with library:
        story = library.story("wall.mp4")
        spans = {sentence.text: story.spans_of(sentence) for sentence in story.sentences}
    assert spans["The red wall was painted by Anna."] == ((1.0, 3.5),)
