"""The synthetic benchmark on tiny films, with describers that see and hear what the recipe says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fdvs.answers.evidence import make_evidence
from fdvs.config import RedundancyConfig
from fdvs.datasets.synthetic import plan, sound
from fdvs.datasets.synthetic.plan import make_recipe
from fdvs.datasets.synthetic.questions import TEMPORAL, split_of
from fdvs.datasets.synthetic.recipe import Line, Recipe, Shot, read_recipe
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.evaluation import synthetic, synthetic_films
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.pipelines.evaluation.synthetic import heard_only, run_films
from fdvs.pipelines.evaluation.synthetic_answers import (
    NOTHING_KNOWN,
    answer_all,
    choice_scores,
    evidence_by_film,
    recipe_chapters,
    shuffled,
    word_floor,
)
from fdvs.pipelines.evaluation.synthetic_films import (
    BuiltFilm,
    build_films,
    can_hear,
    read_film,
    synthetic_config,
)
from fdvs.pipelines.evaluation.synthetic_scores import (
    chapter_lists,
    cut_rows,
    frame_lists,
    left_beside_chance,
    rule_rows,
    score_cuts,
)
from fdvs.pipelines.library import Library
from fdvs.redundancy.rules import keep_frames
from fdvs.types import Chapter, ClipView, ModelIdentity

RECIPES = [make_recipe(number, seed=5) for number in range(6)]


def shown(view: ClipView) -> list[str]:
    """Read from the recipe beside the film what stands on the frames."""
    texts = read_recipe(view.video_path.with_suffix(".json")).texts
    times_s = [frame.time_s for frame in view.frames]
    return [t.text for t in texts if any(t.start_s <= time_s < t.end_s for time_s in times_s)]


def spoken(view: ClipView) -> list[str]:
    """Hear from the recipe which lines have their middle in the clip."""
    lines, clip = read_recipe(view.video_path.with_suffix(".json")).speech, view.clip
    return [t.text for t in lines if clip.start_s <= (t.start_s + t.end_s) / 2 < clip.end_s]


def truthful_models() -> dict[str, Any]:
    """Models that look the truth up, and count."""
    return {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(lambda view: ["A pattern with a shape."]),
        "source:screen-text": ScriptedDescriber(shown, source="screen text"),
        "source:speech-tiny-en": ScriptedDescriber(spoken, source="speech", needs_frames=False),
    }


@pytest.fixture(autouse=True, scope="module")
def _small_and_silent() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "WIDTH_PX", 80)
        patch.setattr(plan, "HEIGHT_PX", 60)
        patch.setattr(sound.shutil, "which", lambda name: None)
        yield


# --- the whole run


@pytest.fixture
def models() -> dict[str, Any]:
    return truthful_models()


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("synthetic")


@pytest.fixture(scope="module")
def result(out: Path) -> dict[str, Any]:
    return run_films(
        out, num_films=5, quick=True, seed=1, chooser=RuleReader(), models=truthful_models()
    )


def test_a_run_scores_every_stage(result: dict[str, Any]) -> None:
    json.dumps(result)
    assert result["counts"]["num_films"] == 2
    assert result["counts"]["num_questions"] > 8
    assert 0 <= result["floor"] <= 1
    low, high = result["interval"]
    assert low <= result["score"] <= high
    assert set(result["controls"]) == {
        "other_video", "shuffled_times", "question_and_options_only", "recipe_words", "chance",
        "read_by_rules",
    }  # fmt: skip
    assert result["cuts"]["key_frames_cuts"]["recall"] > result["cuts"]["all"]["f1_random"]
    assert result["cuts"]["key_frames_fixed"]["num_cuts"] == 5
    assert result["moments"]["num_queries"] == result["counts"]["num_queries"]
    for rows in result["redundancy"].values():
        by_rule = {row["rule"]: row for row in rows}
        assert by_rule["none"]["kept"] == by_rule["none"]["left"] == 1.0
        assert by_rule["paper"]["kept"] < 1
    assert result["groups"]["num_first"] == 2


def test_a_run_says_what_it_could_not_do(result: dict[str, Any]) -> None:
    assert any("espeak-ng" in note for note in result["notes"])
    assert any("No real clips" in note for note in result["notes"])
    assert not {"said", "written"} & set(result["groups"])
    assert result["backends"]["captioner"].endswith("(offline stand-in)")


def test_a_second_run_makes_nothing_again(
    result: dict[str, Any], out: Path, models: dict[str, Any]
) -> None:
    again = run_films(out, num_films=5, quick=True, seed=1, chooser=RuleReader(), models=models)
    assert models["captioner"].seen == []
    assert {**again, "seconds": 0} == {**result, "seconds": 0}


def test_what_is_known_of_the_recipe_is_enough_for_every_question(result: dict[str, Any]) -> None:
    """The questions, the chapters of the recipe and a reader in order agree: no question lies."""
    assert result["controls"]["recipe_words"] == 1.0
    assert result["temporal"]["recipe_words"] == 1.0
    assert result["controls"]["question_and_options_only"] < 0.8


def test_real_clips_are_named_in_the_notes(tmp_path: Path) -> None:
    found = synthetic.notes("", tmp_path)
    assert len(found) == 2
    assert "unknown" in found[1]


# --- questions and controls


def full(recipe: Recipe) -> Recipe:
    lines = tuple(replace(line, end_s=line.end_s - 0.2) for line in recipe.speech)
    return replace(recipe, speech=lines)


def test_a_reader_with_the_recipe_is_always_right_and_with_shuffled_times_is_not() -> None:
    recipes = [full(recipe) for recipe in RECIPES]
    told = {recipe.name: recipe_chapters(recipe) for recipe in recipes}
    questions = list(split_of(recipes).choices)
    scores = choice_scores(questions, told, recipes, RuleReader(), HashTextEmbedder())
    assert scores["score"] == scores["controls"]["recipe_words"] == 1.0
    assert {kind for kind in scores["groups"] if not kind.startswith("num_")} >= {
        *TEMPORAL, "shown", "said", "written",
    }  # fmt: skip
    temporal = scores["temporal"]
    assert temporal["score"] == 1.0
    assert temporal["shuffled_times"] < 0.7
    assert temporal["other_video"] < 0.6
    assert scores["content"]["shuffled_times"] > temporal["shuffled_times"]
    assert 0.24 < scores["controls"]["chance"] < 0.35


def test_one_film_has_no_other_film_to_compare_with() -> None:
    recipe = RECIPES[0]
    told = {recipe.name: recipe_chapters(recipe)}
    questions = [q for q in split_of([recipe]).choices if q.kind == "first"]
    scores = choice_scores(questions, told, [recipe], RuleReader(), HashTextEmbedder())
    assert "other_video" not in scores["controls"]
    assert scores["content"] == {"num": 0}
    assert scores["interval"] is None


def test_the_word_floor_knows_what_is_shown_but_not_when() -> None:
    told = {recipe.name: recipe_chapters(recipe) for recipe in RECIPES}
    questions = list(split_of(RECIPES).choices)
    right = dict.fromkeys(["shown", "after"], 0.0)
    for kind in right:
        some = [q for q in questions if q.kind == kind]
        right[kind] = float(np.mean(word_floor(some, told).right))
    assert right["shown"] == 1.0
    assert right["after"] < 0.6


def test_shuffled_chapters_keep_texts_and_times_apart() -> None:
    chapters = recipe_chapters(RECIPES[0])
    mixed = shuffled(chapters, "key")
    assert [c.start_s for c in mixed] == [c.start_s for c in chapters]
    assert sorted(c.text for c in mixed) == sorted(c.text for c in chapters)
    assert [c.text for c in mixed] != [c.text for c in chapters]
    assert mixed == shuffled(chapters, "key")


def test_a_film_of_which_nothing_is_known_says_so() -> None:
    known = evidence_by_film({"a": ()}, HashTextEmbedder())
    assert [p.text for p in known["a"].passages] == [NOTHING_KNOWN]
    question = next(q for q in split_of(RECIPES).choices if q.kind == "first")
    answered = answer_all([question], {question.video_id: known["a"]}, RuleReader())
    assert answered.chosen == (sorted(range(4), key=lambda i: question.options[i])[0],)


def test_passages_are_sentences_with_the_times_of_their_chapter() -> None:
    chapter = Chapter(video_id="v", index=3, start_s=1.0, end_s=2.0, text="One thing. Another.")
    found = passages_of("film", [chapter], [chapter.index])
    assert [p.text for p in found] == ["One thing.", "Another."]
    assert {(p.name, p.chapter, p.start_s, p.end_s) for p in found} == {("film", 3, 1.0, 2.0)}


def test_questions_of_speech_are_left_out_where_nothing_is_heard() -> None:
    split = split_of(RECIPES)
    questions, queries = heard_only(split, RECIPES, is_deaf=True)
    assert {q.kind for q in questions}.isdisjoint({"said", "written"})
    assert not any(q.text.startswith("Someone says") for q in queries)
    assert len(queries) == sum(q.text.startswith("The screen") for q in split.queries) > 0
    assert heard_only(split, RECIPES, is_deaf=False) == (list(split.choices), list(split.queries))


# --- cuts


def test_cuts_inside_real_clips_count_neither_way() -> None:
    shots = (
        Shot(index=0, scene="a", role="scene", start_s=0.0, end_s=4.0),
        Shot(index=1, scene="b", role="scene", start_s=4.0, end_s=9.0, clip="x.mp4"),
        Shot(index=2, scene="c", role="scene", start_s=9.0, end_s=12.0),
    )
    recipe = replace(RECIPES[0], shots=shots, texts=(), speech=())
    score = score_cuts(recipe, [4.3, 6.0, 7.0, 8.6, 10.5], tolerance_s=0.5)
    assert (score.num_matched, score.num_found, score.num_right) == (2, 3, 2)


def test_cut_rows_pool_films_and_say_what_chance_gives() -> None:
    right = [list(recipe.cuts_s) for recipe in RECIPES]
    perfect = cut_rows(RECIPES, right)
    assert perfect["f1"] == perfect["precision"] == perfect["recall"] == 1.0
    assert 0.05 < perfect["f1_random"] < 0.5
    assert perfect["num_cuts"] == sum(map(len, right))
    assert cut_rows(RECIPES, [[] for _ in RECIPES])["recall"] == 0.0


# --- redundancy


def built(recipe: Recipe, spans: Sequence[tuple[float, float]]) -> BuiltFilm:
    """A film as a library would hold it, with four frames a clip."""
    times_s = tuple(tuple(np.linspace(a, b, 4, endpoint=False).tolist()) for a, b in spans)
    rng = np.random.default_rng(0)
    return BuiltFilm(
        recipe=recipe,
        video_id=recipe.name,
        chapters=tuple(
            Chapter(video_id=recipe.name, index=i, start_s=a, end_s=b, text=f"Chapter {i}.")
            for i, (a, b) in enumerate(spans)
        ),
        kept=np.ones(len(spans), dtype=np.bool_),
        vectors=rng.normal(size=(len(spans), 6)).astype(np.float32),
        times_s=times_s,
        frames=tuple(rng.normal(size=(4, 6)).astype(np.float32) for _ in spans),
        kept_frames=tuple(np.ones(4, dtype=np.bool_) for _ in spans),
    )


def small() -> Recipe:
    shots = (
        Shot(index=0, scene="a", role="scene", start_s=0.0, end_s=4.0),
        Shot(index=1, scene="b", role="scene", start_s=4.0, end_s=8.0),
    )
    texts = (
        Line(text="LANTERN", start_s=2.0, end_s=4.0),
        Line(text="SADDLE", start_s=4.0, end_s=8.0),
        Line(text="DOORS OPEN", start_s=6.9, end_s=7.6, is_banner=True),
    )
    said = (Line(text="It will snow on Monday.", start_s=4.5, end_s=6.0),)
    return replace(RECIPES[0], name="small", shots=shots, texts=texts, speech=said)


def test_frames_tell_what_is_on_screen_at_their_time() -> None:
    first, second = frame_lists([built(small(), [(0.0, 4.0), (4.0, 8.0)])])
    assert [sorted(facts) for facts in first.facts] == [
        ["scene:a"], ["scene:a"], ["scene:a", "text:LANTERN"], ["scene:a", "text:LANTERN"],
    ]  # fmt: skip
    assert sorted(second.facts[3]) == ["scene:b", "text:DOORS OPEN", "text:SADDLE"]
    assert not any("speech" in fact for facts in second.facts for fact in facts)


def test_chapters_tell_what_their_clip_holds_enough_of() -> None:
    (found,) = chapter_lists([built(small(), [(0.0, 4.8), (4.8, 7.0), (7.0, 8.0)])])
    assert sorted(found.facts[0]) == ["scene:a", "text:LANTERN"]
    assert sorted(found.facts[1]) == [
        "scene:b",
        "speech:It will snow on Monday.",
        "text:SADDLE",
    ]
    assert sorted(found.facts[2]) == ["scene:b", "text:DOORS OPEN", "text:SADDLE"]


def test_what_a_rule_leaves_is_counted_beside_chance() -> None:
    lists = frame_lists([built(small(), [(0.0, 4.0), (4.0, 8.0)])])
    keep_last = [np.array([True, False, False, True])] * 2
    keep_early = [np.array([True, True, False, False])] * 2
    good = left_beside_chance(lists, keep_last, "cover", num_draws=100)
    bad = left_beside_chance(lists, keep_early, "cover", num_draws=100)
    assert (good["left"], bad["left"]) == (1.0, round(3 / 5, 4))
    assert good["kept"] == bad["kept"] == 0.5
    assert good["gain"] > 0 > bad["gain"]
    assert bad["left"] < good["random"] < good["left"]
    assert good["num_facts"] == 5


def test_every_rule_has_a_row() -> None:
    lists = frame_lists([built(small(), [(0.0, 4.0), (4.0, 8.0)])])
    rows = rule_rows(lists, keep_frames, RedundancyConfig(), num_draws=10)
    assert [row["rule"] for row in rows] == ["none", "paper", "cover 0.95"]
    assert rows[0]["left"] == 1.0
    more = rule_rows(lists, keep_frames, RedundancyConfig(), floors=(0.9,), num_draws=10)
    assert [row["rule"] for row in more][2:] == ["cover 0.9", "cover 0.95"]


# --- library and models


def test_settings_add_text_and_sound_once() -> None:
    assert synthetic_config(hears=False).perceive.sources == ("screen-text",)
    config = synthetic_config(hears=True)
    assert config.perceive.sources == ("screen-text", "speech-tiny-en")
    assert synthetic_config(hears=True, base=config) == config


def test_who_cannot_hear_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_hear({"source:speech-tiny-en": object()}) == ""

    def missing(self: object, key: str) -> ModelIdentity:
        raise ModelUnavailable("run `fdvs models fetch speech-tiny-en`")

    monkeypatch.setattr(synthetic_films.ModelSet, "identity", missing)
    assert "models fetch" in can_hear()


def test_a_film_that_cannot_be_built_is_an_error(tmp_path: Path, models: dict[str, Any]) -> None:
    (tmp_path / "tiny.mp4").write_bytes(b"no film")
    recipe = replace(RECIPES[0], name="tiny")
    config = synthetic_config(hears=False)
    with (
        Library.open(tmp_path / "library", config=config, models=models) as library,
        pytest.raises(ModelError, match=r"tiny\.mp4 could not be built"),
    ):
        build_films(library, tmp_path, [recipe])


def test_results_without_vectors_are_refused() -> None:
    artifact = SimpleNamespace(payload={"kept": [True], "times_s": [0.0]}, vectors=None)
    chapter = SimpleNamespace(payload={"start_s": 0.0, "end_s": 1.0, "text": "A."}, vectors=None)
    store: Any = SimpleNamespace(
        get_all=lambda video_id, stage: {0: chapter if stage == "chapter" else artifact},
        get=lambda video_id, stage: artifact,
    )
    with pytest.raises(ModelUnavailable, match="no vectors"):
        read_film(store, RECIPES[0], "v")


def test_materials_hold_the_vectors_of_their_passages() -> None:
    told = recipe_chapters(RECIPES[0])
    embedder = HashTextEmbedder()
    found = evidence_by_film({"a": told}, embedder)["a"]
    again = make_evidence(passages_of("a", told, [one.index for one in told]), embedder)
    assert np.array_equal(found.vectors, again.vectors)
