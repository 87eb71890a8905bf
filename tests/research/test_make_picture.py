"""The picture of a film, from a film that is made by hand."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from fdvs.types import (
    Answer,
    AnswerSentence,
    Chapter,
    Citation,
    Moment,
    Scene,
    Sentence,
    Story,
)

SPAN: dict[str, Any] = {"video_id": "ab", "name": "film.mp4", "start_s": 10.0, "end_s": 20.0}
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/make_picture.py")


@pytest.fixture
def film(script: ModuleType, tmp_path: Path) -> Any:
    """Two clips of ten seconds with four frames each; the second chapter was dropped."""
    Image.new("RGB", (16, 12), "red").save(tmp_path / "clip.jpg")
    chapter = Chapter(video_id="ab", index=0, start_s=0.0, end_s=10.0, text="A red wall.")
    sentence = Sentence(text="A <red> wall.", clips=(0,))
    scene = Scene(index=0, start_s=0.0, end_s=20.0, chapters=(0,), sentences=(sentence,))
    story = Story(
        video_id="ab",
        duration_s=20.0,
        sentences=(sentence,),
        scenes=(scene,),
        chapters=(chapter,),
        num_clips=2,
    )
    return script.Film(
        name="film.mp4",
        story=story,
        spans_s=[(0.0, 10.0), (10.0, 20.0)],
        frames_kept=[[True, False, True, False], [True, False, False, False]],
        thumbnails=[tmp_path / "clip.jpg"] * 2,
    )


def answers() -> list[Answer]:
    cited = AnswerSentence(text="A wall.", support=1.0, citations=(Citation(**SPAN, support=1.0),))
    invented = AnswerSentence(text="In the jungle.", support=0.0)
    common: dict[str, Any] = {"evidence": (), "backend": "scripted", "attention": ""}
    return [
        Answer(
            question="What is seen?",
            text="A wall.",
            sentences=(cited,),
            removed=(invented,),
            **common,
        ),
        Answer(
            question="Who sings?",
            text="Not in the evidence.",
            refused=True,
            reason="no fit",
            **common,
        ),
    ]


def draw(script: ModuleType, film: Any) -> ET.Element:
    hits = [Moment(**SPAN, score=0.5, text="A red wall. It is still.", clips=(1,))]
    return ET.fromstring(script.draw(film, "a wall", hits, answers()))


def test_every_sampled_frame_is_a_cell_coloured_by_what_became_of_it(
    script: ModuleType, film: Any
) -> None:
    cells = [rect.get("fill") for rect in draw(script, film).iter(f"{SVG}rect")]
    legend = 1
    assert cells.count(script.BLUE) == 2 + legend
    assert cells.count(script.LEFT_OUT) == 1 + legend
    assert cells.count(script.FAINT) == 5 + legend


def test_sentences_hits_and_answers_stand_with_their_times(script: ModuleType, film: Any) -> None:
    words = [text.text for text in draw(script, film).iter(f"{SVG}text")]
    assert words.index("A <red> wall.") + 1 == words.index("[0:00-0:10]")
    assert words.index("A red wall.") + 1 == words.index("[0:10-0:20]")
    assert {"A wall.", "Not in the evidence.", "no fit", "removed: no chapter supports it"} <= {
        *words
    }


def test_what_was_removed_is_struck_through(script: ModuleType, film: Any) -> None:
    struck = [
        text.text
        for text in draw(script, film).iter(f"{SVG}text")
        if text.get("text-decoration") == "line-through"
    ]
    assert struck == ["In the jungle."]


def test_nothing_in_the_picture_is_loaded_from_elsewhere(script: ModuleType, film: Any) -> None:
    links = [image.get("href", "") for image in draw(script, film).iter(f"{SVG}image")]
    assert links
    assert all(link.startswith("data:image/jpeg;base64,") for link in links)
