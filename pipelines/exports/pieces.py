"""Pieces of a film: a clip as a file of its own, a small animation, a sheet of pictures."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
from pathlib import Path

from fdvs.errors import InvalidValue, MediaError, ModelUnavailable, NotFound, how_to_install
from fdvs.pipelines.detail import VideoDetail
from fdvs.pipelines.exports.report import Picture
from fdvs.text.timecode import timecode

TIMEOUT_S = 600.0
MAX_CLIP_S = 3600.0
GIF_FPS, GIF_PX, MAX_GIF_S = 8, 360, 30.0
CELL_PX, CELLS_A_ROW, MAX_CELLS = (240, 135), 6, 120


def cut(
    path: Path, start_s: float, end_s: float, target: Path, *, copy: bool = False, gif: bool = False
) -> float:
    """Write [start_s, end_s) of a film into a file, whole or not at all.

    Encoded anew, it begins with the picture at `start_s`; with `copy` the stream stays as it is and
    begins at the key picture before.

    Returns where the piece truly starts, in seconds. Raises InvalidValue, MediaError,
    ModelUnavailable without the program ffmpeg.
    """
    _check(start_s, end_s, MAX_GIF_S if gif else MAX_CLIP_S)
    if start_s >= length_s(path):
        raise MediaError(f"{path.name} is over before {start_s:g} s")
    begins_s = key_picture_before(path, start_s) if copy else start_s
    part = target.with_name(f".{target.stem}.part{target.suffix}")
    length = f"{end_s - begins_s:.3f}"
    command = [
        ffmpeg_program(), "-nostdin", "-y", "-loglevel", "error", "-protocol_whitelist",
        "file,pipe", "-ss", f"{begins_s:.3f}", "-i", f"file:{path}", "-t", length,
        *_coding(copy=copy, gif=gif), f"file:{part}",
    ]  # fmt: skip
    try:
        run(command)
        if not part.exists() or not part.stat().st_size:
            raise MediaError(f"{path.name} has nothing from {start_s:g} to {end_s:g} s")
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return begins_s


def _coding(*, copy: bool, gif: bool) -> list[str]:
    if gif:
        palette = "split[a][b];[a]palettegen[p];[b][p]paletteuse"
        return ["-an", "-vf", f"fps={GIF_FPS},scale={GIF_PX}:-2:flags=lanczos,{palette}"]
    if copy:
        return ["-map", "0:v:0?", "-map", "0:a:0?", "-c", "copy"]
    return [
        "-map", "0:v:0?", "-map", "0:a:0?", "-c:v", "libx264", "-preset", "veryfast", "-crf", "20",
        "-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart",
    ]  # fmt: skip


def _check(start_s: float, end_s: float, longest_s: float) -> None:
    if not 0 <= start_s < end_s:
        raise InvalidValue("times", f"{start_s:g}-{end_s:g}", "a start of 0 or more before the end")
    if end_s - start_s > longest_s:
        raise InvalidValue("length", f"{end_s - start_s:g} s", f"at most {longest_s:g} s")


def length_s(path: Path) -> float:
    """Return the length of a file as its container tells it, infinite where it does not."""
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as film:
            return float(film.duration / av.time_base) if film.duration else float("inf")
    except av.FFmpegError as error:
        raise MediaError(f"{path.name} cannot be opened ({error})") from error


def key_picture_before(path: Path, time_s: float) -> float:
    """Return the time of the last key picture at or before a time, in ffmpeg's clock of a file."""
    import av

    try:
        with av.open(str(path), options={"protocol_whitelist": "file"}) as film:
            stream = film.streams.video[0]
            base = stream.time_base or 1
            first_s = float((film.start_time or 0) / av.time_base)
            film.seek(int((time_s + first_s) / base), stream=stream)
            for packet in film.demux(stream):
                if packet.is_keyframe and packet.pts is not None:
                    return max(0.0, min(time_s, float(packet.pts * base) - first_s))
    except (av.FFmpegError, IndexError) as error:
        raise MediaError(f"{path.name} has no pictures to copy ({error})") from error
    return 0.0


def ffmpeg_program() -> str:
    """Return the ffmpeg program: the system's, else the one of its wheel.

    Raises ModelUnavailable where there is none.
    """
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise ModelUnavailable(
            f"this needs the program ffmpeg; install it, or {how_to_install('ffmpeg')}"
        ) from error


def run(command: list[str]) -> None:
    """Run ffmpeg. Raises MediaError with its last words."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MediaError(f"ffmpeg failed: {str(error)[:200]}") from error
    if done.returncode:
        raise MediaError(f"ffmpeg failed: {done.stderr.decode(errors='replace').strip()[-200:]}")


def sheet(detail: VideoDetail, picture: Picture) -> bytes:
    """Return a JPEG of the clips' pictures with their times, at most 120 of them, evenly spread.

    Left-out clips are paler. Raises NotFound for a video without pictures.
    """
    from PIL import Image, ImageDraw, ImageFont

    clips = [clip for clip in detail.clips if clip.has_picture]
    if not clips:
        raise NotFound(f"{detail.name} has no pictures")
    step = max(1, -(-len(clips) // MAX_CELLS))
    clips = clips[::step]
    columns = min(CELLS_A_ROW, len(clips))
    rows = -(-len(clips) // columns)
    width, height = CELL_PX
    whole = Image.new("RGB", (columns * width, rows * (height + 22)), (22, 24, 29))
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(14)
    for place, clip in enumerate(clips):
        left, top = place % columns * width, place // columns * (height + 22)
        with Image.open(io.BytesIO(picture(clip.index)), formats=("JPEG",)) as image:
            image.thumbnail(CELL_PX)
            cell = image.convert("RGB")
        if not clip.is_kept:
            cell = Image.blend(cell, Image.new("RGB", cell.size, (22, 24, 29)), 0.6)
        whole.paste(cell, (left + (width - cell.width) // 2, top))
        said = timecode(clip.start_s) + ("" if clip.is_kept else "  left out")
        pen.text((left + 6, top + height + 3), said, fill=(238, 236, 230), font=font)
    out = io.BytesIO()
    whole.save(out, "JPEG", quality=85)
    return out.getvalue()
