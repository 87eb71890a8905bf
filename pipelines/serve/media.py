"""Videos and pictures for the page: the file itself where a browser plays it, else cut on demand.

A browser that cannot play a file gets it as HLS: a playlist over the whole length on a fixed grid
of 6 s, each segment cut from the file by its own run of ffmpeg when it is asked for. ffmpeg's times
begin with the file's first picture or sound: where the sound begins first, what is cut on demand is
later by that much than FDVS's times.
"""

from __future__ import annotations

import contextlib
import math
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue, MediaError, TooMany
from fdvs.pipelines.detail import VideoDetail
from fdvs.pipelines.exports.pieces import ffmpeg_program

SEGMENT_S = 6.0
SHORT_SIDE_PX = 480
TIMEOUT_S = 60.0
# what Chromium, Firefox and Safari play: container of PyAV -> codecs
NATIVE = {"mov,mp4,m4a,3gp,3g2,mj2": {"h264", "av1"}, "matroska,webm": {"vp8", "vp9", "av1"}}
TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/mp4", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".wav": "audio/wav",
    ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac",
}  # fmt: skip

MAX_WAITING = 8  # for the encoder; more are refused

_ONE_AT_A_TIME = threading.Lock()
_WAITING = threading.BoundedSemaphore(MAX_WAITING)


@contextlib.contextmanager
def encoding() -> Iterator[None]:
    """Hold the right to encode, which one request has at a time. Raises TooMany."""
    if not _WAITING.acquire(blocking=False):
        raise TooMany(f"{MAX_WAITING} pieces are waiting to be cut")
    try:
        with _ONE_AT_A_TIME:
            yield
    finally:
        _WAITING.release()


def plays_natively(detail: VideoDetail) -> bool:
    """Whether browsers play a file as it is, by its container and codec."""
    codecs = NATIVE.get(str(detail.probe.get("container", "")), set())
    return str(detail.probe.get("codec", "")) in codecs


def media_type(path: Path) -> str:
    """Return the type that a browser is told for a file."""
    return TYPES.get(path.suffix.lower(), "application/octet-stream")


def playlist(duration_s: float) -> str:
    """Return an HLS playlist of segments of 6 s over the whole length."""
    num = max(1, math.ceil(duration_s / SEGMENT_S))
    lines = [
        "#EXTM3U", "#EXT-X-VERSION:3", f"#EXT-X-TARGETDURATION:{math.ceil(SEGMENT_S)}",
        "#EXT-X-PLAYLIST-TYPE:VOD", "#EXT-X-MEDIA-SEQUENCE:0",
    ]  # fmt: skip
    for number in range(num):
        length_s = min(SEGMENT_S, duration_s - number * SEGMENT_S) or SEGMENT_S
        lines += [f"#EXTINF:{max(length_s, 0.04):.3f},", f"{number}.ts"]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def segment(path: Path, number: int, *, duration_s: float) -> bytes:
    """Return a segment as MPEG-TS, H.264 without B frames and AAC.

    Raises InvalidValue for a segment beyond the end, MediaError where ffmpeg fails.
    """
    start_s = number * SEGMENT_S
    if number < 0 or start_s >= max(duration_s, SEGMENT_S):
        raise InvalidValue("segment", number, f"0 to {int(duration_s // SEGMENT_S)}")
    px = SHORT_SIDE_PX
    scale = f"scale='if(gt(iw,ih),-2,min(iw,{px}))':'if(gt(iw,ih),min(ih,{px}),-2)'"
    command = [
        ffmpeg_program(), "-nostdin", "-loglevel", "error", "-protocol_whitelist", "file,pipe",
        "-ss", f"{start_s:.3f}", "-i", f"file:{path}", "-t", f"{SEGMENT_S:.3f}",
        "-map", "0:v:0?", "-map", "0:a:0?", "-sn", "-dn",
        "-vf", f"{scale},format=yuv420p", "-c:v", "libx264", "-preset", "veryfast", "-bf", "0",
        "-profile:v", "main", "-c:a", "aac", "-ac", "2", "-ar", "48000",
        "-output_ts_offset", f"{start_s:.3f}", "-muxdelay", "0", "-f", "mpegts", "pipe:1",
    ]  # fmt: skip
    return run_ffmpeg(command)


def run_ffmpeg(command: list[str], *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Return what ffmpeg writes to its output. Raises MediaError, TooMany."""
    with encoding():
        try:
            done: Any = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise MediaError(f"ffmpeg failed: {str(error)[:200]}") from error
    if done.returncode or not done.stdout:
        told = done.stderr.decode(errors="replace").strip()[-200:]
        raise MediaError(f"ffmpeg could not cut this: {told or 'no picture there'}")
    return bytes(done.stdout)
