"""Open-ended rows end to end on an invented ActivityNet-QA, with a model that reads its prompt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.config import Config
from fdvs.errors import ConfigError
from fdvs.models.endpoint.client import ChatClient
from fdvs.models.scripted import ScriptedLanguageModel
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.open_row import FLOOR_NOTE, other_videos
from fdvs.pipelines.evaluation.run import run_row
from fdvs.pipelines.evaluation.suite import Request

COLOURS = {"aaaaaaaaaaa": "red", "bbbbbbbbbbb": "blue", "ccccccccccc": "green"}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Write one question a video: what colour is the kite? The third video has no words."""
    own = tmp_path / "data/activitynet_qa"
    own.mkdir(parents=True)
    questions = [
        {"video_name": video, "question": "what colour is the kite", "question_id": f"v_{video}_1"}
        for video in COLOURS
    ]
    answers = [
        {"answer": colour, "type": 4, "question_id": f"v_{video}_1"}
        for video, colour in COLOURS.items()
    ]
    (own / "test_q.json").write_text(json.dumps(questions))
    (own / "test_a.json").write_text(json.dumps(answers))
    words = {video: [f"A {COLOURS[video]} kite flies."] for video in list(COLOURS)[:2]}
    (tmp_path / "words.json").write_text(json.dumps(words))
    return tmp_path / "data"


def reader() -> tuple[ScriptedLanguageModel, list[str]]:
    """Return a model that answers with the colour in its prompt, and the prompts it was given."""
    asked: list[str] = []

    def answer(system: str, user: str) -> str:
        asked.append(user)
        return next(colour for colour in COLOURS.values() if colour in user) + "."

    return ScriptedLanguageModel(answer), asked


def job_of(data: Path, models: dict[str, Any], writer: ScriptedLanguageModel) -> Job:
    return Job(
        row=row_named("activitynet-qa"), data=data, out=data.parent / "out", config=Config(),
        models={**models, "llm": writer}, captions=data.parent / "words.json", allow_partial=True,
    )  # fmt: skip


def test_own_words_answer_and_another_videos_do_not(data: Path, models: dict[str, Any]) -> None:
    writer, _ = reader()
    result = run_row(job_of(data, models, writer))
    assert result.score == 1.0
    assert result.other_video == 0.0
    assert (result.num_items, result.num_videos) == (2, 2)
    assert result.counts["num_without_words"] == 1
    assert result.is_partial
    assert result.floor == 0.5
    assert result.controls["question_only"] == 0.0  # the other half knows another colour
    assert FLOOR_NOTE in result.notes
    assert any("the other half of the videos" in note for note in result.notes)
    assert result.groups["Color"] == 1.0
    assert result.groups["num_Color"] == 2.0


def test_what_was_answered_is_not_asked_again(data: Path, models: dict[str, Any]) -> None:
    writer, asked = reader()
    first = run_row(job_of(data, models, writer))
    num_asked = len(asked)
    (data.parent / "out/result.json").unlink()
    again = run_row(job_of(data, models, writer))
    assert len(asked) == num_asked == 4
    assert again.score == first.score


def test_a_judge_scores_beside_exact_match(
    data: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def chat(self: ChatClient, messages: list[dict[str, str]], **_: Any) -> SimpleNamespace:
        right = '"correct answer": "red"' in messages[1]["content"]
        verdict = "{'pred': 'yes', 'score': 5}" if right else "no idea"
        return SimpleNamespace(text=verdict, num_prompt_tokens=10)

    monkeypatch.setattr(ChatClient, "chat", chat)
    language_model, _ = reader()
    judge = "http://127.0.0.1:9/v1#judge"
    result = run_row(replace(job_of(data, models, language_model), judge=judge))
    assert result.score == 1.0
    assert result.metrics["judge_accuracy"] == 0.5
    assert result.metrics["judge_mean_score"] == 2.5
    assert result.details["judge"]["official"]["accuracy"] == 1.0
    assert any("judged by judge" in note and "1 of its 2" in note for note in result.notes)
    assert (data.parent / "out/judged.jsonl").is_file()


def test_a_judge_of_a_row_without_open_answers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--judge.*egoschema"):
        Request(row="egoschema", data=None, out=tmp_path, config=Config(), judge="http://x/v1#m")


def test_every_video_gets_another_one() -> None:
    assert other_videos(["a", "b", "c"]) == {"a": "b", "b": "c", "c": "a"}
