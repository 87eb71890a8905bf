"""First stage, in its own thread: hash, probe, cut, decide what is still to do, decode just that.

Reads the store through its own connection and writes nothing; results travel to the main thread.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from fdvs.media.clips import cut, detect_scenes, gop_statistics
from fdvs.config import Config
from fdvs.errors import (
    ConfigError,
    CorruptLibrary,
    MediaError,
    MissingVideo,
    NotAVideo,
    UndecodableVideo,
)
from fdvs.fingerprint import digest, file_sha256
from fdvs.pipelines.build import fingerprints as keys
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, Finished, Item, Opened, Unchanged, VideoJob
from fdvs.protocols import FrameReader
from fdvs.media.sampling import motion, sample_times, unique_frames
from fdvs.store.store import Artifact, NewArtifact, Store, video_id_from
from fdvs.types import Clip, Frame, Observation, VideoInfo
from fdvs.media.readers import open_reader

logger = logging.getLogger(__name__)


def read_videos(paths: Iterable[Path], context: BuildContext) -> Iterator[Item]:
    """Yield, per file in order: Unchanged, or Opened, its clips and Finished."""
    seen: set[str] = set()
    with Store.open(context.folder) as store:
        for path in paths:
            job = VideoJob(path=path, size_bytes=0, mtime_ns=0)
            yield from _read_video(job, store, context, seen)


def _read_video(
    job: VideoJob, store: Store, context: BuildContext, seen: set[str]
) -> Iterator[Item]:
    """`seen` holds the contents of this build: a second file of the same content is no work."""
    job.started = time.monotonic()
    try:
        _identify(job, store)
        if job.video_id in seen:
            yield Unchanged(job)
            return
        seen.add(job.video_id)
        job.extra = context.content_beside(job.path)
        job.done_key = keys.done_key(job.sha256, context.config, context.model_keys, job.extra)
        done = _valid(store, job.video_id, "done")
        if done is not None and done.fingerprint == job.done_key:
            yield Unchanged(job)
            return
        with open_reader(
            job.path, reader=context.config.read.reader, timeout_s=context.config.read.timeout_s
        ) as reader:
            yield from _read_opened(job, reader, store, context)
    except (MediaError, ConfigError) as error:
        job.failed = job.failed or str(error)
        yield Finished(job)


def _read_opened(
    job: VideoJob, reader: FrameReader, store: Store, context: BuildContext
) -> Iterator[Item]:
    job.info = reader.info
    job.warnings = list(reader.info.warnings)
    _cut(job, context.config)
    yield Opened(job)
    tasks = [plan_clip(job, clip, store, context) for clip in job.clips]
    yield from _decode(job, tasks, reader, context.config)
    job.warnings = list(dict.fromkeys([*job.warnings, *reader.warnings]))
    yield Finished(job)


def _identify(job: VideoJob, store: Store) -> None:
    """Fill in the content's identity; a file that the store knows by size and time is not read."""
    try:
        stat = job.path.stat()
        job.size_bytes, job.mtime_ns = stat.st_size, stat.st_mtime_ns
        if not job.path.is_file():
            raise MissingVideo("not a regular file")
        if stat.st_size == 0:
            raise NotAVideo("empty file (0 bytes)")
        known = store.known_video(job.path, size_bytes=job.size_bytes, mtime_ns=job.mtime_ns)
        job.sha256 = store.find_video(known).sha256 if known else file_sha256(job.path)
    except OSError as error:
        raise MissingVideo(f"cannot be read: {error.strerror or error}") from error
    job.video_id = video_id_from(job.sha256)


def _cut(job: VideoJob, config: Config) -> None:
    info = job.info
    assert info is not None
    scenes = None
    if config.cut.method == "scenes":
        scenes = detect_scenes(job.path, threshold=config.cut.scene_threshold)
    job.clips = cut(info, config.cut, video_id=job.video_id, scene_times_s=scenes)
    job.gop = gop_statistics(info).describe()
    probe = _probe_payload(info, job.gop)
    key = keys.probe_key(job.sha256, config)
    clips = {"clips": [[clip.start_s, clip.end_s] for clip in job.clips]}
    clips_key = keys.clips_key(digest(probe), config)
    job.puts = [
        NewArtifact(video_id=job.video_id, stage="probe", fingerprint=key, payload=probe),
        NewArtifact(video_id=job.video_id, stage="clips", fingerprint=clips_key, payload=clips),
    ]


def _probe_payload(info: VideoInfo, gop: str) -> dict[str, object]:
    names = [
        "width_px",
        "height_px",
        "duration_s",
        "fps",
        "rotation_deg",
        "codec",
        "container",
        "has_audio",
        "is_timed",
    ]
    return {**{name: getattr(info, name) for name in names}, "gop": gop}


def _valid(store: Store, video_id: str, stage: str, item: int = 0) -> Artifact | None:
    """Return a stored result; a damaged one counts as missing, so that a build repairs it."""
    try:
        return store.get(video_id, stage, item)
    except CorruptLibrary as error:
        logger.warning("%s; making it again", error)
        return None


def plan_clip(job: VideoJob, clip: Clip, store: Store, context: BuildContext) -> ClipTask:
    """Return the clip's task with everything valid filled in and `decode_s` set to the rest."""
    config = context.config
    task = ClipTask(job=job, clip=clip)
    task.frames_key = keys.frames_key(job.sha256, clip, config, context.image_key)
    frames = _valid(store, job.video_id, "frames", clip.index)
    chapter = _valid(store, job.video_id, "chapter", clip.index)
    task.old_keys["chapter"] = chapter.fingerprint if chapter else ""
    look = _valid(store, job.video_id, "look", clip.index)
    task.old_keys["look"] = look.fingerprint if look else ""
    for key in context.describer_keys:
        seen = _valid(store, job.video_id, f"see:{key}", clip.index)
        if seen is not None:
            task.old_keys[key] = seen.fingerprint
            task.seen[key] = [Observation(**o) for o in seen.payload["observations"]]
    if frames is None or frames.fingerprint != task.frames_key or frames.vectors is None:
        task.decode_s = sample_times(clip, config.sample.num_frames_per_clip)
        task.stale = context.describer_keys
        return task
    task.times_s = tuple(frames.payload["times_s"])
    task.motion, task.vectors = frames.payload["motion"], frames.vectors
    context.keep_frames(task)
    context.find_stale(task)
    if any(context.needs_frames(key) for key in task.stale):
        task.decode_s = task.kept_times_s
    return task


def _decode(
    job: VideoJob, tasks: list[ClipTask], reader: FrameReader, config: Config
) -> Iterator[ClipTask]:
    """Yield the tasks in order with their pictures: one forward pass over all times wanted."""
    frames = reader.frames_at(_wanted(tasks), short_side_px=config.sample.short_side_px)
    waiting = deque(tasks)
    tasks.clear()  # a task holds pictures: nobody but the stages may keep it alive
    while waiting and not job.failed:
        task = waiting.popleft()
        if task.decode_s:
            _attach(task, list(itertools.islice(frames, len(task.decode_s))))
        yield task


def _wanted(tasks: Sequence[ClipTask]) -> list[float]:
    """All times to decode, never running back: a stored frame's own time may lie a little before
    the last time asked of the clip before it, and is then the same picture."""
    return list(itertools.accumulate((t for task in tasks for t in task.decode_s), max))


def _attach(task: ClipTask, frames: list[Frame]) -> None:
    """Give the task its pictures: all sampled ones, or (when known) just the kept ones."""
    if not frames:
        clip = task.clip
        raise UndecodableVideo(f"no picture could be decoded in {clip.start_s}-{clip.end_s} s")
    task.frames = unique_frames(frames)
    if task.vectors is None:
        task.times_s = tuple(frame.time_s for frame in task.frames)
        task.motion = round(motion(task.frames), 6)
