"""Made films: the recipe is the truth, so films, questions and moments are held against it."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import wave
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fdvs.datasets.synthetic import film as films
from fdvs.datasets.synthetic import sound
from fdvs.datasets.synthetic.film import film_path, find_clips, make_film, make_films, pictures
from fdvs.datasets.synthetic.plan import FPS, ClipFile, make_recipe
from fdvs.datasets.synthetic.questions import TIMES, choices_of, moments_of, split_of
from fdvs.datasets.synthetic.recipe import (
    Line,
    Recipe,
    Shot,
    check_recipe,
    read_recipe,
    recipe_from_json,
    recipe_to_json,
)
from fdvs.datasets.synthetic.scenes import blend, fit_picture
from fdvs.datasets.synthetic.words import BANNERS, SPOKEN, TITLES
from fdvs.errors import ConfigError, InvalidValue, ModelError, ModelUnavailable
from fdvs.video import open_reader, probe

MANY = [make_recipe(number, seed=3, short=number % 3 == 0) for number in range(60)]
CLIPS = [ClipFile(name="a.mp4", duration_s=30.0), ClipFile(name="b.mp4", duration_s=3.0)]


def tiny(**changes: object) -> Recipe:
    """A film of 2.4 seconds: a scene, a still event, the scene again."""
    shots = (
        Shot(index=0, scene="x1", role="scene", start_s=0.0, end_s=0.8),
        Shot(index=1, scene="x2", role="event", start_s=0.8, end_s=1.6, moves=False),
        Shot(index=2, scene="x1", role="repeat", start_s=1.6, end_s=2.4),
    )
    texts = (
        Line(text="LANTERN", start_s=0.0, end_s=0.8),
        Line(text="SADDLE", start_s=0.8, end_s=1.6),
        Line(text="LANTERN", start_s=1.6, end_s=2.4),
        Line(text="DOORS OPEN", start_s=1.0, end_s=1.4, is_banner=True),
    )
    made = Recipe(
        name="tiny",
        seed=0,
        width_px=160,
        height_px=120,
        fps=10,
        key_frames="cuts",
        shots=shots,
        texts=texts,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


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

# --- plans


@pytest.mark.parametrize("clips", [[], CLIPS])
@pytest.mark.parametrize("short", [True, False])
def test_a_recipe_comes_back_from_its_json(clips: list[ClipFile], short: bool) -> None:
    for number in range(20):
        recipe = make_recipe(number, seed=1, clips=clips, short=short)
        text = json.dumps(recipe_to_json(recipe))
        assert recipe_from_json(json.loads(text), "here") == recipe


def test_the_same_numbers_give_the_same_recipe_and_others_another() -> None:
    assert make_recipe(4, seed=3) == MANY[4]
    assert make_recipe(4, seed=4).texts != MANY[4].texts
    assert make_recipe(5, seed=3).texts != MANY[4].texts


def test_every_film_repeats_a_scene_and_breaks_one_by_an_event() -> None:
    for recipe in MANY:
        roles = [shot.role for shot in recipe.shots]
        at = roles.index("event")
        scenes = [shot.scene for shot in recipe.shots]
        assert roles.count("event") == 1
        assert scenes[at - 1] == scenes[at + 1] != scenes[at]
        assert roles[at + 1] == "rest"
        assert scenes.count(scenes[at]) == 1
        assert all(a != b for a, b in pairwise(scenes))
        assert "repeat" in roles
        for later, first in recipe.repeats().items():
            assert scenes[later] == scenes[first]
            assert first == scenes.index(scenes[later]) < later


def test_times_lie_on_the_grid_of_pictures() -> None:
    for recipe in MANY:
        spans = [*recipe.shots, *recipe.texts, *recipe.speech]
        times = [time for span in spans for time in (span.start_s, span.end_s)]
        assert all(abs(time * FPS - round(time * FPS)) < 1e-6 for time in times)


def test_banners_and_spoken_lines_lie_inside_one_shot() -> None:
    for recipe in MANY:
        banners = [line for line in recipe.texts if line.is_banner]
        assert len(banners) == 1
        for line in (*banners, *recipe.speech):
            inside = [
                s for s in recipe.shots if s.start_s <= line.start_s and line.end_s <= s.end_s
            ]
            assert len(inside) == 1
            assert line.end_s - line.start_s >= 1.5


def test_key_frames_are_fixed_in_every_second_film() -> None:
    assert {r.key_frames for r in MANY[::2]} == {"cuts"}
    assert {r.key_frames for r in MANY[1::2]} == {"fixed"}


def test_with_clips_every_second_scene_is_a_stretch_of_one() -> None:
    for number in range(20):
        recipe = make_recipe(number, seed=2, clips=CLIPS)
        taken = [shot for shot in recipe.shots if shot.clip]
        assert taken
        assert recipe.unknown_s == tuple((shot.start_s, shot.end_s) for shot in taken)
        assert any(not shot.clip for shot in recipe.shots)
        for shot in taken:
            length_s = shot.end_s - shot.start_s
            if shot.clip == "a.mp4":
                assert shot.clip_start_s + length_s <= 30.0 + 0.1
    assert make_recipe(0, seed=2).unknown_s == ()


def test_a_negative_number_of_a_film_is_refused() -> None:
    with pytest.raises(InvalidValue, match="number is -1"):
        make_recipe(-1, seed=0)


def test_facts_know_when_they_can_be_noticed() -> None:
    facts = {fact.id: fact for fact in tiny().facts()}
    assert set(facts) == {"scene:x1", "scene:x2", "text:LANTERN", "text:SADDLE", "text:DOORS OPEN"}
    lantern = facts["text:LANTERN"]
    assert lantern.spans == ((0.0, 0.8), (1.6, 2.4))
    assert lantern.overlap_s(0.5, 2.0) == pytest.approx(0.7)
    assert [lantern.is_at(time_s) for time_s in (0.79, 0.8, 1.6)] == [True, False, True]


# --- recipes from outside


def spoiled(**changes: object) -> dict[str, object]:
    values = json.loads(json.dumps(recipe_to_json(tiny())))
    return {**values, **changes}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (spoiled(version=99), "version 99"),
        (spoiled(shots="none"), "no recipe of a film"),
        (spoiled(shots=[]), "no shot that starts at 0"),
        (spoiled(name=7), "no recipe of a film"),
        (spoiled(name="x" * 300), "at most 200 characters"),
        (spoiled(key_frames="never"), "'never' is none of cuts, fixed"),
        (spoiled(texts=[{"text": "A"}]), "no recipe of a film"),
        ({}, "no recipe of a film"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        recipe_from_json(values, "there.json")


def test_gaps_and_times_outside_of_the_film_are_refused() -> None:
    first, second, third = tiny().shots
    with pytest.raises(ConfigError, match="without a gap"):
        check_recipe(tiny(shots=(first, replace(second, start_s=0.9), third)))
    with pytest.raises(ConfigError, match="no stretch of a film"):
        check_recipe(tiny(speech=(Line(text="a", start_s=2.0, end_s=9.0),)))


@pytest.mark.parametrize("content", ["[1]", "{", "x" * 2_000_000])
def test_a_file_that_holds_no_recipe_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "film.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"film\.json"):
        read_recipe(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(tmp_path / "none.json")


def test_no_word_is_both_shown_and_said() -> None:
    shown = {word for text in TITLES for word in text.lower().split()}
    banners = {word for text in BANNERS for word in text.lower().split()}
    said = {word.strip(".") for text in SPOKEN for word in text.lower().split()}
    assert not shown & said
    assert not banners & (shown | said)
    assert len(set(TITLES)) == len(TITLES) >= 30


# --- questions


def timeline(recipe: Recipe) -> list[str]:
    """The titles on screen as an independent look every 50 ms sees them, runs joined."""
    seen: list[tuple[str, int]] = []
    for shot in recipe.shots:
        for step in range(1, round((shot.end_s - shot.start_s) / 0.05)):
            time_s = shot.start_s + 0.05 * step
            for line in recipe.texts:
                if not line.is_banner and line.start_s <= time_s < line.end_s:
                    seen.append((line.text, shot.index))
    return [key[0] for i, key in enumerate(seen) if i == 0 or key != seen[i - 1]]


def words_in_capitals(text: str) -> list[str]:
    return [word.strip("?.:") for word in text.split() if word.strip("?.:").isupper()]


def right(recipe: Recipe, kind: str) -> Iterator[tuple[str, str]]:
    for question in choices_of(recipe):
        assert question.answer is not None
        if question.kind == kind:
            yield question.question, question.options[question.answer]


def test_what_comes_before_and_after_is_what_the_film_shows() -> None:
    num = 0
    for recipe in MANY:
        shown = timeline(recipe)
        for kind, step in (("before", -1), ("after", 1)):
            for text, answer in right(recipe, kind):
                (asked,) = words_in_capitals(text)
                assert shown.count(asked) == 1
                assert answer == shown[shown.index(asked) + step]
                num += 1
    assert num > 100


def test_first_last_and_counts_are_what_the_film_shows() -> None:
    for recipe in MANY:
        shown = timeline(recipe)
        assert [answer for _, answer in right(recipe, "first")] == [shown[0]]
        assert [answer for _, answer in right(recipe, "last")] == [shown[-1]]
        for text, answer in right(recipe, "count"):
            (asked,) = words_in_capitals(text)
            assert answer == TIMES[shown.count(asked) - 1]


def test_questions_of_content_have_one_right_option() -> None:
    kinds: Counter[str] = Counter()
    for recipe in MANY:
        shown, said = set(timeline(recipe)), {line.text for line in recipe.speech}
        for question in choices_of(recipe):
            assert question.answer is not None
            answer = question.options[question.answer]
            kinds[question.kind] += 1
            if question.kind == "shown":
                assert set(question.options) & shown == {answer}
            if question.kind == "said":
                assert answer in said
            if question.kind == "written":
                line = next(s for s in recipe.speech if s.text in question.question)
                during = {
                    t.text
                    for t in recipe.texts
                    if not t.is_banner and t.start_s < line.end_s and line.start_s < t.end_s
                }
                assert during == {answer}
    assert min(kinds[kind] for kind in ("shown", "said", "written")) >= 20


def test_options_are_different_and_the_right_one_has_no_favourite_place() -> None:
    questions = [question for recipe in MANY for question in choices_of(recipe)]
    assert all(len(set(q.options)) == len(q.options) >= 3 for q in questions)
    places = Counter(q.answer for q in questions if len(q.options) == 4)
    assert max(places.values()) < 0.32 * places.total()
    assert len({question.id for question in questions}) == len(questions)


def test_order_questions_offer_the_neighbour_on_the_other_side() -> None:
    for recipe in MANY:
        shown = timeline(recipe)
        for question in choices_of(recipe):
            if question.kind in ("before", "after"):
                (asked,) = words_in_capitals(question.question)
                at = shown.index(asked)
                assert {shown[at - 1], shown[at + 1]} <= set(question.options)


def test_moments_are_what_happens_only_once() -> None:
    for recipe in MANY:
        lines = [*recipe.texts, *recipe.speech]
        for query in moments_of(recipe):
            found = [line for line in lines if query.text.endswith((f" {line.text}.", line.text))]
            assert [(line.start_s, line.end_s) for line in found] == [query.span]
        assert len(moments_of(recipe)) >= 3


def test_a_split_holds_all_films() -> None:
    split = split_of(MANY[:3])
    assert split.video_ids == tuple(recipe.name for recipe in MANY[:3])
    assert {q.video_id for q in split.choices} == {q.video_id for q in split.queries}
    assert split.durations_s[MANY[0].name] == MANY[0].shots[-1].end_s


# --- films


def test_the_film_shows_what_the_recipe_says(tmp_path: Path) -> None:
    recipe = make_film(tiny(), tmp_path)
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


def test_words_are_written_only_at_their_times() -> None:
    frames = list(pictures(tiny(), None))
    title = [frame[100] for frame in frames]
    banner = [frame[6] for frame in frames]
    assert all((row.min(axis=1) <= 20).any() for row in title)
    is_red = [bool((abs(row.astype(int) - (150, 0, 0)).sum(axis=1) < 5).any()) for row in banner]
    assert [n for n, red in enumerate(is_red) if red] == [10, 11, 12, 13]


def test_still_scenes_stand_still_and_repeats_look_alike_but_are_other_bytes() -> None:
    frames = list(pictures(tiny(texts=()), None))
    assert np.array_equal(frames[8], frames[15])
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[0], frames[16])
    assert np.abs(frames[0].astype(int) - frames[16]).mean() < 10
    assert np.abs(frames[0].astype(int) - frames[8]).mean() > 20


def test_a_blend_begins_at_the_cut_and_ends_after_its_time() -> None:
    first, second, third = tiny(texts=()).shots
    hard = list(pictures(tiny(texts=()), None))
    soft = list(pictures(tiny(texts=(), shots=(first, replace(second, fade_s=0.4), third)), None))
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
def test_key_frames_lie_where_the_recipe_wants_them(tmp_path: Path, key_frames: str) -> None:
    shots = tuple(
        Shot(
            index=i, scene=f"k{i}", role="scene", start_s=2.5 * i, end_s=2.5 * (i + 1), moves=False
        )
        for i in range(3)
    )
    recipe = tiny(shots=shots, texts=(), key_frames=key_frames)
    make_film(recipe, tmp_path)
    found = probe(film_path(tmp_path, recipe)).key_times_s
    wanted = [0.0, 2.5, 5.0] if key_frames == "cuts" else [0.0, 3.0, 6.0]
    assert found == pytest.approx(wanted, abs=0.11)


def test_equal_recipes_give_equal_files(tmp_path: Path) -> None:
    digests = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        recipe = make_film(tiny(), tmp_path / name)
        digests.add(hashlib.sha256(film_path(tmp_path / name, recipe).read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plans of tiny films instead of long ones."""

    def plan(number: int, **_: object) -> Recipe:
        line = Line(text="It will snow on Monday.", start_s=0.5, end_s=2.0)
        return tiny(name=f"tiny{number}", speech=(line,))

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
def test_shots_of_clips_show_the_clip(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    long = Shot(index=0, scene="c", role="scene", start_s=0.0, end_s=3.6)
    make_film(tiny(name="clip", shots=(long,), texts=()), clips)
    (clips / "notes.txt").write_text("no film")
    (clips / "broken.mp4").write_bytes(b"no film")
    make_film(tiny(name="short", texts=()), clips)
    assert [(c.name, c.duration_s) for c in find_clips(clips)] == [("clip.mp4", pytest.approx(3.6))]
    first, second, third = tiny(texts=()).shots
    taken = tiny(texts=(), shots=(first, replace(second, clip="clip.mp4", clip_start_s=2.0), third))
    frames = list(pictures(taken, clips))
    source = list(pictures(tiny(shots=(long,), texts=()), None))
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o755)
    monkeypatch.setenv("FDVS_FFMPEG", str(script))
    with pytest.raises(ModelError, match="could not make the film"):
        make_film(tiny(), tmp_path)
    assert not (tmp_path / "tiny.json").exists()
    assert not (tmp_path / "tiny.mp4").exists()
