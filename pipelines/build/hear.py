"""Third stage of a build: sources that read a whole file (subtitles, speech) do so, once.

Runs in its own thread. Each stretch goes to the main thread as it comes and is committed there, so
that a killed build goes on behind the last one. A source that fails costs what it had still to
read, never the video.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace

from fdvs.errors import ModelUnavailable
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import ClipTask, Item, Opened, Stretch, Track, VideoJob, cleaned
from fdvs.pipelines.build.plan import timeline_of
from fdvs.pipelines.build.tracks import give_to_clips
from fdvs.progress import reported
from fdvs.report import BuildEvent
from fdvs.store.store import NewArtifact
from fdvs.text.timecode import timecode
from fdvs.types import JsonDict


def hear_tracks(items: Iterable[Item], context: BuildContext) -> Iterator[Item]:
    """Read the tracks of every opened file, and hand each clip what was said in it."""
    for item in items:
        if isinstance(item, ClipTask):
            said = item.job.said
            item.observations.update(
                {name: by_clip[item.clip.index] for name, by_clip in said.items()}
            )
        yield item
        if isinstance(item, Opened):
            for name in context.track_names:
                yield from _hear(item.job, name, context)


def _hear(job: VideoJob, name: str, context: BuildContext) -> Iterator[Stretch]:
    track = job.tracks[name]
    try:
        if not track.is_complete:
            _tell(job, name, track.end_s, context)
            yield from _read(job, name, track, context)
    except ModelUnavailable:
        raise
    except Exception as error:
        job.failed_on(name, error, f"from {timecode(track.end_s)} on")
    for heard in track.stretches:
        for note in heard.notes:
            job.note(note)
    observations = [found for heard in track.stretches for found in heard.observations]
    job.said[name] = give_to_clips(observations, job.clips)


def _read(job: VideoJob, name: str, track: Track, context: BuildContext) -> Iterator[Stretch]:
    """Read on behind the stretches that are stored; the last item marks the track as complete."""
    assert job.info is not None
    timeline, since_s = timeline_of(job.info), time.monotonic()
    bound = context.config.perceive.max_observation_chars
    source = context.models.track_source(name)
    stretches = source.read_track(job.path, timeline, start_s=track.end_s)
    for heard in reported(stretches, lambda at_s: _tell(job, name, at_s, context)):
        heard = replace(heard, observations=tuple(cleaned(heard.observations, bound)))
        now_s = time.monotonic()
        place = len(track.stretches), fingerprints.track_stage(name), asdict(heard)
        track.stretches.append(heard)
        yield _stretch(job, name, track, place, seconds=now_s - since_s)
        since_s = now_s
    end = 0, fingerprints.track_end_stage(name), {"num_stretches": len(track.stretches)}
    yield _stretch(job, name, track, end, seconds=0.0)


def _tell(job: VideoJob, name: str, at_s: float, context: BuildContext) -> None:
    """Say how far a source has read a file; what it found is committed when a stretch ends."""
    context.watch(track_event(job, name, at_s))


def track_event(job: VideoJob, name: str, at_s: float) -> BuildEvent:
    """Return the event that a source has read a file up to a time."""
    length_s = job.info.duration_s if job.info else 0.0
    return BuildEvent(
        kind="track",
        name=job.path.name,
        text=name.removeprefix("source:"),
        done=round(at_s),
        total=round(length_s),
        number=job.number,
        at_s=at_s,
        length_s=length_s,
    )


def _stretch(
    job: VideoJob, name: str, track: Track, place: tuple[int, str, JsonDict], *, seconds: float
) -> Stretch:
    item, stage, payload = place
    result = NewArtifact(
        video_id=job.video_id,
        stage=stage,
        item=item,
        fingerprint=track.fingerprint,
        payload=payload,
    )
    return Stretch(job=job, source=name, end_s=track.end_s, seconds=seconds, result=result)
