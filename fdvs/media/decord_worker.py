"""Decode with decord in a process that dies afterwards.

Run as `python -m fdvs.media.decord_worker`.

One JSON request on stdin, then for each picture one JSON line and its RGB bytes on stdout.
An open decord reader keeps decoding into memory (gigabytes within seconds), so it exists only
here and only for one request.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any, BinaryIO

import numpy as np

SLACK_S = 1e-6


def indices_at(starts_s: Any, times_s: list[float]) -> list[int]:
    """Return for each time the index of the last picture that starts at or before it."""
    places = np.searchsorted(starts_s, np.asarray(times_s) + SLACK_S, side="right") - 1
    return [int(place) for place in np.maximum(places, 0)]


def indices_every(starts_s: Any, every_s: float) -> list[int]:
    """Return the indices of pictures at least `every_s` apart, the first included."""
    chosen: list[int] = []
    due_s = -np.inf
    for index, start_s in enumerate(starts_s):
        if start_s >= due_s - SLACK_S:
            chosen.append(index)
            due_s = start_s + every_s
    return chosen


def serve(request: dict[str, Any], output: BinaryIO) -> None:
    """Answer one request: {"path": hex, "times_s": [...]} or {"path": hex, "every_s": x}."""
    import decord

    path = os.fsdecode(bytes.fromhex(request["path"]))
    reader = decord.VideoReader(path, num_threads=request["num_threads"])
    starts_s = reader.get_frame_timestamp(np.arange(len(reader)))[:, 0]
    starts_s = starts_s - starts_s[0]
    if "times_s" in request:
        indices = indices_at(starts_s, request["times_s"])
    else:
        indices = indices_every(starts_s, request["every_s"])
    for index in indices:
        image = np.ascontiguousarray(reader[index].asnumpy())
        head = {"time_s": float(starts_s[index]), "shape": image.shape}
        output.write(json.dumps(head).encode() + b"\n" + image.tobytes())
        output.flush()


def main() -> None:
    request = json.loads(sys.stdin.buffer.read())
    # decord and its FFmpeg may write to stdout, where only pictures may go.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        serve(request, output)
    except Exception as error:
        sys.stderr.write(f"\n{type(error).__name__}: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
