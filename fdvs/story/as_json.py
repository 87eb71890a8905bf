"""A story as plain JSON and back: only its content, so that equal stories give equal bytes.

No file names, no paths, no measured times. Times are rounded to milliseconds. The checks are
written out, since an index reads the stories of a whole library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from fdvs.errors import CorruptLibrary
from fdvs.text.plain import plain_words
from fdvs.types import Chapter, JsonDict, Scene, Sentence, Story, check_interval

Spans = Mapping[int, tuple[float, float]]  # start and end in seconds of chapters, by their clips


def _ms(time_s: float) -> float:
    return round(time_s, 3)


def story_to_json(story: Story) -> JsonDict:
    """Return the story's content; each sentence carries its clips, and its times in them."""

    def sentence(s: Sentence) -> JsonDict:
        times = [[_ms(start_s), _ms(end_s)] for start_s, end_s in story.spans_of(s)]
        return {"text": s.text, "clips": list(s.clips), "times": times}

    return {
        "video_id": story.video_id,
        "duration_s": _ms(story.duration_s),
        "num_clips": story.num_clips,
        "writers": dict(sorted(story.writers.items())),
        "story": [sentence(s) for s in story.sentences],
        "scenes": [
            {
                "index": scene.index,
                "title": scene.title,
                "start_s": _ms(scene.start_s),
                "end_s": _ms(scene.end_s),
                "chapters": list(scene.chapters),
                "sentences": [sentence(s) for s in scene.sentences],
            }
            for scene in story.scenes
        ],
        "chapters": [
            {
                "index": c.index,
                "title": c.title,
                "start_s": _ms(c.start_s),
                "end_s": _ms(c.end_s),
                "text": c.text,
                "injections": list(c.injections),
            }
            for c in story.chapters
        ],
    }


def story_from_json(values: Mapping[str, Any]) -> Story:
    """Return the story that `story_to_json` wrote.

    Stories of older versions have no titles and no `injections`; their texts become plain words.
    Raises CorruptLibrary where another field is missing, has the wrong type, or names no chapter.
    """
    try:
        return _story(values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptLibrary(
            f"a stored story cannot be read ({type(error).__name__}: {error}); build it again"
        ) from error


def _story(values: Mapping[str, Any]) -> Story:
    video_id = _text(values["video_id"])
    chapters = tuple(_chapter(video_id, c) for c in values["chapters"])
    known = {c.index: (c.start_s, c.end_s) for c in chapters}
    return Story(
        video_id=video_id,
        duration_s=_number(values["duration_s"]),
        sentences=tuple(_sentence(s, known) for s in values["story"]),
        scenes=tuple(_scene(s, known) for s in values["scenes"]),
        chapters=chapters,
        num_clips=_whole(values["num_clips"]),
        writers={_text(k): _text(v) for k, v in values["writers"].items()},
    )


def _chapter(video_id: str, values: Mapping[str, Any]) -> Chapter:
    start_s, end_s = _interval(values)
    return Chapter(
        video_id=video_id,
        index=_whole(values["index"]),
        start_s=start_s,
        end_s=end_s,
        text=_text(values["text"]),
        title=_text(values.get("title", "")),
        injections=tuple(map(_text, values.get("injections", ()))),
    )


def _scene(values: Mapping[str, Any], known: Spans) -> Scene:
    start_s, end_s = _interval(values)
    return Scene(
        index=_whole(values["index"]),
        start_s=start_s,
        end_s=end_s,
        chapters=_clips(values["chapters"], known),
        sentences=tuple(_sentence(s, known) for s in values["sentences"]),
        title=_text(values.get("title", "")),
    )


def _sentence(values: Mapping[str, Any], known: Spans) -> Sentence:
    clips = _clips(values["clips"], known)
    times = values.get("times", ())
    spans_s = tuple((_number(start_s), _number(end_s)) for start_s, end_s in times)
    for start_s, end_s in spans_s:
        check_interval("a stored sentence", start_s, end_s)
    if spans_s and len(spans_s) != len(clips):
        raise ValueError(f"{len(spans_s)} times for {len(clips)} clips")
    of_clips = tuple(known[clip] for clip in clips)
    own_s = () if spans_s == of_clips else spans_s
    return Sentence(text=_text(values["text"]), clips=clips, spans_s=own_s)


def _interval(values: Mapping[str, Any]) -> tuple[float, float]:
    start_s, end_s = _number(values["start_s"]), _number(values["end_s"])
    check_interval("a stored story", start_s, end_s)
    return start_s, end_s


def _clips(values: Any, known: Spans) -> tuple[int, ...]:
    clips = tuple(_whole(v) for v in values)
    if not clips or not known.keys() >= set(clips):
        raise ValueError(f"clips {clips} are not among the chapters")
    return clips


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return plain_words(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _number(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)
