"""A story as a prompt's fixed part, at the longest of its levels that a context holds.

From long to short: every kept chapter, the scenes, the first sentence of each scene, the story,
and then sentences dropped evenly, so that what remains still spans the video. Whoever asks is told
which level was used where it is not the one wanted. Knows no question: the same videos and room
give the same text, which therefore has to be read only once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from fdvs.prompting.fence import fence, safe_name
from fdvs.text.timecode import timecode
from fdvs.types import Story

T = TypeVar("T")
Line = tuple[str, str]  # a mark that we write, and untrusted text

LEVELS = ("chapters", "scenes", "short scenes", "story")
NO_STORY = "(no story)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldStory:
    """The fenced text of one or more stories, its level, and a note where it had to be shorter."""

    text: str
    level: str
    note: str = ""


def span_mark(start_s: float, end_s: float, name: str = "") -> str:
    """Return the mark of a stretch as a prompt shows it: `[0:10-0:20]`, with a name in front."""
    times = f"{timecode(start_s)}-{timecode(math.ceil(end_s))}"
    return f"[{safe_name(name)} @ {times}]" if name else f"[{times}]"


def told_stories(
    stories: Sequence[Story],
    names: Mapping[str, str],
    *,
    wanted: str,
    fits: Callable[[str], bool],
) -> ToldStory:
    """Return the stories at level `wanted` ("story", "scenes", "chapters") or the next that fits.

    Args:
        names: of the videos by id; where there are several stories, every line carries one.
        fits: whether a text leaves enough room for everything else.
    """
    if not stories:
        return ToldStory(text=fence("story", [NO_STORY]), level="")
    is_many = len(stories) > 1
    for level in LEVELS[LEVELS.index(wanted) :]:
        text = fence("story", _lines(stories, names if is_many else {}, level))
        if fits(text):
            note = "" if level == wanted else f"the story's {wanted} exceed the context: {level}"
            return ToldStory(text=text, level=level, note=note and f"{note} read instead")
    return _dropped(_lines(stories, names if is_many else {}, "story"), fits)


def _lines(stories: Sequence[Story], names: Mapping[str, str], level: str) -> list[Line]:
    return [line for s in stories for line in _of_one(s, names.get(s.video_id, ""), level)]


def _of_one(story: Story, name: str, level: str) -> list[Line]:
    if level == "chapters":
        return [(span_mark(c.start_s, c.end_s, name), c.text) for c in story.chapters]
    if level == "story":
        mark = f"[{safe_name(name)}]" if name else ""
        return [(mark, sentence.text) for sentence in story.sentences]
    num = 1 if level == "short scenes" else None
    return [
        (
            span_mark(scene.start_s, scene.end_s, name),
            " ".join(sentence.text for sentence in scene.sentences[:num]),
        )
        for scene in story.scenes
    ]


def _dropped(lines: Sequence[Line], fits: Callable[[str], bool]) -> ToldStory:
    """Keep as many lines as fit, spread evenly; none is an answer, too."""

    def text(keep: int) -> str:
        return fence("story", drop_evenly(lines, keep=keep) or [NO_STORY])

    keep = most_that_fit(len(lines), lambda num: fits(text(num))) or 0
    note = f"story cut to {keep} of {len(lines)} sentences to fit the context"
    return ToldStory(text=text(keep), level="story", note=note)


def most_that_fit(num_items: int, fits_with: Callable[[int], bool]) -> int | None:
    """Return the largest count that fits, by bisection; None where not even 0 does."""
    if fits_with(num_items):
        return num_items
    if not fits_with(0):
        return None
    low, high = 0, num_items  # low fits, high does not
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits_with(middle) else (low, middle)
    return low


def drop_evenly(items: Sequence[T], *, keep: int) -> list[T]:
    """Return `keep` items spread over the whole list, the first and the last among them.

    >>> drop_evenly("abcdefg", keep=3)
    ['a', 'd', 'g']
    """
    if keep >= len(items):
        return list(items)
    if keep < 2:
        return list(items[:keep])
    return [items[i * (len(items) - 1) // (keep - 1)] for i in range(keep)]
