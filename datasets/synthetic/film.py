"""Make films from recipes: pictures drawn or taken from clips, sound, one call of ffmpeg.

NAME.mp4 is written first, NAME.json (the recipe) last: where the recipe lies, its film is complete.
A film whose recipe is already there is not made again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from fdvs.datasets.synthetic.plan import ClipFile, make_recipe
from fdvs.datasets.synthetic.recipe import (
    Line,
    Recipe,
    Shot,
    read_recipe,
    recipe_to_json,
)
from fdvs.datasets.synthetic.scenes import blend, draw_scene, fit_picture, write_words
from fdvs.datasets.synthetic.sound import can_speak, soundtrack, write_sound
from fdvs.errors import ConfigError, InvalidValue, MediaError, ModelError
from fdvs.types import Image

MAX_FILMS = 1000
MIN_CLIP_S = 3.0
FIXED_GOP_S = 3
TIMEOUT_S = 120.0
_VIDEO_NAMES = {".mp4", ".mkv", ".webm", ".mov", ".avi"}

logger = logging.getLogger(__name__)


def find_clips(folder: Path) -> list[ClipFile]:
    """Return the films of a folder that shots can be taken from, by name.

    Those that cannot be read or are shorter than `MIN_CLIP_S` are left out with a warning. Raises
    ConfigError where none is left.
    """
    from fdvs.media.readers import probe

    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() not in _VIDEO_NAMES:
            continue
        try:
            duration_s = probe(path).duration_s
        except MediaError as error:
            logger.warning("clip %s left out: %s", path.name, error)
            continue
        if duration_s >= MIN_CLIP_S:
            found.append(ClipFile(name=path.name, duration_s=duration_s))
        else:
            logger.warning("clip %s left out: %.1f s are too short", path.name, duration_s)
    if not found:
        raise ConfigError(f"{folder} holds no film of {MIN_CLIP_S:g} s or more to take shots from")
    return found


def make_films(
    folder: Path, *, num_films: int, seed: int, clips: Path | None = None, short: bool = False
) -> list[Recipe]:
    """Make films in `folder`, those that are not there yet, and return their recipes.

    Without espeak-ng the films are silent and their recipes have no speech.

    Raises:
        InvalidValue: `num_films` is not 1 to `MAX_FILMS`.
        ConfigError: `clips` has nothing to take shots from.
        ModelUnavailable: no ffmpeg program.
    """
    if not 1 <= num_films <= MAX_FILMS:
        raise InvalidValue("num_films", num_films, f"1 to {MAX_FILMS}")
    files = find_clips(clips) if clips else []
    folder.mkdir(parents=True, exist_ok=True)
    recipes = []
    for number in range(num_films):
        planned = make_recipe(number, seed=seed, clips=files, short=short)
        if not can_speak():
            planned = replace(planned, speech=())
        recipes.append(_made(folder, planned) or make_film(planned, folder, clips=clips))
    return recipes


def film_path(folder: Path, recipe: Recipe) -> Path:
    return folder / f"{recipe.name}.mp4"


def _made(folder: Path, planned: Recipe) -> Recipe | None:
    """Return the stored recipe if it is this one, except for the true ends of spoken lines."""
    path = folder / f"{planned.name}.json"
    if not path.is_file() or not film_path(folder, planned).is_file():
        return None
    try:
        there = read_recipe(path)
    except ConfigError as error:
        logger.warning("%s; making it again", error)
        return None
    return there if _without_ends(there) == _without_ends(planned) else None


def _without_ends(recipe: Recipe) -> Recipe:
    lines = tuple(replace(line, end_s=line.start_s) for line in recipe.speech)
    return replace(recipe, speech=lines)


def make_film(recipe: Recipe, folder: Path, *, clips: Path | None = None) -> Recipe:
    """Write NAME.mp4 and NAME.json; return the recipe with the true ends of spoken lines."""
    from fdvs.media.ffmpeg_reader import ffmpeg_program

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        sound = None
        if recipe.speech:
            samples, said = soundtrack(recipe.speech, recipe.duration_s)
            recipe = replace(recipe, speech=said)
            sound = Path(scratch) / "sound.wav"
            write_sound(samples, sound)
        made = Path(scratch) / "film.mp4"
        _encode(_command(ffmpeg_program(), recipe, sound, made), pictures(recipe, clips))
        made.replace(film_path(folder, recipe))
        text = Path(scratch) / "recipe.json"
        text.write_text(json.dumps(recipe_to_json(recipe), indent=1) + "\n", encoding="utf-8")
        text.replace(folder / f"{recipe.name}.json")
    return recipe


def _command(program: str, recipe: Recipe, sound: Path | None, out: Path) -> list[str]:
    """Return the arguments; one thread and no dates, so that equal recipes give equal files."""
    import ffmpeg

    source = ffmpeg.input(
        "pipe:0",
        format="rawvideo",
        pix_fmt="rgb24",
        video_size=(recipe.width_px, recipe.height_px),
        framerate=recipe.fps,
    )
    if recipe.key_frames == "fixed":
        keys = {"g": FIXED_GOP_S * recipe.fps, "sc_threshold": 0}
    else:
        keys = {"g": 250}
    streams = [source] if sound is None else [source, ffmpeg.input(str(sound))]
    output = ffmpeg.output(
        *streams,
        str(out),
        **{"c:v": "libx264", "flags:v": "+bitexact", "fflags": "+bitexact"},
        **({} if sound is None else {"c:a": "aac", "b:a": "48k", "flags:a": "+bitexact"}),
        preset="veryfast",
        crf=26,
        pix_fmt="yuv420p",
        threads=1,
        map_metadata=-1,
        **keys,
    )
    arguments: list[str] = ffmpeg.compile(output, cmd=[program, "-v", "error", "-nostdin", "-y"])
    return arguments


def _encode(command: list[str], frames: Iterator[Image]) -> None:
    """Feed pictures to ffmpeg one by one. Raises ModelError with the end of its log."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            assert process.stdin is not None
            broken = _feed(process.stdin, frames)
            code = process.wait(TIMEOUT_S)
        finally:
            process.kill()
            process.wait()
        if code or broken:
            log.seek(0)
            words = " ".join(log.read(2000).decode(errors="replace").split())
            raise ModelError(f"ffmpeg could not make the film (exit {code}): {words[:500]}")


def _feed(pipe: IO[bytes], frames: Iterator[Image]) -> bool:
    """Write all pictures; return whether ffmpeg closed the pipe before the end."""
    try:
        for frame in frames:
            pipe.write(frame.tobytes())
        pipe.flush()
    except BrokenPipeError:
        return True
    finally:
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
    return False


def pictures(recipe: Recipe, clips: Path | None) -> Iterator[Image]:
    """Yield the film's pictures in order."""
    before: _Source | None = None
    for shot in recipe.shots:
        source = _Source(recipe, shot, clips)
        first, end = round(shot.start_s * recipe.fps), round(shot.end_s * recipe.fps)
        for number in range(first, end):
            time_s = number / recipe.fps
            image = source.at(time_s)
            share = (time_s - shot.start_s + 1 / recipe.fps) / max(shot.fade_s, 1 / recipe.fps)
            if before is not None and share < 1:
                image = blend(before.at(time_s), image, share)
            yield _with_words(image, recipe.texts, time_s + 0.5 / recipe.fps)
        before = source


def _with_words(image: Image, lines: Sequence[Line], time_s: float) -> Image:
    for line in lines:
        if line.start_s <= time_s < line.end_s:
            image = write_words(image, line.text, is_banner=line.is_banner)
    return image


class _Source:
    """The pictures of one shot by time of the film, also shortly after its end, for blends."""

    def __init__(self, recipe: Recipe, shot: Shot, clips: Path | None) -> None:
        self._recipe, self._shot = recipe, shot
        self._taken = _taken(recipe, shot, clips) if shot.clip else []

    def at(self, time_s: float) -> Image:
        recipe, shot = self._recipe, self._shot
        number = round((time_s - shot.start_s) * recipe.fps)
        if self._taken:
            return self._taken[min(number, len(self._taken) - 1)]
        return draw_scene(
            shot.scene,
            number / recipe.fps,
            moves=shot.moves,
            noise_key=round(time_s * recipe.fps),
            width_px=recipe.width_px,
            height_px=recipe.height_px,
        )


def _taken(recipe: Recipe, shot: Shot, clips: Path | None) -> list[Image]:
    """Read a shot's pictures from its real file. Raises MediaError, ConfigError."""
    from fdvs.media.readers import open_reader

    if clips is None:
        raise ConfigError(f"{recipe.name} takes shots from {shot.clip!r}; name its folder: clips")
    num = round((shot.end_s - shot.start_s) * recipe.fps)
    times_s = [shot.clip_start_s + number / recipe.fps for number in range(num)]
    with open_reader(clips / shot.clip) as reader:
        frames = list(reader.frames_at(times_s, short_side_px=recipe.height_px))
    return [
        fit_picture(frame.image, width_px=recipe.width_px, height_px=recipe.height_px)
        for frame in frames
    ]
