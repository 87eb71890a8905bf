"""What rules of textual redundancy are worth on published captions, beside chance.

Captions are taken as chapters. Every rule is followed by a control that keeps as many of each video
at random. Measured are

* `right`: multiple-choice questions answered right from the kept captions;
* `lost`: how much less similar to the right option the best caption is once the others are gone,
  in cosine: what a question loses of its evidence, whoever answers;
* `top`: the share of questions of which one of the three captions nearest to the right option
  stays.

Accuracy moves little, since captions say most things many times; the other two measure the loss
itself. Rules are chosen on one half of the videos and reported on the other (see `half_of`).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.question import Question
from fdvs.config import TextualConfig
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.errors import InvalidValue
from fdvs.metrics.interval import interval_of_difference, interval_of_mean
from fdvs.pipelines.evaluation.synthetic_scores import compared
from fdvs.protocols import TextEmbedder
from fdvs.redundancy.rules import keep_chapters, random_mask
from fdvs.types import Mask, Vectors
from fdvs.vectors import unit_rows

NUM_DRAWS = 5
NUM_TOP = 3

Half = Literal["tuning", "report", "all"]

RULES: dict[str, TextualConfig] = compared(TextualConfig())

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CaptionedVideo:
    """One video: its captions with unit vectors [N, D], and the questions about it.

    `near` [Q, N] is the cosine of each question's right option to each caption.
    """

    video_id: str
    captions: tuple[Caption, ...]
    vectors: Vectors
    questions: tuple[ChoiceQuestion, ...]
    near: Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one set of masks gives: a value per question, in the order of the videos."""

    kept: float
    lost: tuple[float, ...]
    top: tuple[float, ...]
    right: tuple[float, ...]


def half_of(video_id: str) -> Half:
    """Return the half that a video belongs to, by a hash of its id."""
    digest = hashlib.sha256(f"redundancy/{video_id}".encode()).digest()
    return "tuning" if digest[0] % 2 == 0 else "report"


def read_videos(
    split: Split, embedder: TextEmbedder, *, half: Half = "all"
) -> list[CaptionedVideo]:
    """Embed captions and right options of the videos that have both.

    Raises InvalidValue where no video is left.
    """
    asked: dict[str, list[ChoiceQuestion]] = {}
    for question in split.choices:
        if question.answer is not None:
            asked.setdefault(question.video_id, []).append(question)
    wanted = [
        video_id
        for video_id in split.video_ids
        if video_id in asked
        and len(split.captions.get(video_id, ())) > 1
        and half in ("all", half_of(video_id))
    ]
    if not wanted:
        raise InvalidValue(
            "videos with captions and answered questions", 0, f"at least 1 in half {half!r}"
        )
    return [
        _captioned(video_id, split.captions[video_id], asked[video_id], embedder)
        for video_id in wanted
    ]


def _captioned(
    video_id: str,
    captions: Sequence[Caption],
    questions: Sequence[ChoiceQuestion],
    embedder: TextEmbedder,
) -> CaptionedVideo:
    rows = unit_rows(embedder.embed_texts([caption.text for caption in captions]))
    right = [q.options[q.answer] for q in questions if q.answer is not None]
    near = unit_rows(embedder.embed_texts(right)) @ rows.T
    return CaptionedVideo(
        video_id=video_id,
        captions=tuple(captions),
        vectors=rows.astype(np.float32),
        questions=tuple(questions),
        near=near.astype(np.float32),
    )


def outcome(
    videos: Sequence[CaptionedVideo], masks: Sequence[Mask], chooser: Chooser | None
) -> Outcome:
    """Measure masks. Without a chooser no question is asked (`right` is empty)."""
    lost: list[float] = []
    top: list[float] = []
    right: list[float] = []
    for video, mask in zip(videos, masks, strict=True):
        lost += (video.near.max(axis=1) - video.near[:, mask].max(axis=1)).tolist()
        nearest = np.argsort(-video.near, axis=1, kind="stable")[:, :NUM_TOP]
        top += mask[nearest].any(axis=1).astype(float).tolist()
        if chooser is not None:
            material = evidence_of(video, mask)
            right += [
                float(
                    chooser.choose(Question.of(q.question, q.options), material).chosen == q.answer
                )
                for q in video.questions
            ]
    num_kept, num = sum(int(m.sum()) for m in masks), sum(map(len, masks))
    return Outcome(kept=num_kept / num, lost=tuple(lost), top=tuple(top), right=tuple(right))


def evidence_of(video: CaptionedVideo, mask: Mask) -> Evidence:
    """Return the kept captions as what may be answered from: each a passage of its own."""
    places = np.flatnonzero(mask).tolist()
    return Evidence(
        passages=tuple(
            Passage(
                video_id=video.video_id,
                name=video.video_id,
                chapter=place,
                start_s=video.captions[place].start_s,
                end_s=video.captions[place].end_s,
                text=video.captions[place].text,
            )
            for place in places
        ),
        vectors=video.vectors[places],
    )


def redundancy_rows(
    videos: Sequence[CaptionedVideo],
    chooser: Chooser | None = None,
    *,
    rules: Mapping[str, TextualConfig] = RULES,
    num_draws: int = NUM_DRAWS,
) -> list[dict[str, Any]]:
    """Return one row a rule: its outcome beside the mean of `num_draws` random controls.

    Differences are ours minus chance, question by question, with an interval over videos: more
    of `top` and `right` is better, less of `lost` is.
    """
    rows = []
    for name, rule in rules.items():
        masks = [keep_chapters(video.vectors, rule, salt=video.video_id) for video in videos]
        ours = outcome(videos, masks, chooser)
        draws = [
            outcome(videos, _random(videos, masks, rule, seed), chooser)
            for seed in range(num_draws if rule.policy != "none" else 0)
        ]
        rows.append(_row(name, ours, draws, videos))
        logger.info("%s: %s", name, rows[-1])
    return rows


def _random(
    videos: Sequence[CaptionedVideo], masks: Sequence[Mask], rule: TextualConfig, seed: int
) -> list[Mask]:
    return [
        random_mask(
            mask,
            replace(rule, seed=seed),
            keeps_first=rule.policy != "paper",
            salt=video.video_id,
        )
        for video, mask in zip(videos, masks, strict=True)
    ]


def _row(
    name: str, ours: Outcome, draws: Sequence[Outcome], videos: Sequence[CaptionedVideo]
) -> dict[str, Any]:
    groups = [video.video_id for video in videos for _ in video.questions]
    row: dict[str, Any] = {"rule": name, "kept": round(ours.kept, 4)}
    for measure in ("lost", "top", "right"):
        values = getattr(ours, measure)
        if not values:
            continue
        found = interval_of_mean(values, groups)
        row[measure] = round(found.value, 4)
        row[f"{measure}_interval"] = _rounded(found.bounds)
        if draws:
            by_chance = np.mean([getattr(draw, measure) for draw in draws], axis=0)
            more = interval_of_difference(values, by_chance, groups)
            row[f"{measure}_random"] = round(float(by_chance.mean()), 4)
            row[f"{measure}_gain"] = round(more.value, 4)
            row[f"{measure}_gain_interval"] = _rounded(more.bounds)
    return {**row, "num_questions": len(groups), "num_videos": len(videos)}


def _rounded(bounds: tuple[float, float] | None) -> list[float] | None:
    return None if bounds is None else [round(bound, 4) for bound in bounds]
