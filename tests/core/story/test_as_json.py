"""A story's JSON: whole, byte-stable, and checked when it is read."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from fdvs.errors import CorruptLibrary
from fdvs.story.as_json import story_from_json, story_to_json
from fdvs.types import Chapter, Scene, Sentence, Story


@pytest.fixture
def story() -> Story:
    chapters = tuple(
        Chapter(video_id="v1", index=i, start_s=2.0 * i, end_s=2.0 * i + 2, text=f"Text {i}.")
        for i in (0, 2, 3)
    )
    sentences = (Sentence(text="Text 0.", clips=(0,)), Sentence(text="Both.", clips=(2, 3)))
    scene = Scene(
        index=0, start_s=0.0, end_s=8.0, chapters=(0, 2, 3), sentences=sentences, title="Texts"
    )
    return Story(
        video_id="v1",
        duration_s=8.125,
        sentences=sentences,
        scenes=(scene,),
        chapters=chapters,
        num_clips=4,
        writers={"story": "extractive", "chapter": "template"},
    )


def test_a_story_comes_back_whole_through_bytes(story: Story) -> None:
    assert story_from_json(json.loads(json.dumps(story_to_json(story)))) == story


def test_a_story_of_an_older_version_has_no_titles(story: Story) -> None:
    values = json.loads(json.dumps(story_to_json(story)))
    for item in (*values["scenes"], *values["chapters"]):
        del item["title"]
    untitled = replace(story.scenes[0], title="")
    assert story_from_json(values) == replace(story, scenes=(untitled,))


def test_sentences_carry_the_times_of_their_clips(story: Story) -> None:
    assert story_to_json(story)["story"][1] == {
        "text": "Both.",
        "clips": [2, 3],
        "times": [[4.0, 6.0], [6.0, 8.0]],
    }


def test_equal_content_gives_equal_bytes(story: Story) -> None:
    reordered = replace(
        story,
        duration_s=8.1250004,
        writers={"chapter": "template", "story": "extractive"},
        chapters=tuple(replace(c, end_s=c.end_s + 1e-9) for c in story.chapters),
    )
    assert json.dumps(story_to_json(reordered)) == json.dumps(story_to_json(story))


def test_the_content_is_all_there_is(story: Story) -> None:
    assert set(story_to_json(story)) == {
        "video_id",
        "duration_s",
        "num_clips",
        "writers",
        "story",
        "scenes",
        "chapters",
    }


def put(values: Any, path: list[Any], value: Any) -> Any:
    changed = copy.deepcopy(values)
    place = changed
    for step in path[:-1]:
        place = place[step]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["video_id"], 5),
        (["duration_s"], "8"),
        (["duration_s"], True),
        (["num_clips"], 4.5),
        (["num_clips"], True),
        (["writers"], []),
        (["writers", "story"], None),
        (["story"], KeyError),
        (["story", 0, "clips"], []),
        (["story", 0, "clips"], [1]),
        (["story", 0, "text"], None),
        (["scenes", 0, "chapters"], ["0"]),
        (["scenes", 0, "sentences", 0], 3),
        (["chapters", 0, "end_s"], -1.0),
        (["chapters", 0, "end_s"], float("nan")),
        (["chapters"], {"a": 1}),
    ],
    ids=lambda v: str(v)[:24],
)
def test_a_damaged_story_is_refused(story: Story, path: list[Any], value: Any) -> None:
    with pytest.raises(CorruptLibrary, match="build it again"):
        story_from_json(put(story_to_json(story), path, value))
