"""Fourth stage of a build: the kept frames become observations, and those a chapter.

Runs in its own thread, on groups of clips that fill a describer's batch, across videos, and keeps
their order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace

from fdvs.errors import ModelUnavailable
from fdvs.fingerprint import digest
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, Item, Stretch, cleaned, groups, live_tasks
from fdvs.pipelines.build.plan import observation_fingerprint
from fdvs.story.chapters import write_chapter
from fdvs.types import ClipView, Frame, Image, JsonDict, Observation

URGENT_S = 5.0

logger = logging.getLogger(__name__)


def describe_clips(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Ask every describer about the clips that lack its observations, then write chapters."""

    def weight(item: Item) -> int:
        return 1 if isinstance(item, ClipTask) and item.stale else 0

    def full() -> int:
        return max(_batch_size(name, context) for name in context.describer_names)

    for group in groups(items, weight=weight, full=full, is_urgent=_is_urgent):
        for name in context.describer_names:
            tasks = [task for task in live_tasks(group) if name in task.stale]
            size = _batch_size(name, context) if tasks else 1
            for start in range(0, len(tasks), size):
                _describe(tasks[start : start + size], name, context)
        for item in group:
            if isinstance(item, ClipTask):
                _write_chapter(item, context)
                item.frames = []  # large, and not needed while the clip waits to be committed
        yield from group


def _is_urgent(item: Item) -> bool:
    """Whether an item must not wait for a full batch: a killed build would lose much work."""
    return isinstance(item, Stretch) and item.seconds >= URGENT_S


def _batch_size(name: str, context: BuildContext) -> int:
    """Return a describer's batch size; 1 for one that cannot be loaded, which `_describe` notes."""
    try:
        return context.models.batch_size(name)
    except ModelUnavailable:
        raise
    except Exception:
        return 1


def _describe(tasks: Sequence[ClipTask], name: str, context: BuildContext) -> None:
    """Describe one batch; where it fails, clip by clip, so that a bad clip costs only itself."""
    tasks = [task for task in tasks if not _gave_up(task, name)]
    if not tasks:
        return
    started_s = time.monotonic()
    try:
        results = context.models.describer(name).describe([_view(t, name, context) for t in tasks])
        found = list(zip(tasks, results, strict=True))
    except ModelUnavailable:
        raise
    except Exception as error:
        if len(tasks) > 1:
            logger.warning("%s failed on %d clips (%s); trying each alone", name, len(tasks), error)
            for task in tasks:
                _describe([task], name, context)
            return
        tasks[0].job.failed_on(name, error)
        return
    seconds = (time.monotonic() - started_s) / len(tasks)
    for task, observations in found:
        task.job.succeeded(name)
        _record(task, name, observations, context)
        if name == "captioner":
            task.add_result("cost", "", {"captioner_s": seconds})


def _gave_up(task: ClipTask, name: str) -> bool:
    """Whether a describer is not asked about this clip, because it failed on those before."""
    if not task.job.gave_up(name):
        return False
    task.job.failures[name].num += 1
    return True


def _view(task: ClipTask, name: str, context: BuildContext) -> ClipView:
    frames = task.frames
    if context.models.short_side_px(name) is not None:
        frames = [Frame(time_s=f.time_s, image=_largest(f)) for f in frames]
    return ClipView(
        video_path=task.job.path,
        clip=task.clip,
        frames=tuple(frames),
        vectors=None if task.vectors is None else task.kept_vectors(),
        embedder=context.image_identity,
        motion=task.motion,
    )


def _largest(frame: Frame) -> Image:
    return frame.image if frame.detail is None else frame.detail


def _record(
    task: ClipTask, name: str, observations: Sequence[Observation], context: BuildContext
) -> None:
    bound = context.config.perceive.max_observation_chars
    task.observations[name] = cleaned(observations, bound)
    stage = fingerprints.observation_stage(name)
    task.add_result(
        stage, observation_fingerprint(task, name, context), _payload(task.observations[name])
    )
    task.job.num_clips_computed += name == context.describer_names[0]


def _payload(observations: Sequence[Observation]) -> JsonDict:
    return {"observations": [asdict(observation) for observation in observations]}


def _write_chapter(task: ClipTask, context: BuildContext) -> None:
    """Write the chapter of all that was observed, unless the stored one is of the same words."""
    names, config = context.observer_names, context.config.chapter
    fingerprint = fingerprints.chapter_fingerprint(
        task.clip,
        [digest(_payload(task.observations.get(name, []))) for name in names],
        config,
        context.chapter_writer_fingerprint,
        context.text_fingerprint,
    )
    if task.stored.get("chapter") == fingerprint:
        return
    observations = [o for name in names for o in task.observations.get(name, [])]
    try:
        writer = context.models.llm if config.writer == "llm" else None
        chapter = write_chapter(
            task.clip, observations, config=config, writer=writer, by_meaning=context.orders
        )
    except ModelUnavailable:
        raise
    except Exception as error:
        task.job.failed_on("chapter writer", error)
        by_template = replace(config, writer="template")
        chapter = write_chapter(task.clip, observations, config=by_template, writer=None)
        fingerprint = ""  # never valid: the next build asks the writer again
    payload: JsonDict = {"start_s": chapter.start_s, "end_s": chapter.end_s, "text": chapter.text}
    if chapter.title:
        payload["title"] = chapter.title
    if chapter.said:
        payload["said"] = list(chapter.said)
        payload["said_s"] = [list(span_s) for span_s in chapter.said_s]
    if chapter.injections:
        payload["injections"] = list(chapter.injections)
    task.add_result("chapter", fingerprint, payload)
