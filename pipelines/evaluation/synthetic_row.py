"""The row of made films: the whole pipeline against recipes, as a result like every other row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fdvs.datasets.examples import Split
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.result import EvalResult
from fdvs.pipelines.evaluation.synthetic import NUM_FILMS
from fdvs.pipelines.evaluation.synthetic import run as run_films

DETAILS = ("moments", "cuts", "redundancy", "temporal", "content")


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Make films (from the scenes of `--videos` too, where given), build, and score every stage."""
    found = run_films(
        job.out,
        num_films=NUM_FILMS,
        clips=job.videos,
        quick=job.quick,
        config=job.config,
        models=job.models,
    )
    return result_of(job, split, texts, found)


def result_of(job: Job, split: Split, texts: Texts, found: Mapping[str, Any]) -> EvalResult:
    """Return the result of what the films gave."""
    controls = dict(found["controls"])
    counts = {str(name): int(value) for name, value in found["counts"].items()}
    interval = found["interval"]
    return EvalResult(
        row=job.row.name,
        dataset=split.dataset,
        split=f"{counts['num_films']} films, seed {found['settings']['seed']}",
        is_partial=job.quick,
        metric=job.row.metric,
        score=found["score"],
        interval=None if interval is None else (interval[0], interval[1]),
        num_items=counts["num_questions"],
        num_videos=counts["num_films"],
        source=texts.source,
        floor=found["floor"],
        other_video=controls.pop("other_video", None),
        controls=controls,
        groups=found["groups"],
        counts=counts,
        backends=found["backends"],
        settings=found["settings"],
        details={name: found[name] for name in DETAILS},
        notes=tuple(found["notes"]),
    )
