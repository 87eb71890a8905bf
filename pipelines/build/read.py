"""First stage of a build: hash, probe and cut a file, plan its clips, decode what they need.

Runs in its own thread. Reads the store through its own connection and writes nothing; results
travel to the main thread.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Literal

from fdvs.config import Config
from fdvs.errors import (
    MissingVideo,
    ModelUnavailable,
    NotAVideo,
    Stopped,
    StoreError,
    UndecodableVideo,
)
from fdvs.fingerprint import digest, file_sha256
from fdvs.media.clips import cut, detect_scenes, gop_statistics
from fdvs.media.readers import check_container, open_reader
from fdvs.media.sampling import motion, unique_frames
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import (
    PICTURES,
    ClipTask,
    Finished,
    Item,
    Opened,
    Unchanged,
    VideoJob,
    stored_mtime_ns,
)
from fdvs.pipelines.build.plan import plan_clip, stored_result, without_pictures
from fdvs.pipelines.build.tracks import plan_tracks
from fdvs.pipelines.model_set import CAPTIONER
from fdvs.protocols import FrameReader
from fdvs.store.store import NewArtifact, Store, video_id_from
from fdvs.text.clean import one_line
from fdvs.types import Frame

PROBE_FIELDS = (
    *("width_px", "height_px", "duration_s", "fps", "rotation_deg"),
    *("codec", "container", "has_audio", "is_timed"),
)


Known = Literal["twin", "done", ""]

logger = logging.getLogger(__name__)


def read_videos(paths: Iterable[Path], context: BuildContext) -> Iterator[Item]:
    """Yield, per file in order: Unchanged, or Opened, its clips and Finished."""
    seen: set[str] = set()
    with Store.open(context.folder) as store:
        for number, path in enumerate(paths, start=1):
            job = VideoJob(path, number=number)
            yield from _read_video(job, store, context, seen)


def _read_video(
    job: VideoJob, store: Store, context: BuildContext, seen: set[str]
) -> Iterator[Item]:
    """`seen` holds the video ids of this build: a second file of the same content is no work."""
    try:
        if look_at(job, store, context, seen):
            yield Unchanged(job)
            return
        with open_reader(
            job.path, reader=context.config.read.reader, timeout_s=context.config.read.timeout_s
        ) as reader:
            yield from _read_opened(job, reader, store, context)
    except (StoreError, ModelUnavailable, Stopped):
        raise
    except Exception as error:
        job.failed = job.failed or job.reason_of(error)
        yield Finished(job)


def look_at(job: VideoJob, store: Store, context: BuildContext, seen: set[str]) -> Known:
    """Identify a file; return whether it is a "twin" of one in `seen`, "done", or "" for neither.

    Adds the file to `seen`. Raises MediaError where it is no media file, or cannot be read.
    """
    job.started_s = time.monotonic()
    _identify(job, store)
    if job.video_id in seen:
        return "twin"
    seen.add(job.video_id)
    _look_beside(job, context)
    job.lost_thumbnails = store.lost_thumbnails(job.video_id)
    job.done_fingerprint = fingerprints.done_fingerprint(
        job.sha256, context.config, context.model_fingerprints, job.sidecar_digest
    )
    return "done" if _is_done(job, store) else ""


def _look_beside(job: VideoJob, context: BuildContext) -> None:
    """Fill in the digests of what sources read besides the video."""
    for name in context.observer_names:
        try:
            content = context.models.content_beside(name, job.path)
        except ModelUnavailable:
            raise
        except Exception as error:
            job.failed_on(name, error, "to look for files beside the video")
            content = "unreadable"
        if content:
            job.beside[name] = content
    job.sidecar_digest = digest(job.beside) if job.beside else ""


def _is_done(job: VideoJob, store: Store) -> bool:
    """Whether everything about the video is stored, valid and undamaged."""
    done = stored_result(store, job.video_id, "done")
    if done is None or done.fingerprint != job.done_fingerprint:
        return False
    if not store.is_intact(job.video_id, seal=done.payload.get("seal")):
        logger.warning("%s: stored results are damaged; made again", one_line(job.path.name))
        return False
    return not job.lost_thumbnails


def _read_opened(
    job: VideoJob, reader: FrameReader, store: Store, context: BuildContext
) -> Iterator[Item]:
    job.info = reader.info
    for warning in reader.info.warnings:
        job.note(warning)
    if reader.info.width_px and is_new(job, store):
        context.models.try_captioner()
    _cut(job, context.config)
    plan_tracks(job, store, context)
    tasks = [plan_clip(job, clip, store, context) for clip in job.clips]
    if any(CAPTIONER in task.stale for task in tasks):
        context.models.try_captioner()
    yield Opened(job)
    yield from _decode(job, tasks, reader, context)
    for warning in reader.warnings:
        job.note(warning)
    yield Finished(job)


def is_new(job: VideoJob, store: Store) -> bool:
    """Whether the library holds nothing of a video, so that all of it is to be described."""
    return stored_result(store, job.video_id, "clips") is None


def _identify(job: VideoJob, store: Store) -> None:
    """Fill in the content's identity; a file that the store knows by size and time is not read."""
    try:
        stat = job.path.stat()
        job.size_bytes, job.mtime_ns = stat.st_size, stored_mtime_ns(stat)
        if not job.path.is_file():
            raise MissingVideo("not a regular file")
        if stat.st_size == 0:
            raise NotAVideo("empty file (0 bytes)")
        known = store.known_video(job.path, size_bytes=job.size_bytes, mtime_ns=job.mtime_ns)
        job.sha256 = (known and store.sha256_of(known)) or _hashed(job.path)
    except OSError as error:
        raise MissingVideo(f"cannot be read: {error.strerror or error}") from error
    job.video_id = video_id_from(job.sha256)


def _hashed(path: Path) -> str:
    """Return a media file's SHA-256; other files are refused first, since hashing may take long."""
    check_container(path)
    return file_sha256(path)


def _cut(job: VideoJob, config: Config) -> None:
    """Cut the video into clips, and add its facts and its clips to the job's results."""
    info = job.info
    assert info is not None
    scenes = None
    if config.cut.method == "scenes":
        scenes = detect_scenes(job.path, threshold=config.cut.scene_threshold)
    job.clips = cut(info, config.cut, video_id=job.video_id, scene_times_s=scenes)
    job.gop = gop_statistics(info).describe()
    probe = {**{name: getattr(info, name) for name in PROBE_FIELDS}, "gop": job.gop}
    clips = {"clips": [[clip.start_s, clip.end_s] for clip in job.clips]}
    by_stage = {
        "probe": (fingerprints.probe_fingerprint(job.sha256, config), probe),
        "clips": (fingerprints.clips_fingerprint(digest(probe), config), clips),
    }
    job.results = [
        NewArtifact(video_id=job.video_id, stage=stage, fingerprint=fingerprint, payload=payload)
        for stage, (fingerprint, payload) in by_stage.items()
    ]


def _decode(
    job: VideoJob, tasks: list[ClipTask], reader: FrameReader, context: BuildContext
) -> Iterator[ClipTask]:
    """Yield the tasks in order with their frames: one forward pass over the file.

    A clip whose pictures cannot be read has none, and reading goes on behind it.
    """
    for task in tasks:
        if task.clip.index in context.skipped and task.decode_times_s:
            job.skipped_pictures()
            _lose_pictures(task, context)
    waiting = deque(tasks)
    tasks.clear()  # a task holds images: only the stages may keep it alive
    frames = _frames(waiting, reader, context)
    while waiting and not job.failed:
        task = waiting.popleft()
        if task.decode_times_s and job.gave_up(PICTURES):
            job.failures[PICTURES].num += 1
            _lose_pictures(task, context)
        elif task.decode_times_s:
            try:
                _attach(task, list(itertools.islice(frames, len(task.decode_times_s))))
                job.succeeded(PICTURES)
            except Exception as error:
                job.failed_on(PICTURES, error)
                _lose_pictures(task, context)
                frames = _frames(waiting, reader, context)
        yield task


def _frames(
    tasks: Collection[ClipTask], reader: FrameReader, context: BuildContext
) -> Iterator[Frame]:
    """Yield the frames of the tasks, with detail where one of their describers asks for it."""
    asking = {name for task in tasks for name in task.stale}
    sizes = [px for name in asking if (px := context.models.short_side_px(name)) is not None]
    return reader.frames_at(
        _times_to_decode(tasks),
        short_side_px=context.config.sample.short_side_px,
        detail_px=max(sizes, default=None),
    )


def _lose_pictures(task: ClipTask, context: BuildContext) -> None:
    """Go on without frames: with stored vectors, only what is still to be described is lost."""
    if task.vectors is None:
        without_pictures(task, context)
    else:
        task.decode_times_s = ()
        task.stale = tuple(n for n in task.stale if not context.models.needs_frames(n))


def _times_to_decode(tasks: Iterable[ClipTask]) -> list[float]:
    """Return all times to decode, in seconds, never decreasing.

    A stored frame's own time may lie a little before the last time wanted of the clip before it:
    it is then the same frame.
    """
    return list(itertools.accumulate((t for task in tasks for t in task.decode_times_s), max))


def _attach(task: ClipTask, frames: list[Frame]) -> None:
    """Attach the decoded frames: all sampled ones or, where those are known, the kept ones."""
    if not frames:
        clip = task.clip
        raise UndecodableVideo(f"no frame could be decoded in {clip.start_s}-{clip.end_s} s")
    task.frames = unique_frames(frames)
    if task.vectors is None:
        task.times_s = tuple(frame.time_s for frame in task.frames)
        task.motion = round(motion(task.frames), 6)
