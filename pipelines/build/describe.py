"""What describers say of clips, and the chapter that is written from all that was observed.

`describe_batch` and `batch_size` are for a describer's own thread and change no clip; `record` and
`write_chapter_of` are for the thread that joins a clip's sources.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from fdvs.errors import ModelUnavailable, Stopped
from fdvs.fingerprint import digest
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, cleaned
from fdvs.pipelines.build.plan import observation_fingerprint
from fdvs.story.chapters import write_chapter
from fdvs.types import ClipView, Frame, Image, JsonDict, Observation

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What a describer said of one clip, and how long it took."""

    observations: Sequence[Observation]
    seconds: float


def batch_size(name: str, context: BuildContext) -> int:
    """Return a describer's batch size; 1 for one that cannot be loaded, which `describe_batch`
    notes."""
    try:
        return context.models.batch_size(name)
    except ModelUnavailable:
        raise
    except Exception:
        return 1


def describe_batch(
    tasks: Sequence[ClipTask], name: str, context: BuildContext
) -> list[Described | None]:
    """Describe clips together; where it fails, clip by clip, so that a bad clip costs only itself.

    Returns None for a clip whose video failed, or on which the describer failed or gave up.
    """
    asked = [task for task in tasks if not task.job.failed and not task.job.skips(name)]
    if not asked:
        return [None] * len(tasks)
    started_s = time.monotonic()
    try:
        views = [_view(task, name, context) for task in asked]
        found = list(zip(asked, context.models.describer(name).describe(views), strict=True))
    except (ModelUnavailable, Stopped):
        raise
    except Exception as error:
        if len(asked) > 1:
            logger.warning("%s failed on %d clips (%s); trying each alone", name, len(asked), error)
            alone = {id(task): describe_batch([task], name, context)[0] for task in asked}
            return [alone.get(id(task)) for task in tasks]
        asked[0].job.failed_on(name, error)
        return [None] * len(tasks)
    seconds = (time.monotonic() - started_s) / len(asked)
    said = {id(task): Described(observations=one, seconds=seconds) for task, one in found}
    for task in asked:
        task.job.succeeded(name)
    return [said.get(id(task)) for task in tasks]


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


def record(task: ClipTask, name: str, described: Described, context: BuildContext) -> None:
    """Add what a describer said of a clip to its observations and results."""
    bound = context.config.perceive.max_observation_chars
    task.observations[name] = cleaned(described.observations, bound)
    stage = fingerprints.observation_stage(name)
    task.add_result(
        stage, observation_fingerprint(task, name, context), _payload(task.observations[name])
    )
    task.job.num_clips_computed += name == context.describer_names[0]
    if name == "captioner":
        task.add_result("cost", "", {"captioner_s": described.seconds})


def _payload(observations: Sequence[Observation]) -> JsonDict:
    return {"observations": [asdict(observation) for observation in observations]}


def write_chapter_of(task: ClipTask, context: BuildContext) -> None:
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
    except (ModelUnavailable, Stopped):
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
