"""Films from recipes: what they show and say is held against the recipe."""

from __future__ import annotations

import hashlib
import os
import sys
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fdvs.datasets.synthetic import film as films
from fdvs.datasets.synthetic import sound
from fdvs.datasets.synthetic.film import film_path, find_clips, make_film, make_films, pictures
from fdvs.datasets.synthetic.recipe import (
    Line,
    Recipe,
    Shot,
    read_recipe,
)
from fdvs.datasets.synthetic.scenes import blend, fit_picture
from fdvs.errors import ConfigError, InvalidValue, ModelError, ModelUnavailable
from fdvs.media.readers import open_reader, probe


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sound.shutil, "which", lambda name: None)


@pytest.fixture
def speaker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Put a program named espeak-ng on the path that does what the given Python says."""

    def install(body: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        script = folder / "espeak-ng"
        script.write_text(f"#!{sys.executable}\nimport sys, wave\nout = sys.argv[6]\n{body}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return install


TONE = (
    "w = wave.open(out, 'wb'); w.setnchannels(1); w.setsampwidth(2); w.setframerate(8000)\n"
    "w.writeframes(b'\\x00\\x10' * 8000)"
)


def test_the_film_shows_what_the_recipe_says(
    tiny_film: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_film(tiny_film(), tmp_path)
    wanted = list(pictures(recipe, None))
    assert len(wanted) == 24
    with open_reader(film_path(tmp_path, recipe)) as reader:
        times_s = [number / 10 for number in range(24)]
        got = list(reader.frames_at(times_s, short_side_px=None))
    for number, frame in enumerate(got):
        errors = [float(np.abs(frame.image.astype(int) - image).mean()) for image in wanted]
        near = int(np.argmin(errors))
        scenes = [s.scene for s in recipe.shots for n in (near, number)
                     if s.start_s <= n / 10 < s.end_s]  # fmt: skip
        assert len(set(scenes)) == 1, (number, near)
        assert errors[number] < 12
    assert read_recipe(tmp_path / "tiny.json") == recipe


def test_words_are_written_only_at_their_times(tiny_film: Callable[..., Recipe]) -> None:
    frames = list(pictures(tiny_film(), None))
    title = [frame[100] for frame in frames]
    banner = [frame[6] for frame in frames]
    assert all((row.min(axis=1) <= 20).any() for row in title)
    is_red = [bool((abs(row.astype(int) - (150, 0, 0)).sum(axis=1) < 5).any()) for row in banner]
    assert [n for n, red in enumerate(is_red) if red] == [10, 11, 12, 13]


def test_still_scenes_stand_still_and_repeats_look_alike_but_are_other_bytes(
    tiny_film: Callable[..., Recipe],
) -> None:
    frames = list(pictures(tiny_film(texts=()), None))
    assert np.array_equal(frames[8], frames[15])
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[16])
    assert np.abs(frames[0].astype(int) - frames[16]).mean() < 10
    assert np.abs(frames[0].astype(int) - frames[8]).mean() > 20


def test_a_blend_begins_at_the_cut_and_ends_after_its_time(
    tiny_film: Callable[..., Recipe],
) -> None:
    first, second, third = tiny_film(texts=()).shots
    hard = list(pictures(tiny_film(texts=()), None))
    soft = list(
        pictures(tiny_film(texts=(), shots=(first, replace(second, fade_s=0.4), third)), None)
    )
    changed = [n for n in range(24) if not np.array_equal(hard[n], soft[n])]
    assert changed == [8, 9, 10]
    away = [np.abs(soft[n].astype(int) - hard[n]).mean() for n in changed]
    assert away[0] > away[1] > away[2]


def test_blending_goes_from_one_picture_to_the_other() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert blend(black, white, 0.25).tolist() == np.full((2, 2, 3), 50).tolist()


def test_a_real_picture_is_fitted_whole_with_black_around_it() -> None:
    wide = np.full((10, 40, 3), 255, np.uint8)
    fitted = fit_picture(wide, width_px=80, height_px=60)
    assert fitted.shape == (60, 80, 3)
    assert fitted[30].min() == 255
    assert fitted[[0, -1]].max() == 0


@pytest.mark.parametrize("key_frames", ["cuts", "fixed"])
def test_key_frames_lie_where_the_recipe_wants_them(
    tiny_film: Callable[..., Recipe], tmp_path: Path, key_frames: str
) -> None:
    shots = tuple(
        Shot(
            index=i, scene=f"k{i}", role="scene", start_s=2.5 * i, end_s=2.5 * (i + 1), moves=False
        )
        for i in range(3)
    )
    recipe = tiny_film(shots=shots, texts=(), key_frames=key_frames)
    make_film(recipe, tmp_path)
    found = probe(film_path(tmp_path, recipe)).key_times_s
    wanted = [0.0, 2.5, 5.0] if key_frames == "cuts" else [0.0, 3.0, 6.0]
    assert found == pytest.approx(wanted, abs=0.11)


def test_equal_recipes_give_equal_files(tiny_film: Callable[..., Recipe], tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        recipe = make_film(tiny_film(), tmp_path / name)
        digests.add(hashlib.sha256(film_path(tmp_path / name, recipe).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.fixture
def planned(tiny_film: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of tiny films instead of long ones."""

    def plan(number: int, **_: object) -> Recipe:
        line = Line(text="It will snow on Monday.", start_s=0.5, end_s=2.0)
        return tiny_film(name=f"tiny{number}", speech=(line,))

    monkeypatch.setattr(films, "make_recipe", plan)


@pytest.mark.usefixtures("silent", "planned")
def test_without_a_speaker_films_are_silent_and_recipes_say_so(tmp_path: Path) -> None:
    recipes = make_films(tmp_path, num_films=2, seed=0)
    assert [recipe.name for recipe in recipes] == ["tiny0", "tiny1"]
    assert all(recipe.speech == () for recipe in recipes)
    assert not probe(tmp_path / "tiny0.mp4").has_audio
    with pytest.raises(ModelUnavailable, match="apt-get install espeak-ng"):
        sound.speak("Hello.")


@pytest.mark.usefixtures("planned")
def test_spoken_lines_get_the_time_that_they_really_take(
    tmp_path: Path, speaker: Callable[[str], None]
) -> None:
    speaker(TONE)
    (recipe,) = make_films(tmp_path, num_films=1, seed=0)
    assert [(line.start_s, line.end_s) for line in recipe.speech] == [(0.5, 1.5)]
    assert probe(tmp_path / "tiny0.mp4").has_audio
    assert make_films(tmp_path, num_films=1, seed=0) == [recipe]


def test_a_line_that_takes_too_long_ends_with_the_film(speaker: Callable[[str], None]) -> None:
    speaker(TONE)
    track, lines = sound.soundtrack([Line(text="Hello.", start_s=2.0, end_s=2.2)], 2.4)
    assert len(track) == 2.4 * sound.RATE
    assert lines[0].end_s == 2.4
    assert not track[: 2 * sound.RATE].any()
    assert track[2 * sound.RATE + 100 :].any()


@pytest.mark.parametrize(
    "body",
    [
        "sys.exit(3)",
        "open(out, 'w').write('noise')",
        TONE.replace("setnchannels(1)", "setnchannels(2)"),
    ],
)
def test_a_speaker_that_fails_is_an_error_of_one_line(
    speaker: Callable[[str], None], body: str
) -> None:
    speaker(body)
    with pytest.raises(ModelError, match=r"could not say 'Hello\.'"):
        sound.speak("Hello.")


def test_sound_is_written_as_it_was(tmp_path: Path) -> None:
    samples = np.arange(-50, 50, dtype=np.int16)
    sound.write_sound(samples, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.readframes(1000) == samples.tobytes()


@pytest.mark.usefixtures("silent", "planned")
def test_films_that_lie_there_are_not_made_again_but_changed_ones_are(tmp_path: Path) -> None:
    make_films(tmp_path, num_films=1, seed=0)
    film, recipe = tmp_path / "tiny0.mp4", tmp_path / "tiny0.json"
    film.write_bytes(b"kept")
    make_films(tmp_path, num_films=1, seed=0)
    assert film.read_bytes() == b"kept"
    recipe.write_text(recipe.read_text().replace("SADDLE", "COMPASS"))
    make_films(tmp_path, num_films=1, seed=0)
    assert film.read_bytes() != b"kept"
    film.write_bytes(b"kept")
    recipe.write_text("{")
    make_films(tmp_path, num_films=1, seed=0)
    assert film.read_bytes() != b"kept"


@pytest.mark.usefixtures("silent")
def test_shots_of_clips_show_the_clip(tiny_film: Callable[..., Recipe], tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    long = Shot(index=0, scene="c", role="scene", start_s=0.0, end_s=3.6)
    make_film(tiny_film(name="clip", shots=(long,), texts=()), clips)
    (clips / "notes.txt").write_text("no film")
    (clips / "broken.mp4").write_bytes(b"no film")
    make_film(tiny_film(name="short", texts=()), clips)
    assert [(c.name, c.duration_s) for c in find_clips(clips)] == [("clip.mp4", pytest.approx(3.6))]
    first, second, third = tiny_film(texts=()).shots
    taken = tiny_film(
        texts=(), shots=(first, replace(second, clip="clip.mp4", clip_start_s=2.0), third)
    )
    frames = list(pictures(taken, clips))
    source = list(pictures(tiny_film(shots=(long,), texts=()), None))
    assert len(frames) == 24
    for number in range(8):
        assert np.abs(frames[8 + number].astype(int) - source[20 + number]).mean() < 14
    with pytest.raises(ConfigError, match="name its folder"):
        list(pictures(taken, None))


def test_a_folder_without_films_gives_no_clips(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="holds no film of 3 s"):
            find_clips(folder)
    with pytest.raises(ConfigError, match="holds no film"):
        make_films(tmp_path / "out", num_films=1, seed=0, clips=tmp_path)


@pytest.mark.parametrize("num_films", [0, 1001])
def test_a_number_of_films_out_of_range_is_refused(tmp_path: Path, num_films: int) -> None:
    with pytest.raises(InvalidValue, match="1 to 1000"):
        make_films(tmp_path, num_films=num_films, seed=0)


@pytest.mark.parametrize("program", ["exit 1", "cat >/dev/null; echo went wrong >&2; exit 7"])
def test_an_encoder_that_fails_is_an_error_with_its_last_words(
    tiny_film: Callable[..., Recipe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setenv("FDVS_FFMPEG", str(script))
    with pytest.raises(ModelError, match="could not make the film"):
        make_film(tiny_film(), tmp_path)
    assert not (tmp_path / "tiny.json").exists()
    assert not (tmp_path / "tiny.mp4").exists()
