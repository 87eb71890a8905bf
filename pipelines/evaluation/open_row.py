"""Open-ended rows: short answers from the words about each video, scored by exact match.

The headline is exact match under the paper's rule; the official rule stands beside it. Judges are
apart (`judge.py`): what they say depends on the judge.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from fdvs.datasets.examples import OpenQuestion, Split
from fdvs.datasets.registry import load_split
from fdvs.errors import AbsentData
from fdvs.fingerprint import digest
from fdvs.metrics.choice import Accuracy
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.open_answers import NUM_EVIDENCE, VERSION, CaptionAnswerer
from fdvs.pipelines.evaluation.open_ended import (
    Categories,
    OpenScore,
    answer_questions,
    constant_answers,
    score_open,
)
from fdvs.pipelines.evaluation.open_floors import question_only_answers
from fdvs.pipelines.evaluation.predictions import open_predictions
from fdvs.pipelines.evaluation.result import EvalResult

PREDICTIONS, OTHER_VIDEO = "predictions.jsonl", "other_video.jsonl"
FLOOR_NOTE = (
    "The floor answers every question of a kind with the answer that is right most often here: it "
    "reads the right answers and sees no video."
)


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Answer and score the questions whose videos have words; the others are counted."""
    asked = [question for question in split.questions if question.video_id in texts.captions]
    answerer = CaptionAnswerer(texts.captions, job.model_set.text_embedder, job.model_set.llm)
    categories: Categories = "activitynet" if split.dataset == "activitynet_qa" else "kind"
    score = _score(job, asked, answerer, texts, name=PREDICTIONS, categories=categories)
    videos = list(dict.fromkeys(question.video_id for question in asked))
    other = None
    if len(videos) > 1:
        swapped = other_videos(videos)
        other = _score(
            job, asked, answerer, texts, name=OTHER_VIDEO, categories=categories, swapped=swapped
        ).accuracy
    looked_up, known_from = question_only(job, asked, categories)
    floor = score_open(asked, constant_answers(asked, by_kind=True), categories=categories)
    return EvalResult(
        row=job.row.name,
        dataset=split.dataset,
        split=split.name,
        is_partial=split.is_partial or len(asked) < len(split.questions),
        metric=job.row.metric,
        score=score.accuracy,
        interval=score.interval.bounds,
        num_items=score.num_questions,
        num_videos=score.num_videos,
        source=texts.source,
        floor=floor.accuracy,
        other_video=other,
        controls={"question_only": looked_up.accuracy},
        metrics=score.named(),
        groups=_groups(score.groups),
        counts={
            "num_unanswered": score.num_unanswered,
            "num_without_words": len(split.questions) - len(asked),
        },
        backends={role: job.model_set.identity(role).label() for role in ("text_embedder", "llm")},
        settings={"num_evidence": NUM_EVIDENCE, "version": VERSION},
        notes=(FLOOR_NOTE, f"question_only looks up the answers of {known_from}."),
        num_prompt_tokens=answerer.num_prompt_tokens,
    )


def question_only(
    job: Job, asked: Sequence[OpenQuestion], categories: Categories
) -> tuple[OpenScore, str]:
    """Score the answers that questions alone suggest; also say where those were looked up.

    Among the questions of another split; where the row has none, or its files are not here, in
    the other half of the questions' own videos.
    """
    known, known_from = None, "the other half of the videos"
    if job.row.known_split and job.data is not None:
        with contextlib.suppress(AbsentData):
            split = load_split(
                job.row.dataset, job.data, split=job.row.known_split, allow_partial=True
            )
            known, known_from = split.questions, split.name
    answers = question_only_answers(asked, known)
    return score_open(asked, answers, categories=categories), known_from


def other_videos(videos: Sequence[str]) -> dict[str, str]:
    """Return for each video another one: the next of the list, the first for the last."""
    return dict(zip(videos, (*videos[1:], *videos[:1]), strict=True))


def _score(
    job: Job,
    asked: Sequence[OpenQuestion],
    answerer: CaptionAnswerer,
    texts: Texts,
    *,
    name: str,
    categories: Categories,
    swapped: Mapping[str, str] | None = None,
) -> OpenScore:
    settings = _settings(job, texts, swapped)
    with open_predictions(job.out / name, settings=settings, on_change="start over") as log:
        said = answer_questions(asked, answerer, log, video_of=swapped)
    return score_open(asked, said, categories=categories)


def _settings(job: Job, texts: Texts, swapped: Mapping[str, str] | None) -> dict[str, Any]:
    """Return what decides an answer."""
    return {
        "version": VERSION,
        "num_evidence": NUM_EVIDENCE,
        "text_embedder": job.model_set.fingerprint("text_embedder"),
        "llm": job.model_set.fingerprint("llm"),
        "texts": digest(texts.captions),
        "videos": "swapped" if swapped else "own",
    }


def _groups(groups: Mapping[str, Accuracy]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, group in groups.items():
        found[name] = group.value
        found[f"num_{name}"] = float(group.num_questions)
    return found
