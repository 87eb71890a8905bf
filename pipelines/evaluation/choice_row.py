"""Rows of multiple choice: accuracy with its interval, floor and controls.

Without `--llm` (`Job.llm`) options are scored by the evidence alone: the small language model of
the offline preset adds nothing to it (docs/decisions/012-answers.md). With it, `ask.answerer`
answers, and the evidence alone is scored on the same questions for comparison.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, cast

import numpy as np

from fdvs.answers.choice.background import Background, make_background
from fdvs.answers.choice.chooser import ChoiceSettings, Chooser
from fdvs.answers.choice.combined import make_chooser
from fdvs.datasets.examples import ChoiceQuestion, Split
from fdvs.errors import ConfigError
from fdvs.fingerprint import digest
from fdvs.metrics.choice import accuracy_by
from fdvs.metrics.interval import interval_of_mean
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
from fdvs.pipelines.evaluation.result import EvalResult, group_numbers
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.record_log import open_records
from fdvs.protocols import PrefillLanguageModel

VERSION = 1
NUM_CONTROLLED = 100  # questions that the controls ask a language model
NOTE = (
    "The settings were chosen on about half of the public questions of EgoSchema and NExT-QA; "
    "published scores used other captions or other models and are context."
)


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Answer the questions whose answers are public and whose videos have words."""
    asked = [q for q in split.choices if q.video_id in texts.captions and q.answer is not None]
    if not asked:
        raise ConfigError(
            f"{split.name}: no question with a public answer about a video with words"
        )
    made = _Run(job, texts)
    answerer = job.config.ask.answerer if job.llm else "evidence"
    own = made.chosen(asked, answerer, "own")
    videos = [question.video_id for question in asked]
    kinds = [question.kind for question in asked]
    right = rights(asked, own)
    interval = interval_of_mean(right, videos)
    metrics = {"accuracy": float(right.mean())}
    few = asked if answerer == "evidence" else sample_of(asked, NUM_CONTROLLED)
    controls = {"question_and_options_only": made.score(few, answerer, "question only")}
    other = made.score(few, answerer, "other video") if len(set(videos)) > 1 else None
    if answerer != "evidence":
        metrics["accuracy_evidence"] = made.score(asked, "evidence", "own")
    return EvalResult(
        row=job.row.name,
        dataset=split.dataset,
        split=split.name,
        is_partial=split.is_partial or len(asked) < len(split.choices),
        metric=job.row.metric,
        score=float(right.mean()),
        interval=interval.bounds,
        num_items=len(asked),
        num_videos=len(set(videos)),
        source=texts.source,
        floor=float(rights(asked, tfidf_floor(asked, texts.captions)).mean()),
        other_video=other,
        controls=controls,
        metrics=metrics,
        groups=_groups([own.get(q.id) for q in asked], asked, kinds),
        counts={"num_without_words": len(split.choices) - len(asked), "num_controlled": len(few)},
        backends=made.backends(answerer),
        settings={"answerer": answerer, "version": VERSION, **asdict(ChoiceSettings())},
        details=made.timing(asked, answerer),
        notes=(NOTE,),
    )


class _Run:
    """The choosers of one evaluation and their logs of predictions."""

    def __init__(self, job: Job, texts: Texts) -> None:
        self._job = job
        self._texts = texts
        self._embedder = stored_embedder(job)
        self._material = CaptionMaterial(texts.captions, self._embedder)
        self._other = next_video(list(texts.captions))
        self._background: Background | None = None
        self._records: dict[tuple[str, str], Mapping[str, Mapping[str, Any]]] = {}

    def chosen(self, asked: Sequence[ChoiceQuestion], answerer: str, about: str) -> dict[str, int]:
        """Return what an answerer chose from the words of the own video, another one, or none."""
        path = self._job.out / f"{answerer} {about}.jsonl".replace(" ", "_")
        settings = self._settings(answerer, about)
        with open_records(path, settings=settings, on_change="start over") as log:
            found = answer_all(asked, self._chooser(answerer), self._source(about), log)
            self._records[answerer, about] = dict(log.done)
        return found

    def score(self, asked: Sequence[ChoiceQuestion], answerer: str, about: str) -> float:
        """Return the accuracy of `chosen`."""
        return float(rights(asked, self.chosen(asked, answerer, about)).mean())

    def timing(self, asked: Sequence[ChoiceQuestion], answerer: str) -> dict[str, Any]:
        """Return seconds per question, without embedding the videos' words."""
        seconds = [self._records[answerer, "own"][q.id].get("seconds", 0.0) for q in asked]
        return {
            "seconds_per_question": round(float(np.mean(seconds)), 4),
            "seconds_per_question_p95": round(float(np.quantile(seconds, 0.95)), 4),
        }

    def backends(self, answerer: str) -> dict[str, str]:
        roles = ("text_embedder",) if answerer == "evidence" else ("text_embedder", "llm")
        return {role: self._job.model_set.identity(role).label() for role in roles}

    def _chooser(self, answerer: str) -> Chooser:
        if self._background is None:
            captioned = self._texts.captions.items()
            passages = [
                p for video_id, captions in captioned for p in passages_of(video_id, captions)
            ]
            self._background = make_background(passages, self._embedder)
        reader = (
            None if answerer == "evidence" else cast(PrefillLanguageModel, self._job.model_set.llm)
        )
        return make_chooser(
            cast(Any, answerer), self._embedder, reader, background=self._background
        )

    def _source(self, about: str) -> Any:
        if about == "own":
            return lambda question: self._material.of_video(question.video_id)
        if about == "other video":
            return lambda question: self._material.of_video(self._other[question.video_id])
        return self._material.of_question

    def _settings(self, answerer: str, about: str) -> dict[str, Any]:
        """Return everything that can change an answer."""
        models = ("text_embedder",) if answerer == "evidence" else ("text_embedder", "llm")
        return {
            "version": VERSION,
            "answerer": answerer,
            "about": about,
            "choice": asdict(ChoiceSettings()),
            "models": {role: self._job.model_set.fingerprint(role) for role in models},
            "texts": digest(self._texts.captions),
        }


def _groups(
    chosen: Sequence[int | None], asked: Sequence[ChoiceQuestion], kinds: Sequence[str]
) -> dict[str, float]:
    """Return accuracies by kind and, for NExT-QA, by its letter: C, T, D."""
    answers = [int(cast(int, question.answer)) for question in asked]
    return group_numbers(accuracy_by(chosen, answers, kinds, groups=_letters))


def _letters(kind: str) -> tuple[str, ...]:
    """Return the groups of a kind: itself and its first letter (CW in C); none for no kind."""
    return (kind[0], kind) if kind else ()
