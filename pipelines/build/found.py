"""What the sources found in a video: counts for the report of a build."""

from __future__ import annotations

from collections import Counter

from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.fingerprints import observation_stage, track_stage
from fdvs.store.store import Store


def found_in(video_id: str, store: Store, context: BuildContext) -> dict[str, int]:
    """Return how many observations each source of the settings has, in the settings' order.

    Observations are named by their `source` (speech, screen text); a source that found nothing is
    left out, and so is the captioner, which says something of every clip.
    """
    found: Counter[str] = Counter()
    for name in context.observer_names:
        if name == "captioner":
            continue
        is_track = name in context.track_names
        stage = track_stage(name) if is_track else observation_stage(name)
        for stored in store.get_all(video_id, stage).values():
            found.update(str(one["source"]) for one in stored.payload.get("observations", ()))
    return dict(found)
