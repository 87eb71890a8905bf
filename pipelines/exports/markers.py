"""Markers for editors: EDL for Resolve and Premiere, OpenTimelineIO for others.

An EDL counts frames, so it needs one frame rate; OTIO keeps seconds at a rate of 1000.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from fdvs.errors import InvalidValue
from fdvs.pipelines.exports.texts import Mark
from fdvs.text.clean import one_line

MAX_MARKER_CHARS = 200
OTIO_RATE = 1000.0


def edl(marks: Sequence[Mark], *, title: str, fps: float) -> str:
    """Return an EDL with one event a marker, as Resolve writes timeline markers.

    Bars, which part the fields of a marker, become slashes. Raises InvalidValue without a rate.
    """
    if not 1 <= fps <= 1000:
        raise InvalidValue("fps", fps, "the frame rate of the timeline, 1 to 1000: --fps 25")
    lines = [f"TITLE: {one_line(title)}", "FCM: NON-DROP FRAME", ""]
    for number, one in enumerate(marks, start=1):
        first = round(one.start_s * fps)
        length = max(1, round(one.end_s * fps) - first)
        start, end = frame_code(first, fps), frame_code(first + 1, fps)
        text = one.line.replace("|", "/")[:MAX_MARKER_CHARS]
        lines += [
            f"{number:03d}  001      V     C        {start} {end} {start} {end}",
            f" |C:ResolveColorBlue |M:{text} |D:{length}",
            "",
        ]
    return "\n".join(lines)


def frame_code(frame: int, fps: float) -> str:
    """Return HH:MM:SS:FF of a frame, without dropping."""
    base = max(1, round(fps))
    seconds, left = divmod(frame, base)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}:{left:02d}"


def otio(marks: Sequence[Mark], *, title: str, url: str, duration_s: float) -> str:
    """Return a timeline of one clip with a marker each, as OpenTimelineIO's JSON."""
    clip = {
        "OTIO_SCHEMA": "Clip.2",
        "name": one_line(title),
        "source_range": _range(0.0, duration_s),
        "media_references": {
            "DEFAULT_MEDIA": {
                "OTIO_SCHEMA": "ExternalReference.1",
                "target_url": url,
                "available_range": _range(0.0, duration_s),
            }
        },
        "active_media_reference_key": "DEFAULT_MEDIA",
        "markers": [
            {
                "OTIO_SCHEMA": "Marker.2",
                "name": one.line,
                "color": "CYAN",
                "marked_range": _range(one.start_s, one.end_s),
                "metadata": {"fdvs": {"text": one.text}},
            }
            for one in marks
        ],
    }
    track = {"OTIO_SCHEMA": "Track.1", "name": "video", "kind": "Video", "children": [clip]}
    stack = {"OTIO_SCHEMA": "Stack.1", "name": "tracks", "children": [track]}
    timeline = {"OTIO_SCHEMA": "Timeline.1", "name": one_line(title), "tracks": stack}
    return json.dumps(timeline, ensure_ascii=False, indent=1) + "\n"


def _range(start_s: float, end_s: float) -> dict[str, object]:
    return {
        "OTIO_SCHEMA": "TimeRange.1",
        "start_time": _time(start_s),
        "duration": _time(max(0.0, end_s - start_s)),
    }


def _time(time_s: float) -> dict[str, object]:
    value = float(round(time_s * OTIO_RATE))
    return {"OTIO_SCHEMA": "RationalTime.1", "rate": OTIO_RATE, "value": value}
