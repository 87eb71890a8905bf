"""Where the words about a dataset's videos come from: the pipeline, a file, or other people.

With `--videos` the whole pipeline builds a library in the job's folder (resumable; a video that
cannot be read counts as missing), and its kept chapters are the captions. `--captions FILE` is a
JSON object from video id to a list of texts in time order

    {"video7010": ["A man rides a bike.", "He falls."]}

or of texts with their times, in seconds from the video's start, in any order

    {"video7010": [{"start_s": 0, "end_s": 4.5, "text": "A man rides a bike."}]}

Texts without times are numbered: the one at place i lies in [i, i + 1). The file is untrusted: its
size, the number of texts and their lengths are bounded, and texts are cleaned.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets.cards import load_card
from fdvs.datasets.checks import find_other_captions
from fdvs.datasets.examples import Caption, Split, captions_of
from fdvs.datasets.files import MAX_CHARS, Record, check_id, json_object, plain_text, read_json
from fdvs.datasets.registry import load_split
from fdvs.datasets.videos import find_videos
from fdvs.errors import ConfigError, DataError, NotFound
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.library import Library
from fdvs.report import BuildRow
from fdvs.text.clean import clean_text

# captions of every second of 5,000 videos of three minutes take about 90 MB
MAX_BYTES = 512 * 2**20
MAX_VIDEOS = 200_000
MAX_TEXTS = 20_000  # a video: a text every second of five and a half hours
MAX_SECONDS = 7 * 24 * 3600.0
FORMS = 'a text, or {"start_s": seconds, "end_s": seconds, "text": "..."}'

logger = logging.getLogger(__name__)


def texts_for(job: Job, split: Split) -> Texts:
    """Return the words about the split's videos.

    Raises:
        ConfigError: no captions are published, and neither videos nor a captions file is given.
        NotFound: no video of the split has any words.
    """
    if job.videos is not None:
        texts = texts_of_videos(job, split, job.videos)
    elif job.captions is not None:
        texts = _given(f"captions file {job.captions.name}", load_captions(job.captions), split)
    elif job.captions_of is not None:
        texts = _of_captioner(job, split, job.captions_of)
    elif split.captions:
        texts = _given(job.row.texts, split.captions, split)
    elif job.row.second_split:
        texts = _given(job.row.texts, captions_of(_second_split(job).queries), split)
    else:
        raise ConfigError(
            f"{job.row.name} has no published captions; give its videos (--videos FOLDER) or "
            "texts about them (--captions FILE)"
        )
    if not texts.captions:
        raise NotFound(
            f"none of the {len(split.video_ids)} videos of {split.name} has any words in "
            f"{texts.source}; the ids must be those of the dataset, such as {split.video_ids[0]}"
        )
    return texts


def _of_captioner(job: Job, split: Split, captioner: str) -> Texts:
    """Return another captioner's published texts. Raises UnknownName, AbsentData, DataError."""
    assert job.data is not None
    card = load_card(job.row.dataset)
    file = find_other_captions(job.data, card, job.row.split, captioner)
    return _given(f"published captions of {captioner}", load_captions(file), split)


def _second_split(job: Job) -> Split:
    assert job.data is not None
    return load_split(
        job.row.dataset,
        job.data,
        split=job.row.second_split,
        allow_partial=job.allow_partial,
    )


def _given(source: str, captions: Mapping[str, tuple[Caption, ...]], split: Split) -> Texts:
    found = {video_id: captions[video_id] for video_id in split.video_ids if video_id in captions}
    return Texts(source=source, captions=found, missing=_absent(split, found))


def _absent(split: Split, found: Iterable[str]) -> tuple[str, ...]:
    have = set(found)
    return tuple(video_id for video_id in split.video_ids if video_id not in have)


def texts_of_videos(job: Job, split: Split, folder: Path) -> Texts:
    """Build a library of the split's videos and return their kept chapters.

    A video that cannot be read is named in the notes and counted among the missing ones.
    """
    found = find_videos(folder, split.video_ids)
    paths = {video_id: path.resolve() for video_id, path in found.paths.items()}
    if not paths:
        raise NotFound(
            f"{folder} holds no video of {split.name}; files are found by their id, such as "
            f"{split.video_ids[0]}.mp4"
        )
    library_folder = job.out / "library"
    with Library.open(library_folder, config=job.config, models=job.models) as library:
        rows = {row.path: row for row in library.build(list(paths.values())).rows}
        chapters = {
            video_id: _chapters(library, row)
            for video_id, path in paths.items()
            if (row := rows[str(path)]).status != "failed"
        }
    captions = {video_id: found for video_id, found in chapters.items() if found}
    failed = [video_id for video_id in paths if video_id not in captions]
    logger.info("%d of %d videos have chapters", len(captions), len(split.video_ids))
    return Texts(
        source=f"chapters of the videos by preset {job.config.preset}",
        captions=captions,
        backends=job.model_set.backends(),
        missing=_absent(split, captions),
        notes=(f"videos that could not be read: {', '.join(failed)}",) if failed else (),
    )


def _chapters(library: Library, row: BuildRow) -> tuple[Caption, ...]:
    assert row.video_id is not None, f"{row.path} was built without an id"
    return tuple(
        Caption(start_s=chapter.start_s, end_s=chapter.end_s, text=chapter.text)
        for chapter in library.story(row.video_id).chapters
        if chapter.text
    )


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
