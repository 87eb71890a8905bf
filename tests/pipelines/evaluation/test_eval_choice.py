"""Multiple-choice evaluation: questions by video, controls, floor, resuming, one JSON object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.config import Config
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.errors import ConfigError
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.pipelines.evaluation import choice_row
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import (
    CaptionMaterial,
    answer_all,
    next_video,
    passages_of,
    rights,
    sample_of,
    tfidf_floor,
)
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.record_log import open_records, read_records

ROOT = Path(__file__).resolve().parents[3]
THINGS = ("kettle", "violin", "ladder", "carpet", "pigeon")


def question(video: int, place: int = 0, **others: Any) -> ChoiceQuestion:
    """Ask which thing is lifted in a video; the answer stands at another place each time."""
    options = [*THINGS[place:], *THINGS[:place]]
    return ChoiceQuestion(
        **{
            "id": f"v{video}_{place}", "video_id": f"v{video}", "question": "what does he lift",
            "options": tuple(options), "answer": options.index(THINGS[video % 5]), "kind": "CW",
            **others,
        }
    )  # fmt: skip


def captions(num: int = 5) -> dict[str, tuple[Caption, ...]]:
    return {
        f"v{n}": tuple(
            Caption(start_s=s, end_s=s + 1, text=f"A man lifts a {THINGS[n % 5]}. He stands.")
            for s in range(3)
        )
        for n in range(num)
    }


QUESTIONS = [question(video, place) for video in range(5) for place in range(3)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    models = {"text_embedder": HashTextEmbedder(), "llm": ScriptedLanguageModel([])}
    return Job(
        row=row_named("nextqa"), data=None, out=tmp_path / "nextqa", config=Config(), models=models
    )


def split_of_questions(questions: list[ChoiceQuestion]) -> Split:
    return Split(
        dataset="nextqa", name="nextqa val", is_partial=False, choices=tuple(questions),
        video_ids=tuple(dict.fromkeys(one.video_id for one in questions)),
    )  # fmt: skip


TEXTS = Texts(source="invented", captions=captions())


def test_a_row_scores_what_the_captions_say(job: Job) -> None:
    result = choice_row.run(job, split_of_questions(QUESTIONS), TEXTS)
    assert result.score == 1.0
    assert (result.num_items, result.num_videos) == (15, 5)
    assert result.floor == 1.0
    assert result.other_video == 0.0
    assert result.controls["question_and_options_only"] < 1.0
    assert result.groups["C"] == result.groups["CW"] == 1.0
    assert result.settings["answerer"] == "evidence"
    assert set(result.backends) == {"text_embedder"}
    assert result.details["seconds_per_question"] > 0


def test_a_language_model_asked_for_is_named_and_scored_beside_the_evidence(job: Job) -> None:
    result = choice_row.run(replace(job, llm="some"), split_of_questions(QUESTIONS), TEXTS)
    assert result.settings["answerer"] == "combined"
    assert result.metrics["accuracy_evidence"] == 1.0
    assert set(result.backends) == {"text_embedder", "llm"}


def test_questions_without_words_or_answers_are_left_out_and_counted(job: Job) -> None:
    asked = [*QUESTIONS, question(7), question(1, 4, answer=None)]
    result = choice_row.run(job, split_of_questions(asked), TEXTS)
    assert result.num_items == 15
    assert result.counts["num_without_words"] == 2
    assert result.is_partial


def test_a_row_without_any_question_to_score_says_so(job: Job) -> None:
    with pytest.raises(ConfigError, match="no question with a public answer"):
        choice_row.run(job, split_of_questions([question(1, answer=None)]), TEXTS)


def test_one_video_alone_has_no_other_video(job: Job) -> None:
    result = choice_row.run(job, split_of_questions([question(1)]), TEXTS)
    assert result.other_video is None


def test_predictions_hold_ids_and_numbers_and_are_taken_up_again(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    material = CaptionMaterial(captions(), HashTextEmbedder())
    made = EvidenceChooser(HashTextEmbedder())
    asked: list[str] = []

    def source(one: ChoiceQuestion) -> Any:
        asked.append(one.id)
        return material.of_video(one.video_id)

    for questions in (QUESTIONS[:6], QUESTIONS):
        with open_records(path, settings={}) as log:
            chosen = answer_all(questions, made, source, log)
    assert len(asked) == len(QUESTIONS)
    assert rights(QUESTIONS, chosen).all()
    _, records = read_records(path)
    assert set(records) == {one.id for one in QUESTIONS}
    assert not any(thing in path.read_text() for thing in THINGS)


def test_a_video_without_a_word_is_not_answered_and_wrong(tmp_path: Path) -> None:
    told = {**captions(), "v1": (Caption(start_s=0, end_s=1, text=" "),)}
    material = CaptionMaterial(told, HashTextEmbedder())
    with open_records(tmp_path / "p.jsonl", settings={}) as log:
        chosen = answer_all(
            [question(1)],
            EvidenceChooser(HashTextEmbedder()),
            lambda one: material.of_video(one.video_id),
            log,
        )
    assert chosen == {}
    assert rights([question(1)], chosen).tolist() == [0.0]


def test_every_video_gets_another_one_and_each_is_used_once() -> None:
    names = [f"v{n}" for n in range(9)]
    swapped = next_video(names)
    assert sorted(swapped) == sorted(swapped.values()) == names
    assert all(one != other for one, other in swapped.items())
    assert next_video(names[::-1]) == swapped


def test_samples_hold_whole_videos_and_grow() -> None:
    small, large = sample_of(QUESTIONS, 4), sample_of(QUESTIONS, 8)
    assert len(small) == 6
    assert large[:6] == small
    assert sample_of(QUESTIONS[::-1], 4)[0].video_id == small[0].video_id


def test_the_floor_takes_the_words_of_the_own_video_and_breaks_ties_by_text() -> None:
    silent = {f"v{n}": (Caption(start_s=0, end_s=1, text="nothing"),) for n in range(5)}
    assert rights(QUESTIONS, tfidf_floor(QUESTIONS, captions())).all()
    first = min(THINGS)
    chosen = tfidf_floor(QUESTIONS, silent)
    assert all(one.options[chosen[one.id]] == first for one in QUESTIONS)


def test_passages_are_sentences_with_their_captions_times() -> None:
    found = passages_of("v", captions()["v0"])
    assert len(found) == 6
    assert [p.chapter for p in found] == [0, 0, 1, 1, 2, 2]
    assert {(p.start_s, p.end_s) for p in found} == {(0, 1), (1, 2), (2, 3)}
