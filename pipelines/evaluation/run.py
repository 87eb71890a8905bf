"""Run a row: load the official files, find the words about the videos, score, and write the result.

Each row has a folder with `predictions.jsonl` (appended during the run), `result.json`, `report.md`
and `plot.svg`. A result made from the same files with the same settings is not computed again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from fdvs import __version__
from fdvs.configfile import config_to_json
from fdvs.datasets.cards import published_for
from fdvs.datasets.examples import Split, by_paragraph
from fdvs.datasets.registry import load_split
from fdvs.errors import ConfigError
from fdvs.files import write_whole
from fdvs.fingerprint import digest
from fdvs.pipelines.evaluation.benchmarks import Task
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.report import report, save_plot
from fdvs.pipelines.evaluation.result import EvalResult, result_from_json
from fdvs.pipelines.evaluation.sources import texts_for

RESULT, REPORT, PLOT = "result.json", "report.md", "plot.svg"
#: Increased when scores change although no setting did.
VERSION = 1

#: Number of videos in a quick run; retrieval rows reduce their gallery themselves.
QUICK_VIDEOS: dict[Task, int] = {"choice": 12, "open": 5}

Runner = Callable[[Job, Split, Texts], EvalResult]

#: Modules that hold `run` of a task, imported when needed.
_HOMES: dict[Task, str] = {
    "choice": "choice_row",
    "open": "open_row",
    "retrieval": "retrieval_row",
    "prvr": "retrieval_row",
    "made": "synthetic",
}

logger = logging.getLogger(__name__)


def runner_for(task: Task) -> Runner:
    """Return the function `run(job, split, texts)` that evaluates a task."""
    runner: Runner = import_module(f"fdvs.pipelines.evaluation.{_HOMES[task]}").run
    return runner


def run_row(job: Job, *, again: bool = False) -> EvalResult:
    """Evaluate one row and write its files; `again` ignores a stored result.

    Raises:
        ConfigError: no data folder, or no words about the videos.
        DataError: the dataset's files are wrong, or partial (see `Job.allow_partial`).
        ModelUnavailable: a model of the settings is not installed.
    """
    started = time.monotonic()
    job.out.mkdir(parents=True, exist_ok=True)
    if job.row.task == "made":
        split, texts = made_split(job), Texts(source=job.row.texts, captions={})
    else:
        split = split_of(job)
        split = limited(quick_part(split, job.row.task) if job.quick else split, job.limit)
        texts = texts_for(job, split)
    key = fingerprint_of(job, split, texts)
    stored = None if again else stored_result(job.out, key)
    if stored is not None:
        logger.info("%s: %s holds the result of these settings", job.row.name, job.out)
        return stored
    result = runner_for(job.row.task)(job, split, texts)
    result = with_circumstances(result, texts, seconds=time.monotonic() - started)
    _write(job, result, key)
    return result


def split_of(job: Job) -> Split:
    """Load the row's split; captions are read only where no videos or captions file are given."""
    if job.data is None:
        raise ConfigError(
            f"{job.row.name} needs --data FOLDER: the folder of {job.row.dataset}'s official "
            "files, or the parent that holds one folder a dataset"
        )
    split = load_split(
        job.row.dataset,
        job.data,
        split=job.row.split,
        allow_partial=job.allow_partial,
        with_captions=not (job.videos or job.captions or job.captions_of),
    )
    return by_paragraph(split) if job.row.paragraphs else split


def made_split(job: Job) -> Split:
    """Return the empty split of a row that makes its own videos."""
    return Split(dataset=job.row.dataset, name=job.row.split, is_partial=job.quick, video_ids=())


def limited(split: Split, limit: int | None) -> Split:
    """Return the first `limit` questions or queries of a split; its name says so.

    Only the videos of the remaining questions stay. A gallery stays whole: fewer queries must not
    make retrieval easier.
    """
    asked = [question.video_id for question in split.choices]
    asked += [question.video_id for question in split.questions]
    if limit is None or limit >= max(len(asked), len(split.queries)):
        return split
    videos = set(asked[:limit])
    return replace(
        split,
        name=f"{split.name}, first {limit}",
        is_partial=True,
        video_ids=tuple(v for v in split.video_ids if not asked or v in videos),
        choices=split.choices[:limit],
        questions=split.questions[:limit],
        queries=split.queries[:limit],
    )


def quick_part(split: Split, task: Task) -> Split:
    """Return the first few videos with all their questions, for a quick run."""
    if task not in QUICK_VIDEOS:
        return split
    videos = split.video_ids[: QUICK_VIDEOS[task]]
    chosen = set(videos)
    return replace(
        split,
        name=f"{split.name}, quick: {len(videos)} videos",
        is_partial=True,
        video_ids=videos,
        choices=tuple(one for one in split.choices if one.video_id in chosen),
        questions=tuple(one for one in split.questions if one.video_id in chosen),
        queries=tuple(one for one in split.queries if one.video_id in chosen),
        captions={video: words for video, words in split.captions.items() if video in chosen},
    )


def fingerprint_of(job: Job, split: Split, texts: Texts) -> str:
    """Return a digest of everything that decides the result."""
    # a row that uses no language model must not require one
    asks_llm = job.row.task == "open" or job.llm is not None
    roles = ("text_embedder", "llm") if asks_llm else ("text_embedder",)
    models = {role: job.model_set.fingerprint(role) for role in roles}
    return digest(
        [VERSION, job.row, split, texts, config_to_json(job.config), models, job.llm, job.quick]
        + ([job.judge] if job.judge else [])
    )


def with_circumstances(result: EvalResult, texts: Texts, *, seconds: float) -> EvalResult:
    """Add what every result states: its source, missing videos, versions and time."""
    notes = [*result.notes, *texts.notes]
    if texts.missing:
        notes.append(
            f"{len(texts.missing)} videos without words: {', '.join(texts.missing[:5])}"
            + (", ..." if len(texts.missing) > 5 else "")
        )
    return replace(
        result,
        source=result.source or texts.source,
        backends={**texts.backends, **result.backends},
        counts={**result.counts, "num_videos_missing": len(texts.missing)},
        notes=tuple(notes),
        seconds=round(seconds, 1),
        versions={"fdvs": __version__},
    )


def stored_result(folder: Path, key: str) -> EvalResult | None:
    """Return the stored result of a folder if it was made with these settings."""
    try:
        values = json.loads((folder / RESULT).read_text("utf-8"))
        return result_from_json(values["result"]) if values.get("key") == key else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        logger.warning("%s is not used: %s", folder / RESULT, error)
        return None


def _write(job: Job, result: EvalResult, key: str) -> None:
    published = published_for(result.row)
    save_plot(result, published, job.out / PLOT)
    write_whole(job.out / REPORT, report(result, published))
    text = json.dumps({"key": key, "result": result.to_json()}, indent=2, allow_nan=False)
    write_whole(job.out / RESULT, text + "\n")
