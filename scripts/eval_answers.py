"""Measure multiple-choice answers on published captions: EgoSchema and NExT-QA.

    python scripts/eval_answers.py --data FOLDER [--llm CARD|MODEL.gguf] [--sample N] [--json]

FOLDER holds egoschema/ and nextqa/ with their annotation and caption files; any part of the
records will do, the name of the split says how many there are. Nothing is tuned here: the settings
are those of `fdvs.answers.choice.choice_settings`. Without --llm the evidence answers
alone, with what the offline preset installs. Predictions are kept below --out and picked up again.

With --csv one row a number is appended. With --json the last line is one object:
{"egoschema": {"accuracy": ...}, "nextqa": {...}}.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdvs.config import Config
from fdvs.errors import FdvsError
from fdvs.pipelines.evaluation import choice_row
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import sampled
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.result import EvalResult
from fdvs.pipelines.evaluation.run import split_of, with_circumstances
from fdvs.pipelines.evaluation.sources import texts_for
from fdvs.pipelines.evaluation.suite import with_llm
from fdvs.pipelines.evaluation.tables import detail_table, result_table
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import preset

ROWS = ("egoschema", "nextqa")
OUT = Path("fdvs-eval-answers")
COLUMNS = (
    "row", "split", "answerer", "llm", "what", "value", "low", "high", "num_items", "num_videos",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0, or 1 with one line where data or a model are not here."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("fdvs.pipelines.evaluation.vectors").setLevel(logging.WARNING)
    try:
        results = {name: _evaluate(name, options) for name in options.rows}
    except FdvsError as error:
        print(f"eval_answers: {error}", file=sys.stderr)
        return 1
    print(result_table(list(results.values())))
    for result in results.values():
        print(f"{result.row}\n\n{detail_table(result)}")
    if options.csv is not None:
        _write(options.csv, [row for result in results.values() for row in _rows(result)])
    if options.json:
        print(json.dumps({name: _plain(result) for name, result in results.items()}))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--llm", metavar="CARD|MODEL.gguf", help="default: none, evidence alone")
    parser.add_argument("--answerer", choices=("llm", "combined"), default="combined")
    parser.add_argument("--dtype", default="auto", help="of the language model's numbers")
    parser.add_argument("--sample", type=int, metavar="N", help="questions a row, whole videos")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(arguments)


def _evaluate(name: str, options: argparse.Namespace) -> EvalResult:
    started = time.monotonic()
    config = _config(options)
    job = Job(
        row=row_named(name),
        data=options.data,
        out=options.out / name,
        config=config,
        models=_made(config, options),
        allow_partial=True,
        llm=options.llm,
    )
    job.out.mkdir(parents=True, exist_ok=True)
    split = sampled(split_of(job), options.sample)
    texts = texts_for(job, split)
    result = choice_row.run(job, split, texts)
    return with_circumstances(result, texts, seconds=time.monotonic() - started)


def _config(options: argparse.Namespace) -> Config:
    """Prompts are short: stock attention, and the number type as asked for."""
    config = with_llm(preset("offline"), options.llm)
    ask = replace(config.ask, answerer=options.answerer, attention="sdpa")
    return replace(config, ask=ask)


def _made(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    """Load a language model of another number type apart from the embedder."""
    if options.llm is None or options.dtype == "auto":
        return {}
    models = replace(config.models, dtype=options.dtype)
    return {"llm": ModelSet(replace(config, models=models)).llm}


def _rows(result: EvalResult) -> Iterator[dict[str, Any]]:
    """Yield one row a number: the score with its interval, then all that stands beside it."""
    common = {
        "row": result.row,
        "split": result.split,
        "answerer": result.settings["answerer"],
        "llm": result.backends.get("llm", ""),
        "num_items": result.num_items,
        "num_videos": result.num_videos,
    }
    low, high = result.interval or (result.score, result.score)
    yield {**common, "what": "accuracy", "value": result.score, "low": low, "high": high}
    beside = {"tf-idf floor": result.floor, "other video": result.other_video, **result.controls}
    for name, value in {**beside, **result.metrics, **result.groups, **result.details}.items():
        if name != "accuracy" and value is not None:
            yield {**common, "what": name, "value": value}


def _write(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Append rows, under a header where the file is new."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if is_new:
            writer.writeheader()
        for row in rows:
            numbers = {k: round(v, 4) for k, v in row.items() if isinstance(v, float)}
            writer.writerow({**row, **numbers})


def _plain(result: EvalResult) -> dict[str, Any]:
    return {"accuracy": result.score, **result.to_json()}


if __name__ == "__main__":
    sys.exit(main())
