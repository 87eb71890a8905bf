"""The command `eval`: benchmark rows with their floors and controls."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fdvs.pipelines.cli.options import ConfigOption, JsonOption, emit

DEFAULT_OUT = Path("fdvs-eval")

FolderOption = Annotated[Path | None, typer.Option(metavar="FOLDER")]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("eval")(evaluate)


def evaluate(
    row: Annotated[
        str | None,
        typer.Argument(metavar="[ROW]", help="A row's name, or 'all'; see --list."),
    ] = None,
    list_rows: Annotated[
        bool, typer.Option("--list", help="List the rows with task, files, licence and state.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="The dataset's own folder, or the parent with one folder a dataset.",
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The dataset's videos: the whole pipeline runs."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Texts about the videos (JSON), instead of videos."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many questions or queries at most.")
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option("--allow-partial", help="Take files with fewer records than the official."),
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where predictions and results go.")
    ] = DEFAULT_OUT,
    llm: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="A card, FOLDER or FILE.gguf of a language model."),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A small fixed part, to see that all of it runs.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Compute also what stands in --out already.")
    ] = False,
    preset: Annotated[
        str, typer.Option("--preset", "-p", metavar="NAME", help="offline, laptop, gpu or paper.")
    ] = "offline",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a benchmark row: score, interval, floor and controls.

    The words about the videos come from --videos (the whole pipeline), --captions, or from
    captions published with the dataset. A run that was cut off goes on where it stopped.
    """
    if list_rows:
        _list_rows(as_json)
        return
    if row is None:
        raise typer.BadParameter("which row? Name one, or 'all'; see: fdvs eval --list")
    from fdvs.pipelines.evaluation.suite import Request, run_all

    request = Request(
        row=row,
        data=data,
        videos=videos,
        captions=captions,
        limit=limit,
        allow_partial=allow_partial,
        out=out,
        llm=llm,
        quick=quick,
        again=again,
        config=_config(preset, config),
    )
    with contextlib.redirect_stdout(sys.stderr):
        suite = run_all(request, told=lambda line: typer.echo(line, err=True))
    if as_json:
        emit(suite.to_json())
    else:
        typer.echo(suite.markdown())
    raise typer.Exit(1 if suite.failed else 0)


def _config(preset: str, file: Path | None) -> Any:
    from fdvs.configfile import load_config
    from fdvs.pipelines.presets import preset as preset_named

    base = preset_named(preset)
    return load_config(file, base) if file else base


def _list_rows(as_json: bool) -> None:
    from fdvs.pipelines.evaluation.listing import row_facts

    facts = row_facts()
    if as_json:
        emit(facts)
        return
    from fdvs.pipelines.show.rows import show_row_facts

    show_row_facts(facts)
