"""What of one clip is still to do: the only place that decides which stored results are stale.

A clip is planned twice: before it is decoded (`plan_clip`), and, where its frames had to be
decoded and embedded first, again once their vectors are known (`choose_frames`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fdvs.errors import CorruptLibrary
from fdvs.media.sampling import sample_times
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, VideoJob
from fdvs.redundancy.rules import keep_frames
from fdvs.store.store import Artifact, Store
from fdvs.types import Clip, Observation, Timeline, VideoInfo

logger = logging.getLogger(__name__)


def plan_clip(job: VideoJob, clip: Clip, store: Store, context: BuildContext) -> ClipTask:
    """Return the clip's task: every valid result filled in, `decode_times_s` set to the rest."""
    task = ClipTask(job=job, clip=clip)
    task.frames_fingerprint = fingerprints.frames_fingerprint(
        job.sha256, clip, context.config, context.image_fingerprint
    )
    _load_stored(task, store, context)
    if not _has_pictures(job, clip):
        without_pictures(task, context)
        return task
    frames = stored_result(store, job.video_id, "frames", clip.index)
    if (
        clip.index in job.lost_thumbnails
        or frames is None
        or frames.fingerprint != task.frames_fingerprint
        or frames.vectors is None
    ):
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
    _set_stale(task, context.describer_names, context)


def without_pictures(task: ClipTask, context: BuildContext) -> None:
    """Make the task one of a clip without pictures: only describers that need none are asked."""
    task.frames, task.vectors, task.kept = [], None, None
    task.times_s = task.decode_times_s = ()
    task.job.without_pictures.add(task.clip.index)
    needing = [name for name in context.describer_names if context.models.needs_frames(name)]
    for name in needing:
        task.observations.pop(name, None)
    others = tuple(name for name in context.describer_names if name not in needing)
    _set_stale(task, others, context)


def _set_stale(task: ClipTask, names: Sequence[str], context: BuildContext) -> None:
    task.stale = tuple(
        name
        for name in names
        if task.stored.get(fingerprints.observation_stage(name))
        != observation_fingerprint(task, name, context)
    )
    for name in task.stale:
        task.observations.pop(name, None)


def _has_pictures(job: VideoJob, clip: Clip) -> bool:
    """Whether a clip begins before the pictures end; the first clip of a film always has some."""
    assert job.info is not None
    if not job.info.width_px:
        return False
    return clip.index == 0 or clip.start_s < timeline_of(job.info).pictures_end_s


def observation_fingerprint(task: ClipTask, name: str, context: BuildContext) -> str:
    """Return the fingerprint of what describer `name` says of the kept frames."""
    with_frames = context.models.needs_frames(name)
    return fingerprints.observation_fingerprint(
        task.job.sha256,
        task.clip,
        context.config,
        describer=context.observer_fingerprints[name],
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


def timeline_of(info: VideoInfo) -> Timeline:
    """Return a file's timeline; one that was not measured has pictures from 0 to the end."""
    if info.timeline is not None:
        return info.timeline
    return Timeline(
        origin_s=0.0,
        pictures_end_s=info.duration_s,
        sound_start_s=None,
        sound_end_s=None,
        duration_s=info.duration_s,
    )


def stored_result(store: Store, video_id: str, stage: str, item: int = 0) -> Artifact | None:
    """Return a stored result; a damaged one counts as missing, so that a build repairs it."""
    try:
        return store.get(video_id, stage, item)
    except CorruptLibrary as error:
        logger.warning("%s; computing it again", error)
        return None
