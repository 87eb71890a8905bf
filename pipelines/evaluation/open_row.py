"""Open-ended rows: short answers from the words about each video, scored by exact match.

The headline is exact match under the paper's rule, with the official rule beside it. With `--judge`
a language model also judges the answers, as is usual for these datasets. Its score is never the
headline: it depends on the judge.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from fdvs.datasets.examples import OpenQuestion, Split
from fdvs.datasets.registry import load_split
from fdvs.errors import AbsentData
from fdvs.fingerprint import digest
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.judge import Judge, judge_answers
from fdvs.pipelines.evaluation.open_answers import NUM_EVIDENCE, VERSION, CaptionAnswerer
from fdvs.pipelines.evaluation.open_ended import (
    Categories,
    OpenScore,
    Said,
    answer_questions,
    constant_answers,
    score_open,
)
from fdvs.pipelines.evaluation.open_floors import question_only_answers
from fdvs.pipelines.evaluation.result import EvalResult, group_numbers
from fdvs.pipelines.record_log import open_records

PREDICTIONS, OTHER_VIDEO, JUDGED = "predictions.jsonl", "other_video.jsonl", "judged.jsonl"
FLOOR_NOTE = (
    "The floor gives every question of a kind the most frequent right answer: it knows the right "
    "answers and sees no video."
)


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Answer and score the questions whose videos have words; the others are counted."""
    judge = Judge.at(job.judge) if job.judge else None
    asked = [question for question in split.questions if question.video_id in texts.captions]
    answerer = CaptionAnswerer(texts.captions, job.model_set.text_embedder, job.model_set.llm)
    categories: Categories = "activitynet" if split.dataset == "activitynet_qa" else "kind"
    said = _answers(job, asked, answerer, texts, name=PREDICTIONS)
    score = score_open(asked, said, categories=categories)
    judged = judgements(job, judge, asked, said) if judge else {}
    videos = list(dict.fromkeys(question.video_id for question in asked))
    other = None
    if len(videos) > 1:
        swapped = other_videos(videos)
        others = _answers(job, asked, answerer, texts, name=OTHER_VIDEO, swapped=swapped)
        other = score_open(asked, others, categories=categories).accuracy
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
        metrics={**score.named(), **judged.get("metrics", {})},
        groups=group_numbers(score.groups),
        counts={
            "num_unanswered": score.num_unanswered,
            "num_without_words": len(split.questions) - len(asked),
        },
        backends={role: job.model_set.identity(role).label() for role in ("text_embedder", "llm")},
        settings={"num_evidence": NUM_EVIDENCE, "version": VERSION},
        details=judged.get("details", {}),
        notes=(
            FLOOR_NOTE,
            f"question_only looks up the answers of {known_from}.",
            *judged.get("notes", ()),
        ),
        num_prompt_tokens=answerer.num_prompt_tokens,
    )


def judgements(job: Job, judge: Judge, asked: Sequence[OpenQuestion], said: Said) -> dict[str, Any]:
    """Have the answers judged; return metrics, details and a note for the result."""
    with open_records(job.out / JUDGED, settings=judge.settings(), on_change="start over") as log:
        report = judge_answers(asked, said, judge, log)
    counted = report.counted
    return {
        "metrics": {"judge_accuracy": counted.accuracy, "judge_mean_score": counted.mean_score},
        "details": {"judge": {**judge.settings(), **asdict(report)}},
        "notes": (
            f"judged by {judge.client.target.model}: another judge gives other scores; "
            f"{report.num_unread} of its {report.num_asked} verdicts could not be read and count "
            "as wrong.",
        ),
    }


def question_only(
    job: Job, asked: Sequence[OpenQuestion], categories: Categories
) -> tuple[OpenScore, str]:
    """Score answers looked up by the question alone; also return where they were looked up.

    They come from another split or, where the row names none or its files are missing, from the
    other half of the videos.
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
    """Return another video for each: the next one in the list, and the first for the last."""
    return dict(zip(videos, (*videos[1:], *videos[:1]), strict=True))


def _answers(
    job: Job,
    asked: Sequence[OpenQuestion],
    answerer: CaptionAnswerer,
    texts: Texts,
    *,
    name: str,
    swapped: Mapping[str, str] | None = None,
) -> Said:
    settings = _settings(job, texts, swapped)
    with open_records(job.out / name, settings=settings, on_change="start over") as log:
        return answer_questions(asked, answerer, log, video_of=swapped)


def _settings(job: Job, texts: Texts, swapped: Mapping[str, str] | None) -> dict[str, Any]:
    """Return everything that can change an answer."""
    return {
        "version": VERSION,
        "num_evidence": NUM_EVIDENCE,
        "text_embedder": job.model_set.fingerprint("text_embedder"),
        "llm": job.model_set.fingerprint("llm"),
        "texts": digest(texts.captions),
        "videos": "swapped" if swapped else "own",
    }
