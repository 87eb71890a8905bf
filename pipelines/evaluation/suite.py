"""Several rows in one command: results, reasons for rows that did not run, and one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from fdvs.config import Config
from fdvs.datasets.cards import published_for
from fdvs.errors import AbsentData, ConfigError, FdvsError, ModelError
from fdvs.pipelines.evaluation.benchmarks import ROWS, Row, row_named
from fdvs.pipelines.evaluation.job import Inputs, Job
from fdvs.pipelines.evaluation.report import detail_table, percent, published_table, result_table
from fdvs.pipelines.evaluation.result import EvalResult
from fdvs.pipelines.evaluation.run import run_row
from fdvs.text.clean import one_line

ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Request(Inputs):
    """What a user asks for: `row` is a row's name or `all`; each row has its folder in `out`."""

    row: str
    again: bool = False

    def __post_init__(self) -> None:
        Inputs.__post_init__(self)
        if self.judge and self.row != ALL and row_named(self.row).task != "open":
            raise ConfigError(
                f"--judge scores open-ended answers; {self.row} has none, leave the option out"
            )
        if self.captions_of and self.row == ALL:
            raise ConfigError("--captions-of goes with one row; name it instead of 'all'")

    def job(self, row: Row) -> Job:
        """Return the job of one row."""
        shared = {field.name: getattr(self, field.name) for field in fields(Inputs)}
        of_other = f"-{self.captions_of}" if self.captions_of else ""
        shared["out"] = self.out / f"{row.name}{of_other}"
        shared["config"] = with_llm(self.config, self.llm)
        return Job(row=row, **shared)


def with_llm(config: Config, llm: str | None) -> Config:
    """Return the config with another language model: a card, `BACKEND:TARGET`, or a path."""
    if llm is None:
        return config
    spec = f"transformers:{Path(llm).resolve()}" if Path(llm).exists() else llm
    return replace(config, models=replace(config.models, llm=spec))


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """Results by row, and the reason for every row without one.

    `failed` rows broke while running; `skipped` rows lack their videos or files here.
    """

    results: tuple[EvalResult, ...]
    failed: Mapping[str, str]
    skipped: Mapping[str, str]
    is_single: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as one JSON object; for several rows, an object of results by name."""
        if self.is_single and self.results:
            return self.results[0].to_json()
        return {
            "rows": {result.row: result.to_json() for result in self.results},
            "failed": dict(self.failed),
            "skipped": dict(self.skipped),
        }

    def markdown(self) -> str:
        """Return Markdown: one table of results, and for a single row all details."""
        parts = [result_table(self.results)] if self.results else []
        if self.is_single:
            for result in self.results:
                parts += [detail_table(result), _beside(result), _notes(result)]
        parts += [f"{name}: not run: {why}" for name, why in self.skipped.items()]
        parts += [f"{name}: FAILED: {why}" for name, why in self.failed.items()]
        return "\n".join(part for part in parts if part)


def _beside(result: EvalResult) -> str:
    published = published_for(result.row)
    return published_table(result, published) if published else ""


def _notes(result: EvalResult) -> str:
    return "".join(f"- {note}\n" for note in result.notes)


def run_all(request: Request, *, report_progress: Callable[[str], None]) -> Suite:
    """Run one row, or all rows that can run here; `report_progress` gets one line per row.

    With one row an error is raised; with several, a failing row does not stop the others. Raises
    UnknownName for a row that does not exist.
    """
    if request.row != ALL:
        result = run_row(request.job(row_named(request.row)), again=request.again)
        return Suite(results=(result,), failed={}, skipped={}, is_single=True)
    results: list[EvalResult] = []
    failed: dict[str, str] = {}
    skipped: dict[str, str] = {}
    for row in ROWS.values():
        if not row.texts and request.videos is None and request.captions is None:
            skipped[row.name] = "no published captions; give its videos or texts about them"
            continue
        try:
            results.append(run_row(request.job(row), again=request.again))
        except ModelError:
            raise
        except FdvsError as error:
            reasons = skipped if isinstance(error, AbsentData) else failed
            reasons[row.name] = one_line(str(error))
            report_progress(f"{row.name}: {one_line(str(error))}")
            continue
        done = results[-1]
        report_progress(f"{row.name}: {done.metric} {percent(done.score)}, {done.seconds:.0f} s")
    return Suite(results=tuple(results), failed=failed, skipped=skipped, is_single=False)
