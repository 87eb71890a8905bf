"""What of one clip is still to do: the only place that decides which stored results are stale.

A clip is planned twice: before it is decoded (`plan_clip`), and, where its frames had to be
decoded and embedded first, again once their vectors are known (`choose_frames`).
"""

from __future__ import annotations

import logging

from fdvs.errors import CorruptLibrary
from fdvs.media.sampling import sample_times
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, VideoJob
from fdvs.redundancy.rules import keep_frames
from fdvs.store.store import Artifact, Store
from fdvs.types import Clip, Observation

logger = logging.getLogger(__name__)


def plan_clip(job: VideoJob, clip: Clip, store: Store, context: BuildContext) -> ClipTask:
    """Return the clip's task: every valid result filled in, `decode_times_s` set to the rest."""
    task = ClipTask(job=job, clip=clip)
    task.frames_fingerprint = fingerprints.frames_fingerprint(
        job.sha256, clip, context.config, context.image_fingerprint
    )
    _load_stored(task, store, context)
    frames = stored_result(store, job.video_id, "frames", clip.index)
    if frames is None or frames.fingerprint != task.frames_fingerprint or frames.vectors is None:
        task.decode_times_s = sample_times(clip, context.config.sample.num_frames_per_clip)
        task.stale = context.describer_names
        return task
    task.times_s = tuple(frames.payload["times_s"])
    task.motion, task.vectors = frames.payload["motion"], frames.vectors
    choose_frames(task, context)
    if any(context.models.needs_frames(name) for name in task.stale):
        task.decode_times_s = task.kept_times_s
    return task


def choose_frames(task: ClipTask, context: BuildContext) -> None:
    """Apply the redundancy rule to the task's vectors, then set `stale`: the describers whose
    stored observations are not of the kept frames."""
    assert task.vectors is not None
    salt = f"{task.job.video_id}/{task.clip.index}"
    task.kept = keep_frames(task.vectors, context.config.visual, salt=salt)
    task.stale = tuple(
        name
        for name in context.describer_names
        if task.stored.get(fingerprints.observation_stage(name))
        != observation_fingerprint(task, name, context)
    )
    for name in task.stale:
        task.observations.pop(name, None)


def observation_fingerprint(task: ClipTask, name: str, context: BuildContext) -> str:
    """Return the fingerprint of what describer `name` says of the kept frames."""
    with_frames = context.models.needs_frames(name)
    return fingerprints.observation_fingerprint(
        task.job.sha256,
        task.clip,
        context.config,
        describer=context.describer_fingerprints[name],
        times_s=task.kept_times_s if with_frames else (),
        motion=task.motion if with_frames else 0.0,
        sidecar="" if with_frames else task.job.sidecar_digest,
    )


def _load_stored(task: ClipTask, store: Store, context: BuildContext) -> None:
    """Fill in `stored` and `observations` from the store."""
    video_id, index = task.job.video_id, task.clip.index
    for stage in ("chapter", "look"):
        found = stored_result(store, video_id, stage, index)
        task.stored[stage] = found.fingerprint if found else ""
    for name in context.describer_names:
        stage = fingerprints.observation_stage(name)
        found = stored_result(store, video_id, stage, index)
        if found is not None:
            task.stored[stage] = found.fingerprint
            task.observations[name] = [Observation(**o) for o in found.payload["observations"]]


def stored_result(store: Store, video_id: str, stage: str, item: int = 0) -> Artifact | None:
    """Return a stored result; a damaged one counts as missing, so that a build repairs it."""
    try:
        return store.get(video_id, stage, item)
    except CorruptLibrary as error:
        logger.warning("%s; computing it again", error)
        return None
