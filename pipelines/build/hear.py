"""Sources that read a whole file (subtitles, speech) do so, once.

Each stretch goes to the main thread as it comes and is committed there, so that a killed build
goes on behind the last one. A source that fails costs what it had still to read, never the video.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace

from fdvs.errors import ModelUnavailable, Stopped
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import Stretch, Track, VideoJob, cleaned
from fdvs.pipelines.build.plan import timeline_of
from fdvs.pipelines.build.tracks import give_to_clips
from fdvs.progress import reported
from fdvs.report import BuildEvent
from fdvs.stopping import check_stop
from fdvs.store.store import NewArtifact
from fdvs.text.timecode import timecode
from fdvs.types import JsonDict


def hear(job: VideoJob, name: str, context: BuildContext) -> Iterator[Stretch]:
    """Read what is not stored of a file's track, then give each clip what was said in it."""
    track = job.tracks[name]
    try:
        if not track.is_complete:
            _tell(job, name, track.end_s, context)
            yield from _read(job, name, track, context)
    except (ModelUnavailable, Stopped):
        raise
    except Exception as error:
        job.failed_on(name, error, f"from {timecode(track.end_s)} on")
    observations = [found for heard in track.stretches for found in heard.observations]
    job.said[name] = give_to_clips(observations, job.clips)


def note_heard(job: VideoJob) -> None:
    """Add the notes of the tracks to the video's, in the order of the sources."""
    for track in job.tracks.values():
        for heard in track.stretches:
            for note in heard.notes:
                job.note(note)


def _read(job: VideoJob, name: str, track: Track, context: BuildContext) -> Iterator[Stretch]:
    """Read on behind the stretches that are stored; the last item marks the track as complete."""
    assert job.info is not None
    timeline = timeline_of(job.info)
    bound = context.config.perceive.max_observation_chars
    source = context.models.track_source(name)
    stretches = source.read_track(job.path, timeline, start_s=track.end_s)
    for heard in reported(stretches, lambda at_s: _tell(job, name, at_s, context)):
        heard = replace(heard, observations=tuple(cleaned(heard.observations, bound)))
        place = len(track.stretches), fingerprints.track_stage(name), asdict(heard)
        track.stretches.append(heard)
        yield _stretch(job, name, track, place)
        check_stop()
    end = 0, fingerprints.track_end_stage(name), {"num_stretches": len(track.stretches)}
    yield _stretch(job, name, track, end)


def _tell(job: VideoJob, name: str, at_s: float, context: BuildContext) -> None:
    """Say how far a source has read a file; what it found is committed when a stretch ends."""
    context.watch(track_event(job, context.models.kind_of(name), at_s))


def track_event(job: VideoJob, kind: str, at_s: float) -> BuildEvent:
    """Return the event that a source, such as speech, has read a file up to a time."""
    length_s = job.info.duration_s if job.info else 0.0
    return BuildEvent(
        kind="track",
        name=job.path.name,
        text=kind,
        done=round(at_s),
        total=round(length_s),
        number=job.number,
        at_s=at_s,
        length_s=length_s,
    )


def _stretch(job: VideoJob, name: str, track: Track, place: tuple[int, str, JsonDict]) -> Stretch:
    item, stage, payload = place
    result = NewArtifact(
        video_id=job.video_id,
        stage=stage,
        item=item,
        fingerprint=track.fingerprint,
        payload=payload,
    )
    return Stretch(job=job, source=name, end_s=track.end_s, result=result)
