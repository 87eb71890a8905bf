"""Every JSON object that FDVS prints has the keys and kinds of values of its `...Json` type."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import is_typeddict

from fdvs.models.cards import card_names, load_card
from fdvs.models.weights.fetch import FetchedModel
from fdvs.pipelines import machine, results
from fdvs.pipelines.ask.batch import BatchDone
from fdvs.pipelines.detail import ClipDetail, VideoDetail
from fdvs.pipelines.doctor import examine, preset_state
from fdvs.pipelines.merge import MergeReport
from fdvs.pipelines.presets import PRESETS
from fdvs.report import BuildReport, BuildRow
from fdvs.store.merge import MergedVideo
from fdvs.store.repair import Repaired
from fdvs.types import (
    Answer,
    AnswerSentence,
    Chapter,
    Citation,
    Moment,
    Saved,
    Scene,
    ScoredOption,
    Sentence,
    Story,
    VideoHit,
    VideoRow,
)

CITED = Citation(video_id="v", name="a.mp4", start_s=1.0, end_s=2.5, support=0.5)
SENTENCE = AnswerSentence(text="It is red.", support=0.5, citations=(CITED,))
MOMENT = Moment(
    video_id="v", name="a.mp4", start_s=1.0, end_s=2.5, score=0.5, text="Red.", clips=(0,),
    matched_by=("meaning", "looks"), picture_score=0.25,
)  # fmt: skip
HIT = VideoHit(
    video_id="v", name="a.mp4", score=0.5, level="scene", text="Red.", start_s=1.0, end_s=2.5
)
ANSWER = Answer(
    question="what?",
    text="It is red.",
    evidence=(MOMENT,),
    backend="scripted",
    attention="none",
    sentences=(SENTENCE,),
    removed=(SENTENCE,),
    options=(ScoredOption(text="red", score=0.5, parts={"words": 0.5}),),
    chosen=0,
    notes=("a note",),
)
STORY = Story(
    video_id="v",
    duration_s=2.5,
    sentences=(Sentence(text="Red.", clips=(0,)),),
    scenes=(
        Scene(
            index=0, start_s=1.0, end_s=2.5, chapters=(0,),
            sentences=(Sentence(text="Red.", clips=(0,)),),
        ),
    ),
    chapters=(Chapter(video_id="v", index=0, start_s=1.0, end_s=2.5, text="Red."),),
    num_clips=1,
    writers={"story": "extractive"},
)  # fmt: skip
ROW = VideoRow(
    name="a.mp4", video_id=None, path="/a.mp4", status="failed", reason="empty", duration_s=None,
    num_clips=0, num_chapters=0,
)  # fmt: skip
REPORT = BuildReport(
    rows=(
        BuildRow(path="/a.mp4", name="a.mp4", video_id="v", status="built", saved=Saved()),
        BuildRow(path="/b.mp4", name="b.mp4", video_id=None, status="failed", warnings=("odd",)),
    ),
    num_ignored=1,
    seconds=1.23456,
    backends={"captioner": "tags"},
    saved=Saved(),
    notes=("a note",),
    rules={"frames": "cover"},
)
DETAIL = VideoDetail(
    video_id="v", name="film.mp4", path=Path("/films/film.mp4"), duration_s=20.0, story=STORY,
    saved=REPORT.saved, notes=("a note",),
    clips=(
        ClipDetail(video_id="v", name="film.mp4", start_s=0.0, end_s=10.0, index=0, text="Red."),
        ClipDetail(video_id="v", name="film.mp4", start_s=10.0, end_s=20.0, index=1, text="Red.",
                   is_kept=False, similarity=0.9, stands_for=0),
    ),
)  # fmt: skip
BATCH = BatchDone(path=Path("a.jsonl"), num_answered=2, num_refused=1, num_failed=0, num_resumed=1)
REPAIRED = Repaired(
    old_file=Path("old.sqlite"), num_videos=1, num_files=1, num_rows=3, num_rows_dropped=1
)
MERGED = MergeReport(
    videos=(MergedVideo(name="a.mp4", how="left out", reason="no file"),), notes=("other settings",)
)
FETCHED = FetchedModel(name="one", status="fetched", folder=Path("/models/one"))

TRIED = machine.TriedJson(
    model="it", picture="a disc", text="A disc.", seconds=0.5, line="fdvs build"
)

OBJECTS: dict[str, tuple[type, Callable[[], Any]]] = {
    "moment": (results.MomentJson, lambda: results.moment_json(MOMENT)),
    "hit": (results.VideoHitJson, lambda: results.hit_json(HIT)),
    "search": (results.SearchJson, lambda: results.search_json("red", [], [MOMENT])),
    "videos": (results.SearchJson, lambda: results.videos_json("red", [HIT])),
    "answer": (results.AnswerJson, lambda: results.answer_json(ANSWER)),
    "detail": (results.VideoDetailJson, lambda: results.detail_json(DETAIL)),
    "story": (results.StoryJson, lambda: results.story_json(STORY)),
    "row": (results.VideoRowJson, lambda: results.row_json(ROW)),
    "build": (results.BuildReportJson, lambda: results.build_json(REPORT, Path("library"))),
    "batch": (results.BatchJson, lambda: results.batch_json(BATCH)),
    "fetched": (machine.FetchedModelJson, lambda: results.fetched_json(FETCHED)),
    "doctor": (machine.DoctorJson, lambda: {"health": examine(Path("none")), "settings": None}),
    "preset": (machine.PresetJson, lambda: preset_state("laptop", PRESETS["laptop"]())),
    "repaired": (machine.RepairedJson, lambda: results.repaired_json(REPAIRED)),
    "tried": (machine.TriedJson, lambda: TRIED),
    "merge": (results.MergeJson, lambda: results.merge_json(MERGED, Path("library"))),
    "error": (results.ErrorJson, lambda: results.error_json("wrong", 2)),
}


def misfits(value: Any, expected: Any, place: str = "value") -> list[str]:
    """Return where a value read from JSON differs from a type: keys, kinds, at any depth."""
    origin, args = get_origin(expected), get_args(expected)
    if is_typeddict(expected):
        hints = get_type_hints(expected)
        needed = getattr(expected, "__required_keys__", frozenset(hints))
        if not isinstance(value, dict) or not needed <= set(value) <= set(hints):
            return [f"{place}: {value!r} has not the keys {sorted(hints)}"]
        return [text for key in value for text in misfits(value[key], hints[key], f"{place}.{key}")]
    if origin in (Union, types.UnionType):
        tried = [misfits(value, one, place) for one in args]
        return [] if [] in tried else [text for found in tried for text in found]
    if origin is Sequence:
        if not isinstance(value, list):
            return [f"{place}: {value!r} is no array"]
        return [text for item in value for text in misfits(item, args[0], f"{place}[]")]
    if origin is Mapping:
        return [text for item in value.values() for text in misfits(item, args[1], f"{place}.*")]
    if origin is Literal:
        return [] if value in args else [f"{place}: {value!r} is not one of {args}"]
    kinds = (int, float) if expected is float else (expected,)
    fits = isinstance(value, kinds) and not (isinstance(value, bool) and expected is not bool)
    return [] if fits else [f"{place}: {value!r} is no {expected}"]


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_emitted_has_the_keys_of_its_type(name: str) -> None:
    expected, make = OBJECTS[name]
    assert misfits(json.loads(results.to_json(make())), expected) == []


@pytest.mark.parametrize("name", card_names())
def test_every_card_fits_the_json_of_a_model(name: str) -> None:
    value = results.model_json(load_card(name), here=True, used=False)
    assert misfits(json.loads(results.to_json(value)), machine.ModelJson) == []


def test_every_object_of_a_command_is_checked_here() -> None:
    checked = {expected for expected, _ in OBJECTS.values()} | {machine.ModelJson}

    def reached(expected: Any) -> set[Any]:
        parts = get_type_hints(expected).values() if is_typeddict(expected) else get_args(expected)
        return {expected}.union(*(reached(part) for part in parts))

    found = set().union(*(reached(expected) for expected in checked))
    defined = {one for one in (vars(results) | vars(machine)).values() if is_typeddict(one)}
    assert defined - found == {results.SpanJson, results.PlacedJson, results.QueryJson}


def test_a_missing_key_or_a_wrong_kind_is_noticed() -> None:
    value = dict(results.row_json(ROW))
    assert misfits({**value, "num_clips": "many"}, results.VideoRowJson)
    del value["reason"]
    assert misfits(value, results.VideoRowJson)


def test_a_citation_is_what_people_read() -> None:
    cited = "[a.mp4 @ 0:01-0:03]"
    assert results.moment_json(MOMENT)["citation"] == cited
    assert results.hit_json(HIT)["citation"] == cited
    answer = results.answer_json(ANSWER)
    assert answer["evidence"][0]["citation"] == cited
    assert answer["sentences"][0]["citations"][0]["citation"] == cited


def test_a_link_opens_the_file_at_the_moment() -> None:
    found = results.moment_json(replace(MOMENT, path="/films/a b #é.mp4", end_s=3723.25))
    assert (found["path"], found["link"]) == (
        "/films/a b #é.mp4", "file:///films/a%20b%20%23%C3%A9.mp4#t=1,3723.25",
    )  # fmt: skip
    undecodable = results.moment_json(replace(MOMENT, path="/films/caf\udce9.mp4"))
    assert undecodable["link"] == "file:///films/caf%E9.mp4#t=1,2.5"
    assert results.moment_json(MOMENT)["link"] == ""
    placed = replace(ANSWER, evidence=(replace(MOMENT, path="/films/a.mp4"),))
    (cited,) = results.answer_json(placed)["sentences"][0]["citations"]
    assert (cited["path"], cited["link"]) == ("/films/a.mp4", "file:///films/a.mp4#t=1,2.5")


def test_what_is_not_plain_is_an_error_not_a_guess() -> None:
    with pytest.raises(TypeError):
        results.to_json({"path": Path("a")})
    with pytest.raises(ValueError, match="JSON"):
        results.to_json({"score": float("nan")})
