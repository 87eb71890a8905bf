"""What every command shares: the options, how a library is opened, and how results leave.

A command computes inside `opened(...)`, then either emits one JSON value (`emit`) or renders for
people. While a library works, everything that is printed by accident goes to standard error.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fdvs.config import Config
    from fdvs.pipelines.library import Library

DEFAULT_LIBRARY = Path("fdvs-library")

LibraryOption = Annotated[
    Path,
    typer.Option(
        "--library", "-l", envvar="FDVS_LIBRARY", metavar="FOLDER", help="The library's folder."
    ),
]
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME",
        help="offline, laptop, gpu or paper; else what the library was built with, else offline.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE.yaml",
        help="Settings laid over the preset; see docs/settings.md.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on the last line of stdout.")
]
NumOption = Annotated[
    int | None, typer.Option("--num", "-n", min=1, max=10_000, help="How many results at most.")
]
VideoOption = Annotated[
    str | None, typer.Option("--video", metavar="NAME", help="Only in this video (name or id).")
]


def library_class() -> type[Library]:
    """Return the class that opens libraries: the one seam that tests replace."""
    from fdvs.pipelines.library import Library

    return Library


@contextlib.contextmanager
def opened(
    path: Path, preset: str | None, config: Path | None, *, create: bool = False
) -> Iterator[Library]:
    """Open the library for one command; stray prints of packages go to standard error."""
    with (
        contextlib.redirect_stdout(sys.stderr),
        library_class().open(path, preset=preset, config=config, create=create) as library,
    ):
        yield library


def settings(path: Path, preset: str | None, config: Path | None) -> Config:
    """Return the settings that a command with these options would use, building nothing."""
    from fdvs.errors import LibraryMissing

    if preset is None and config is None:
        with contextlib.suppress(LibraryMissing), opened(path, None, None) as library:
            return library.config
    from fdvs.configfile import load_config
    from fdvs.pipelines.presets import preset as preset_named

    base = preset_named(preset or "offline")
    return load_config(config, base) if config else base


def emit(value: Any) -> None:
    """Print a JSON value as the last line of standard output, in plain ASCII."""
    from fdvs.pipelines.results import to_json

    sys.stdout.write(to_json(value) + "\n")
    sys.stdout.flush()
