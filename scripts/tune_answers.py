"""Cross-validate the settings of multiple-choice answers: five folds by video, out of fold.

    python scripts/tune_answers.py --data FOLDER --csv answers_tuning.csv [--llm-predictions FILE]

FOLDER as for scripts/eval_answers.py. One row a candidate with its accuracy on each dataset, and,
as `out of fold`, what settings that were chosen on other videos of both datasets reach. With
predictions of the combined answerer on EgoSchema (eval_answers.py leaves them below --out), the
weights of the language model are cross-validated as well. Changes nothing: the settings are chosen
by a person and committed.
"""

from __future__ import annotations

import argparse
import csv
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from fdvs.answers.choice.background import make_background
from fdvs.datasets.examples import ChoiceQuestion
from fdvs.metrics.interval import interval_of_mean
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import CaptionMaterial, passages_of
from fdvs.pipelines.evaluation.choice_tuning import (
    Rights,
    candidates,
    combined_rights,
    cross_validated,
    evidence_rights,
)
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.predictions import read_predictions
from fdvs.pipelines.evaluation.run import split_of
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.presets import preset

ROWS = ("egoschema", "nextqa")
COLUMNS = ("what", "dataset", "settings", "accuracy", "interval", "num_questions", "num_videos")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table; return 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--llm-predictions", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval-answers"), metavar="FOLDER")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asked = {name: _questions(name, options) for name in ROWS}
    rows = []
    if options.llm_predictions is None:
        rights = {name: _evidence(name, options, asked[name]) for name in ROWS}
        rows += _rows("evidence", rights, asked)
    else:
        _, records = read_predictions(options.llm_predictions)
        known = [one for one in asked["egoschema"] if one.id in records]
        found = combined_rights(known, cast(Any, records))
        rows += _rows("combined", {"egoschema": found}, {"egoschema": known})
    with options.csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


def _job(name: str, options: argparse.Namespace) -> Job:
    return Job(
        row=row_named(name), data=options.data, out=options.out / name, config=preset("offline"),
        allow_partial=True,
    )  # fmt: skip


def _questions(name: str, options: argparse.Namespace) -> list[ChoiceQuestion]:
    split = split_of(_job(name, options))
    answered = [q for q in split.choices if q.answer is not None and q.video_id in split.captions]
    return sorted(answered, key=lambda question: question.video_id)


def _evidence(
    name: str, options: argparse.Namespace, asked: Sequence[ChoiceQuestion]
) -> dict[str, Rights]:
    job = _job(name, options)
    job.out.mkdir(parents=True, exist_ok=True)
    captions = split_of(job).captions
    embedder = stored_embedder(job)
    passages = [p for video_id, told in captions.items() for p in passages_of(video_id, told)]
    material = CaptionMaterial(captions, embedder)
    return evidence_rights(
        asked,
        lambda question: material.of_video(question.video_id),
        embedder,
        make_background(passages, embedder),
        candidates(),
    )


def _rows(
    what: str,
    rights: Mapping[str, Mapping[str, Rights]],
    asked: Mapping[str, Sequence[ChoiceQuestion]],
) -> list[dict[str, Any]]:
    videos = {name: [one.video_id for one in asked[name]] for name in rights}
    folded = cross_validated(rights, videos)
    rows = []
    for name in rights:
        chosen = "; ".join(sorted(set(folded[name].chosen)))
        rows.append(_row(what, name, f"out of fold ({chosen})", folded[name].right, videos[name]))
        for settings, right in rights[name].items():
            rows.append(_row(what, name, settings, right, videos[name]))
    return rows


def _row(
    what: str, name: str, settings: str, right: Rights, videos: Sequence[str]
) -> dict[str, Any]:
    found = interval_of_mean(right.astype(float), videos)
    low, high = found.bounds or (found.value, found.value)
    return {
        "what": what,
        "dataset": name,
        "settings": settings,
        "accuracy": round(found.value, 4),
        "interval": f"{low:.4f} to {high:.4f}",
        "num_questions": found.num_items,
        "num_videos": found.num_groups,
    }


if __name__ == "__main__":
    sys.exit(main())
