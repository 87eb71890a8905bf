"""What open-ended questions give without any look at a video, as rows of a CSV file.

    python research/eval_floors.py --data FOLDER [--csv benchmarks/open_floors.csv]

FOLDER holds the official files of ActivityNet-QA, MSRVTT-QA and MSVD-QA. ActivityNet-QA's
splits are looked up in each other, the others half in half by video.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import csv_rows

from fdvs.datasets.examples import OpenQuestion, Split
from fdvs.datasets.registry import load_split
from fdvs.pipelines.evaluation.open_ended import OpenScore, constant_answers, score_open
from fdvs.pipelines.evaluation.open_floors import NUM_NEAREST, question_only_answers

COLUMNS = ("dataset", "split", "method", "exact_match", "low", "high", "num_questions",
           "num_videos")  # fmt: skip
# dataset, split, the split that is looked up ("" for the other half of the same videos)
ASKED = (
    ("activitynet_qa", "test", "val"),
    ("activitynet_qa", "val", "test"),
    ("msrvtt_qa", "val", ""),
    ("msvd_qa", "val", ""),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    rows = [row for asked in ASKED for row in _rows(options.data, *asked)]
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _rows(data: Path, dataset: str, name: str, known: str) -> Iterator[dict[str, object]]:
    split = load_split(dataset, data, split=name, allow_partial=True)
    others: tuple[OpenQuestion, ...] | None = None
    if known:
        others = load_split(dataset, data, split=known, allow_partial=True).questions
    method = f"question only, {NUM_NEAREST} nearest of {known or 'the other half of its videos'}"
    yield _row(split, method, score_open(split.questions, question_only_answers(
        split.questions, others)))  # fmt: skip
    for by_kind in (True, False):
        method = "one answer" + (" a kind" if by_kind else "") + ", the most frequent right one"
        answers = constant_answers(split.questions, by_kind=by_kind)
        yield _row(split, method, score_open(split.questions, answers))


def _row(split: Split, method: str, score: OpenScore) -> dict[str, object]:
    low, high = score.interval.bounds or (score.accuracy, score.accuracy)
    numbers = [f"{value:.4f}" for value in (score.accuracy, low, high)]
    values = (split.dataset, split.name, method, *numbers, score.num_questions, score.num_videos)
    return dict(zip(COLUMNS, values, strict=True))


if __name__ == "__main__":
    sys.exit(main())
