"""The command that unites libraries: merge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fdvs.pipelines.cli.options import JsonOption, emit
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from fdvs.pipelines.merge import MergeReport


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(merge)


def merge(
    library: Annotated[
        Path, typer.Argument(metavar="LIBRARY", help="The library that takes the others in.")
    ],
    shards: Annotated[
        list[Path], typer.Argument(metavar="SHARD...", help="Libraries, which stay as they are.")
    ],
    as_json: JsonOption = False,
) -> int:
    """Copy the videos of libraries that were built apart into one.

    The same content is stored once, names are given anew after the files. All must have been built
    with the same embedders. After an interruption the same command goes on.
    """
    from fdvs.pipelines.merge import merge as merged

    report = merged(library, shards)
    if as_json:
        from fdvs.pipelines.results import merge_json

        emit(merge_json(report, library))
    else:
        _show(report, library)
    return 1 if report.num("left out") else 0


def _show(report: MergeReport, library: Path) -> None:
    for one in report.videos:
        if one.how == "left out" or one.reason:
            typer.echo(one_line(f"{one.how}  {one.name}: {one.reason}"))
    for note in report.notes:
        typer.echo(one_line(f"note  {note}"))
    counts = ", ".join(
        f"{report.num(how)} {how}" for how in ("added", "completed", "known", "left out")
    )
    typer.echo(one_line(f"{counts}  library: {library}"))
