"""Second stage of a build: the sampled frames become vectors, and redundant frames are dropped.

Runs in its own thread, on groups of clips that fill the embedder's batch, across videos, and
keeps their order.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fdvs.errors import ModelUnavailable
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, Item, groups, live_tasks
from fdvs.pipelines.build.plan import choose_frames, without_pictures
from fdvs.redundancy.rules import similarity_to_key
from fdvs.store.coding import Coding, as_stored
from fdvs.types import Frame
from fdvs.vectors import unit_rows

THUMBNAIL_PX = 320
OF_FRAMES: Coding = "levels"  # how the vectors of frames are stored
OF_LOOKS: Coding = "half"


def embed_clips(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Embed the frames of every clip that has no vectors yet; keep what the visual rule keeps."""

    def weight(item: Item) -> int:
        return len(item.frames) if isinstance(item, ClipTask) and item.vectors is None else 0

    def full() -> int:
        return context.models.image_embedder.batch_size

    for group in groups(items, weight=weight, full=full):
        new = [task for task in live_tasks(group) if task.vectors is None and task.frames]
        if new:
            _embed(new, context)
        for task in live_tasks(group):
            if task.vectors is not None:
                _keep(task, context)
        yield from group


def _embed(tasks: Sequence[ClipTask], context: BuildContext) -> None:
    """Embed the frames of clips; where it fails, clip by clip: a bad clip loses its pictures."""
    try:
        _embed_all(tasks, context)
    except ModelUnavailable:
        raise
    except Exception as error:
        if len(tasks) > 1:
            for task in tasks:
                _embed([task], context)
            return
        tasks[0].job.failed_on("image_embedder", error)
        without_pictures(tasks[0], context)


def _keep(task: ClipTask, context: BuildContext) -> None:
    """Keep the frames of the visual rule, and place them for visual search."""
    _drop_frames(task, context)
    try:
        _place_picture(task, context)
    except ModelUnavailable:
        raise
    except Exception as error:
        task.job.failed_on("picture_matcher", error)


def _embed_all(tasks: Sequence[ClipTask], context: BuildContext) -> None:
    images = [frame.image for task in tasks for frame in task.frames]
    embedder = context.models.image_embedder
    size = embedder.batch_size
    batches = [embedder.embed_images(images[i : i + size]) for i in range(0, len(images), size)]
    vectors = np.concatenate(batches).astype(np.float32, copy=False)
    ends = np.cumsum([len(task.frames) for task in tasks])
    for task, rows in zip(tasks, np.split(vectors, ends[:-1]), strict=True):
        task.vectors = as_stored(rows, OF_FRAMES)
        task.thumbnail = _thumbnail(task.frames[0])
        payload = {"times_s": list(task.times_s), "motion": task.motion}
        task.add_result("frames", task.frames_fingerprint, payload, task.vectors, coding=OF_FRAMES)
        choose_frames(task, context)


def _drop_frames(task: ClipTask, context: BuildContext) -> None:
    """Drop the frames that are not kept, and record the decision with its similarities."""
    assert task.vectors is not None
    assert task.kept is not None
    kept = set(task.kept_times_s)
    task.frames = [frame for frame in task.frames if frame.time_s in kept]
    similarity = [round(float(s), 4) for s in similarity_to_key(task.vectors)]
    fingerprint = fingerprints.kept_frames_fingerprint(
        task.frames_fingerprint, context.config.visual
    )
    payload = {"kept": [bool(k) for k in task.kept], "similarity": similarity}
    task.add_result("kept_frames", fingerprint, payload)


def _place_picture(task: ClipTask, context: BuildContext) -> None:
    """Store the clip's vector for visual search: the mean of its kept frames in the space of
    queries, as a unit vector [1, E]."""
    matcher = context.models.matcher
    assert task.kept is not None
    fingerprint = fingerprints.picture_fingerprint(
        task.frames_fingerprint, list(task.kept), context.text_fingerprint
    )
    if matcher is None or task.stored.get("look") == fingerprint:
        return
    mean = matcher.place_pictures(task.kept_vectors()).mean(axis=0, keepdims=True)
    look = unit_rows(mean).astype(np.float32)
    task.add_result("look", fingerprint, {}, look, coding=OF_LOOKS)


def _thumbnail(frame: Frame) -> bytes:
    from PIL import Image

    picture = Image.fromarray(frame.image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
