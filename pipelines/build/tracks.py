"""Tracks: what sources that read whole files have said, stored in stretches and given to clips."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import Track, VideoJob
from fdvs.pipelines.build.plan import stored_result, timeline_of
from fdvs.protocols import Heard
from fdvs.store.store import Store
from fdvs.types import Clip, JsonDict, Observation

COVERED = 0.5  # a cue covers a clip if it is shown for at least this share of it


def plan_tracks(job: VideoJob, store: Store, context: BuildContext) -> None:
    """Fill in what is stored of every track and still valid."""
    assert job.info is not None
    timeline = timeline_of(job.info)
    for name in context.track_names:
        fingerprint = fingerprints.track_fingerprint(
            job.sha256,
            timeline,
            context.config,
            source=context.observer_fingerprints[name],
            beside=job.beside.get(name, ""),
        )
        job.tracks[name] = _stored_track(job.video_id, name, fingerprint, store)


def _stored_track(video_id: str, name: str, fingerprint: str, store: Store) -> Track:
    """Return the stretches from the first one on, up to one that is missing or stale."""
    track, stage = Track(fingerprint=fingerprint), fingerprints.track_stage(name)
    while True:
        found = stored_result(store, video_id, stage, len(track.stretches))
        if found is None or found.fingerprint != fingerprint:
            break
        track.stretches.append(_heard(found.payload))
    end = stored_result(store, video_id, fingerprints.track_end_stage(name))
    track.is_complete = (
        end is not None
        and end.fingerprint == fingerprint
        and end.payload["num_stretches"] == len(track.stretches)
    )
    return track


def _heard(payload: JsonDict) -> Heard:
    observations = tuple(Observation(**one) for one in payload["observations"])
    notes = tuple(payload["notes"])
    return Heard(**{**payload, "observations": observations, "notes": notes})


def give_to_clips(
    observations: Iterable[Observation], clips: Sequence[Clip]
) -> list[list[Observation]]:
    """Return the observations of each clip, in time order.

    A spoken sentence stands whole in the clip where most of it is said. Any other line belongs to
    every clip that it covers, if these are two or more, else to the clip where it begins. What is
    before the first clip or behind the last is given to that one.
    """
    given: list[list[Observation]] = [[] for _ in clips]
    for one in sorted(observations, key=lambda one: (one.start_s, one.end_s)):
        start_s = max(0.0, one.start_s)
        one = replace(one, start_s=start_s, end_s=max(start_s, one.end_s))
        for index in _places(one, clips):
            given[index].append(one)
    return given


def _places(one: Observation, clips: Sequence[Clip]) -> list[int]:
    """Return the places in `clips` of the clips that an observation belongs to."""
    start = max(0, bisect_right(clips, one.start_s, key=lambda clip: clip.start_s) - 1)
    stop = max(start + 1, bisect_left(clips, one.end_s, key=lambda clip: clip.start_s))
    within = range(start, stop)
    if one.source == "speech":
        return [max(within, key=lambda index: _overlap_s(one, clips[index]))]
    covered = [i for i in within if _overlap_s(one, clips[i]) >= COVERED * clips[i].duration_s]
    return covered if len(covered) > 1 else [start]


def _overlap_s(one: Observation, clip: Clip) -> float:
    return min(one.end_s, clip.end_s) - max(one.start_s, clip.start_s)
