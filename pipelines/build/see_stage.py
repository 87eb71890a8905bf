"""Second and third stage, each in its own thread: pictures to vectors, kept pictures to words.

Both work on groups of clips that fill a model's batch, across videos, and keep the order.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fdvs.story.chapters import write_chapter
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.fingerprint import digest
from fdvs.text.clean import clean_text
from fdvs.pipelines.build import fingerprints as keys
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.overlap import groups
from fdvs.pipelines.build.items import ClipTask, Item
from fdvs.types import ClipView, Frame, JsonDict, Observation
from fdvs.vectors import unit_rows
from fdvs.redundancy.frames import similarity_to_key

logger = logging.getLogger(__name__)

THUMBNAIL_PX = 320


def _tasks(items: Sequence[Item]) -> list[ClipTask]:
    return [item for item in items if isinstance(item, ClipTask) and not item.job.failed]


def embed_clips(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Embed the sampled pictures of every clip that has no vectors yet; apply the visual rule."""

    def weight(item: Item) -> int:
        fresh = isinstance(item, ClipTask) and item.vectors is None
        return len(item.frames) if fresh and isinstance(item, ClipTask) else 0

    def full() -> int:
        return context.models.image_embedder.batch_size

    for group in groups(items, weight=weight, full=full):
        fresh = [task for task in _tasks(group) if task.vectors is None]
        if fresh:
            _embed(fresh, context)
        for task in _tasks(group):
            _keep(task, context)
            _look(task, context)
        yield from group


def _embed(tasks: Sequence[ClipTask], context: BuildContext) -> None:
    images = [frame.image for task in tasks for frame in task.frames]
    size = context.models.image_embedder.batch_size
    parts = [
        context.models.image_embedder.embed_images(images[i : i + size])
        for i in range(0, len(images), size)
    ]
    vectors = np.concatenate(parts).astype(np.float32, copy=False)
    ends = np.cumsum([len(task.frames) for task in tasks])
    for task, part in zip(tasks, np.split(vectors, ends[:-1]), strict=True):
        task.vectors = np.ascontiguousarray(part)
        task.thumbnail = _thumbnail(task.frames[0])
        context.keep_frames(task)
        payload = {"times_s": list(task.times_s), "motion": task.motion}
        task.put("frames", task.frames_key, payload, task.vectors)
        context.find_stale(task)


def _keep(task: ClipTask, context: BuildContext) -> None:
    """Drop the pictures that are not kept, and record the decision with its similarities."""
    assert task.kept is not None
    assert task.vectors is not None
    kept = set(task.kept_times_s)
    task.frames = [frame for frame in task.frames if frame.time_s in kept]
    similarity = [round(float(s), 4) for s in similarity_to_key(task.vectors)]
    payload = {"kept": [bool(k) for k in task.kept], "similarity": similarity}
    task.put("kept_frames", keys.kept_frames_key(task.frames_key, context.config.visual), payload)


def _look(task: ClipTask, context: BuildContext) -> None:
    """Place the clip where queries are: the mean of its kept pictures, as a unit vector [1, E]."""
    matcher = context.models.matcher
    assert task.kept is not None
    assert task.vectors is not None
    key = keys.look_key(task.frames_key, list(task.kept), context.text_key)
    if matcher is None or task.old_keys.get("look") == key:
        return
    placed = matcher.place_pictures(task.vectors[task.kept])
    task.put("look", key, {}, unit_rows(placed.mean(axis=0, keepdims=True)).astype(np.float32))


def _thumbnail(frame: Frame) -> bytes:
    from PIL import Image

    picture = Image.fromarray(frame.image)
    picture.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def describe_clips(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Ask every describer for the clips whose words are missing, then write their chapters."""

    def full() -> int:
        return max(context.models.batch_size(key) for key in context.describer_keys)

    def weight(item: Item) -> int:
        return 1 if isinstance(item, ClipTask) and item.stale else 0

    for group in groups(items, weight=weight, full=full):
        for key in context.describer_keys:
            _describe_all([task for task in _tasks(group) if key in task.stale], key, context)
        for task in group:
            if isinstance(task, ClipTask):
                _write(task, context)
        yield from group


def _describe_all(tasks: Sequence[ClipTask], key: str, context: BuildContext) -> None:
    """Describe in batches of the describer's own size."""
    if tasks:
        size = context.models.batch_size(key)
        for start in range(0, len(tasks), size):
            _describe(tasks[start : start + size], key, context)


def _describe(tasks: Sequence[ClipTask], key: str, context: BuildContext) -> None:
    """One batch; where it fails, clip by clip, so that a bad clip is charged to its own video."""
    started = time.monotonic()
    try:
        results = context.models.describer(key).describe([_view(t, context) for t in tasks])
    except ModelUnavailable:
        raise
    except ModelError as error:
        if len(tasks) > 1:
            logger.warning("%s failed on %d clips (%s); trying each alone", key, len(tasks), error)
            for task in tasks:
                _describe([task], key, context)
            return
        clip = tasks[0].clip
        tasks[0].job.failed = f"{key} failed at {clip.start_s:.1f}-{clip.end_s:.1f} s: {error}"
        return
    seconds = (time.monotonic() - started) / len(tasks)
    for task, observations in zip(tasks, results, strict=True):
        _record(task, key, observations, seconds, context)


def _view(task: ClipTask, context: BuildContext) -> ClipView:
    assert task.kept is not None
    assert task.vectors is not None
    return ClipView(
        video_path=task.job.path,
        clip=task.clip,
        frames=tuple(task.frames),
        vectors=task.vectors[task.kept],
        embedder=context.image_identity,
        motion=task.motion,
    )


def _record(
    task: ClipTask,
    key: str,
    observations: Sequence[Observation],
    seconds: float,
    context: BuildContext,
) -> None:
    bound = context.config.perceive.max_observation_chars
    task.seen[key] = [_cleaned(o, bound) for o in observations]
    task.put(f"see:{key}", context.see_key(task, key), _seen_payload(task.seen[key]))
    if key == "captioner":
        task.put("cost", "", {"captioner_s": seconds})
    task.job.num_clips_computed += key == context.describer_keys[0]


def _cleaned(observation: Observation, max_chars: int) -> Observation:
    return Observation(
        source=observation.source,
        text=clean_text(observation.text, max_chars=max_chars),
        start_s=observation.start_s,
        end_s=observation.end_s,
        confidence=observation.confidence,
    )


def _seen_payload(observations: Sequence[Observation]) -> JsonDict:
    names = ("source", "text", "start_s", "end_s", "confidence")
    return {"observations": [{name: getattr(o, name) for name in names} for o in observations]}


def _write(task: ClipTask, context: BuildContext) -> None:
    """Write the chapter unless the stored one is of the same words or words are missing."""
    if any(key not in task.seen for key in context.describer_keys):
        return
    config = context.config.chapter
    seen = [digest(_seen_payload(task.seen[key])) for key in context.describer_keys]
    key = keys.chapter_key(task.clip, seen, config, context.chapter_writer)
    if task.old_keys.get("chapter") == key:
        return
    writer = context.models.llm if config.writer == "llm" else None
    observations = [o for name in context.describer_keys for o in task.seen[name]]
    try:
        chapter = write_chapter(task.clip, observations, config=config, writer=writer)
    except ModelUnavailable:
        raise
    except ModelError as error:
        task.job.failed = f"chapter at {task.clip.start_s:.1f} s could not be written: {error}"
        return
    payload = {"start_s": chapter.start_s, "end_s": chapter.end_s, "text": chapter.text}
    task.put("chapter", key, payload)
