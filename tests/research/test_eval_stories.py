"""The made lectures: every topic is told, and more than by simpler ways to choose sentences."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import pytest

from fdvs.models.scripted import HashTextEmbedder
from fdvs.types import JsonDict

LECTURES = (0, 1, 2)


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/eval_stories.py")


@pytest.fixture(scope="module")
def rows(script: ModuleType) -> list[dict[str, JsonDict]]:
    """The rows of each lecture by method, by words alone."""
    embedder = HashTextEmbedder()
    return [{r["method"]: r for r in script.rows_of(x, embedder)} for x in script.lectures()]


@pytest.mark.parametrize("place", LECTURES)
def test_the_scripts_hold_their_facts_and_their_length(script: ModuleType, place: int) -> None:
    lecture = script.lectures()[place]
    said = [sentence for slide in script.slides_of(lecture) for sentence in slide["said"]]
    row = script.scores(lecture, "all", said)
    assert row["topics"] == row["num_topics"] == 5
    assert row["facts"] == row["num_facts"] == 10
    assert len(script.slides_of(lecture)) == 10


@pytest.mark.parametrize("place", LECTURES)
def test_each_of_the_five_topics_is_told(rows: list[dict[str, JsonDict]], place: int) -> None:
    assert rows[place]["story and scenes"]["topics"] == 5


@pytest.mark.parametrize("other", ["lead", "random", "earlier, as long"])
def test_stories_tell_more_facts_than_other_ways_of_their_length(
    rows: list[dict[str, JsonDict]], other: str
) -> None:
    assert sum(r["story"]["facts"] for r in rows) > sum(r[other]["facts"] for r in rows)
    assert sum(r["story"]["rouge_1"] for r in rows) > sum(r[other]["rouge_1"] for r in rows)
    assert all(r["story"]["facts"] >= r[other]["facts"] for r in rows)


@pytest.mark.parametrize("place", LECTURES)
def test_nothing_is_told_that_is_said_to_the_audience(script: ModuleType, place: int) -> None:
    story = script.tell(script.lectures()[place], HashTextEmbedder())
    text = " ".join([story.text, *(scene.text for scene in story.scenes)]).casefold()
    for filler in ("welcome", "willkommen", "my name", "mein name", "thank", "dank", "subscribe"):
        assert filler not in text
    assert all(scene.title for scene in story.scenes)


def test_equal_texts_have_full_rouge_and_strangers_none(script: ModuleType) -> None:
    assert script.rouge_n("A hare sits.", "a hare SITS", 2) == 1.0
    assert script.rouge_n("a hare sits", "the fox runs", 1) == 0.0
    assert script.rouge_n("a b", "a c", 1) == 0.5
