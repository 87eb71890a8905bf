"""Which code evaluates which task. Imported when needed: a list of rows loads no model."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from fdvs.datasets.examples import Split
from fdvs.pipelines.evaluation.benchmarks import Task
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.result import EvalResult

Runner = Callable[[Job, Split, Texts], EvalResult]

_HOMES: dict[Task, str] = {
    "choice": "choice_row",
    "open": "open_row",
    "retrieval": "retrieval_row",
    "prvr": "retrieval_row",
    "made": "synthetic_row",
}


def runner_for(task: Task) -> Runner:
    """Return the function `run(job, split, texts)` of a task."""
    module = import_module(f"fdvs.pipelines.evaluation.{_HOMES[task]}")
    runner: Runner = module.run
    return runner
