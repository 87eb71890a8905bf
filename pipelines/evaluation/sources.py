"""Where the words about a dataset's videos come from: the pipeline, a file, or other people.

Takes a job and a split, gives `Texts`. With videos, the whole pipeline builds a library in the
job's folder (resumable, a bad video is a missing one), and its kept chapters are the captions.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from fdvs.datasets.examples import Caption, Split, captions_of
from fdvs.datasets.registry import load_split
from fdvs.datasets.videos import find_videos
from fdvs.errors import ConfigError, NotFound
from fdvs.pipelines.evaluation.caption_file import load_captions
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.library import Library
from fdvs.report import BuildRow

logger = logging.getLogger(__name__)


def texts_for(job: Job, split: Split) -> Texts:
    """Return the words about the split's videos.

    Raises:
        ConfigError: the row brings no words and neither videos nor a captions file is given.
        NotFound: no video of the split has any words.
    """
    if job.videos is not None:
        texts = texts_of_videos(job, split, job.videos)
    elif job.captions is not None:
        texts = _given(f"captions file {job.captions.name}", load_captions(job.captions), split)
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
        told = {
            video_id: _chapters(library, row)
            for video_id, path in paths.items()
            if (row := rows[str(path)]).status != "failed"
        }
    captions = {video_id: found for video_id, found in told.items() if found}
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
