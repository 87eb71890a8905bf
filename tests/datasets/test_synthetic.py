"""Made films: the recipe is the truth, so films, questions and moments are held against it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fdvs.datasets.synthetic.plan import FPS, ClipFile, make_recipe
from fdvs.datasets.synthetic.questions import TIMES, choices_of, moments_of, split_of
from fdvs.datasets.synthetic.recipe import (
    Line,
    Recipe,
    check_recipe,
    read_recipe,
    recipe_from_json,
    recipe_to_json,
)
from fdvs.datasets.synthetic.words import BANNERS, SPOKEN, TITLES
from fdvs.errors import ConfigError, InvalidValue

MANY = [make_recipe(number, seed=3, short=number % 3 == 0) for number in range(60)]
CLIPS = [ClipFile(name="a.mp4", duration_s=30.0), ClipFile(name="b.mp4", duration_s=3.0)]


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


def test_facts_know_when_they_can_be_noticed(tiny_film: Callable[..., Recipe]) -> None:
    facts = {fact.id: fact for fact in tiny_film().facts()}
    assert set(facts) == {"scene:x1", "scene:x2", "text:LANTERN", "text:SADDLE", "text:DOORS OPEN"}
    lantern = facts["text:LANTERN"]
    assert lantern.spans == ((0.0, 0.8), (1.6, 2.4))
    assert lantern.overlap_s(0.5, 2.0) == pytest.approx(0.7)
    assert [lantern.is_at(time_s) for time_s in (0.79, 0.8, 1.6)] == [True, False, True]


# --- recipes from outside


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"shots": "none"}, "no recipe of a film"),
        ({"shots": []}, "no shot that starts at 0"),
        ({"name": 7}, "no recipe of a film"),
        ({"name": "x" * 300}, "at most 200 characters"),
        ({"key_frames": "never"}, "'never' is none of cuts, fixed"),
        ({"texts": [{"text": "A"}]}, "no recipe of a film"),
        (None, "no recipe of a film"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(
    tiny_film: Callable[..., Recipe], changes: dict[str, object] | None, message: str
) -> None:
    good = json.loads(json.dumps(recipe_to_json(tiny_film())))
    values = {} if changes is None else {**good, **changes}
    with pytest.raises(ConfigError, match=message):
        recipe_from_json(values, "there.json")


def test_gaps_and_times_outside_of_the_film_are_refused(tiny_film: Callable[..., Recipe]) -> None:
    first, second, third = tiny_film().shots
    with pytest.raises(ConfigError, match="without a gap"):
        check_recipe(tiny_film(shots=(first, replace(second, start_s=0.9), third)))
    with pytest.raises(ConfigError, match="no stretch of a film"):
        check_recipe(tiny_film(speech=(Line(text="a", start_s=2.0, end_s=9.0),)))


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
