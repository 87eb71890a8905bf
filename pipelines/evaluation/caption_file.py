"""Texts about videos from a file: the words of `--captions FILE`, defined once for every row.

A JSON object from video id to a list. The list holds either texts in time order

    {"video7010": ["A man rides a bike.", "He falls."]}

or texts with their times, in seconds from the video's start, in any order

    {"video7010": [{"start_s": 0, "end_s": 4.5, "text": "A man rides a bike."}]}

Texts without times are numbered: the one at place i lies in [i, i + 1). The content is untrusted:
the file's size, the number of texts and their lengths are bounded, and texts are cleaned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets.examples import Caption
from fdvs.datasets.files import MAX_CHARS, Record, check_id, json_object, plain_text, read_json
from fdvs.errors import DataError
from fdvs.text.clean import clean_text

# captions of every second of 5,000 videos of three minutes take about 90 MB
MAX_BYTES = 512 * 2**20
MAX_VIDEOS = 200_000
MAX_TEXTS = 20_000  # a video: a text every second of five and a half hours
MAX_SECONDS = 7 * 24 * 3600.0
FORMS = 'a text, or {"start_s": seconds, "end_s": seconds, "text": "..."}'

logger = logging.getLogger(__name__)


def load_captions(path: Path) -> Mapping[str, tuple[Caption, ...]]:
    """Return the texts of every video of the file, in time order.

    A text without a visible character is left out and counted in the log; a video without any
    text left is not in the result.

    Raises DataError, with the file, the video and what was expected: not JSON, a wrong form, an
    id that is no id, both forms in one list, times that are no interval, too many or too long.
    """
    entries = json_object(read_json(path, max_bytes=MAX_BYTES), where=str(path))
    if len(entries) > MAX_VIDEOS:
        raise DataError(f"{path}: {len(entries)} videos; at most {MAX_VIDEOS} in one file")
    found: dict[str, tuple[Caption, ...]] = {}
    num_empty = 0
    for key, value in entries.items():
        video_id = check_id(key, where=f"{path}: a video's id")
        if video_id in found:
            raise DataError(f"{path}: video {video_id} twice; each id once")
        captions = _captions(value, where=f"{path}, video {video_id}")
        found[video_id] = tuple(caption for caption in captions if caption.text)
        num_empty += sum(not caption.text for caption in captions)
    if num_empty:
        logger.warning("%s: %d texts without a visible character left out", path, num_empty)
    return {video_id: captions for video_id, captions in found.items() if captions}


def _captions(value: Any, *, where: str) -> list[Caption]:
    if not isinstance(value, list):
        raise DataError(f"{where}: {type(value).__name__}; expected a list, each element {FORMS}")
    if len(value) > MAX_TEXTS:
        raise DataError(f"{where}: {len(value)} texts; at most {MAX_TEXTS} a video")
    if all(isinstance(one, str) for one in value):
        return [
            Caption(start_s=float(place), end_s=place + 1.0, text=_clean(one, where=where))
            for place, one in enumerate(value)
        ]
    if not all(isinstance(one, dict) for one in value):
        raise DataError(f"{where}: elements of several kinds; expected each {FORMS}")
    captions = [_timed(one, where=f"{where}, text {n}") for n, one in enumerate(value, start=1)]
    return sorted(captions, key=lambda caption: (caption.start_s, caption.end_s))


def _timed(value: dict[str, Any], *, where: str) -> Caption:
    record = Record(value, where=where)
    start_s, end_s = record.span("start_s", "end_s", high=MAX_SECONDS)
    text = value.get("text")
    if not isinstance(text, str):  # an empty one is no fault: captioners return some
        raise record.fault("text", "a text")
    return Caption(start_s=start_s, end_s=end_s, text=_clean(text, where=where))


def _clean(text: str, *, where: str) -> str:
    if len(text) > MAX_CHARS:
        raise DataError(f"{where}: a text of {len(text)} characters; at most {MAX_CHARS}")
    return clean_text(plain_text(text), max_chars=MAX_CHARS)
