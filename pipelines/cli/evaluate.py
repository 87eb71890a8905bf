"""The command `eval`: benchmark rows with their floors and controls."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from fdvs.pipelines.cli.options import (
    ConfigOption,
    JsonOption,
    emit,
    load_settings,
    report_progress,
)

DEFAULT_OUT = Path("fdvs-eval")


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("eval")(evaluate)


def evaluate(
    row: Annotated[
        str | None,
        typer.Argument(metavar="ROW", help="A row's name, or 'all'; see --list."),
    ] = None,
    list_rows: Annotated[
        bool, typer.Option("--list", help="List the rows with task, files, licence and state.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The dataset's folder, or a parent with one folder per dataset.",
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The dataset's videos, to run the whole pipeline on."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts about the videos (JSON), instead of --videos."),
    ] = None,
    captions_of: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Another captioner's published texts (nextqa: cogagent)."
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most this many questions or queries.")
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Accept files with fewer records than published."),
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where predictions and results are written.")
    ] = DEFAULT_OUT,
    llm: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A language model: a card's name, FOLDER or FILE.gguf."),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="ENDPOINT",
            help="Open-ended rows: let http://HOST:PORT/v1#MODEL judge the answers as well.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only a small fixed part, as a trial run.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Compute again what --out already holds."),
    ] = False,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME",
            help="offline, laptop, gpu or paper. Default: what --config names, or offline.",
        ),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a benchmark row: score, interval, floor and controls.

    The texts about the videos come from --videos (the whole pipeline), --captions, or captions
    published with the dataset. Run the same command again to resume an interrupted run.
    """
    if list_rows:
        _list_rows(as_json)
        return
    if row is None:
        raise typer.BadParameter("which row? Name one, or 'all'; see: fdvs eval --list")
    from fdvs.pipelines.evaluation.suite import Request, run_all
    from fdvs.pipelines.sources import without_auto

    request = Request(
        row=row,
        data=data,
        videos=videos,
        captions=captions,
        captions_of=captions_of,
        limit=limit,
        allow_partial=allow_partial,
        out=out,
        llm=llm,
        judge=judge,
        quick=quick,
        again=again,
        config=without_auto(load_settings(preset, config)),
    )
    with contextlib.redirect_stdout(sys.stderr):
        suite = run_all(request, report_progress=report_progress)
    if as_json:
        emit(suite.to_json())
    else:
        typer.echo(suite.markdown())
    raise typer.Exit(1 if suite.failed else 0)


def _list_rows(as_json: bool) -> None:
    from fdvs.pipelines.evaluation.benchmarks import row_facts

    facts = row_facts()
    if as_json:
        emit(facts)
        return
    from fdvs.pipelines.show.tables import show_eval_rows

    show_eval_rows(facts)
