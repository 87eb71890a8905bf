"""What the commands share: options, how a library is opened, and how results leave.

A command computes while its library is open, then either emits one JSON value (`emit`) or shows
tables. While a library works, whatever a package prints by accident goes to standard error.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from fdvs.pipelines.cli.found import in_library
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from fdvs.config import Config
    from fdvs.pipelines.library import Library

R = TypeVar("R")

DEFAULT_LIBRARY = Path("fdvs-library")
DEFAULT_LIBRARIES = [DEFAULT_LIBRARY]

LibraryOption = Annotated[
    Path,
    typer.Option(
        "--library", "-l", envvar="FDVS_LIBRARY", metavar="FOLDER", help="The library's folder."
    ),
]
LibrariesOption = Annotated[
    list[Path],
    typer.Option(
        "--library", "-l", envvar="FDVS_LIBRARY", metavar="FOLDER",
        help="The library's folder; repeat it for several at once.",
    ),
]  # fmt: skip
PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        metavar="NAME",
        help="offline, laptop, gpu or paper. Default: what --config names, what the library was "
        "built with, or offline.",
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        metavar="FILE.yaml",
        help="Settings that override the preset (docs/settings.md); else fdvs.yaml in the "
        "library's folder or, for build, beside the videos.",
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on the last line of stdout.")
]
NumOption = Annotated[
    int | None, typer.Option("--num", "-n", min=1, max=10_000, help="At most this many results.")
]
CaptionerOption = Annotated[
    str | None,
    typer.Option(
        metavar="SPEC",
        help="What describes pictures: a model of models list, ollama:MODEL, lmstudio:, llamacpp:, "
        "vllm:, sglang:, openai:, gemini:, mistral: or endpoint:URL#MODEL; remembered for the "
        "library.",
    ),
]
LlmOption = Annotated[
    str | None,
    typer.Option("--llm", metavar="SPEC", help="The language model, named in the same way."),
]
VideoOption = Annotated[
    str | None, typer.Option("--video", metavar="NAME", help="Only in this video (name or id).")
]
VideosOption = Annotated[
    list[str] | None,
    typer.Option("--video", metavar="NAME", help="Only in this video (name or id); repeat it."),
]
VideoArgument = Annotated[str, typer.Argument(metavar="VIDEO", help="A video's name or id.")]


@dataclass(frozen=True, slots=True)
class LibraryOptions:
    """The options that every command on a library takes."""

    library: Path
    preset: str | None
    config: Path | None
    as_json: bool
    has_found_config: bool = False
    change: Callable[[Config], Config] | None = None
    more: tuple[Path, ...] = ()  # libraries beside the first, of a command that takes several

    @contextlib.contextmanager
    def opened(self, *, create: bool = False) -> Iterator[Library]:
        """Open the library for one command; stray prints of packages go to standard error."""
        changed: dict[str, Any] = {"change": self.change} if self.change else {}
        with (
            contextlib.redirect_stdout(sys.stderr),
            library_class().open(
                self.library,
                preset=self.preset,
                config=self.config,
                create=create,
                **changed,
            ) as library,
        ):
            yield library

    def settings(self) -> Config:
        """Return the settings that these options mean; builds nothing, loads no model."""
        from fdvs.errors import LibraryMissing

        if self.preset is None and self.config is None:
            with contextlib.suppress(LibraryMissing), self.opened() as library:
                return library.config
        return load_settings(self.preset, self.config)


def library_command(command: Callable[..., R], *, several: bool = False) -> Callable[..., R]:
    """Give a command the options of `LibraryOptions`, which it gets as its argument `options`.

    With `several` libraries the first is `options.library`, the others are `options.more`.
    """
    shared = [
        _parameter("library", LibrariesOption, DEFAULT_LIBRARIES)
        if several
        else _parameter("library", LibraryOption, DEFAULT_LIBRARY),
        _parameter("preset", PresetOption, None),
        _parameter("config", ConfigOption, None),
        _parameter("as_json", JsonOption, False),
    ]
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "options"]

    @functools.wraps(command)
    def with_options(**values: Any) -> R:
        given = {one.name: values.pop(one.name) for one in shared}
        if several:
            given["library"], *more = given["library"]
            given["more"] = tuple(more)
        options = LibraryOptions(**given)
        if options.config is None:
            found = in_library(options.library)
            options = replace(options, config=found, has_found_config=found is not None)
        return command(options=options, **values)

    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*own, *shared)]
    with_options.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]  # read by typer
    with_options.__annotations__ = {one.name: one.annotation for one in parameters}
    return with_options


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def library_class() -> type[Library]:
    """Return the class that opens libraries: the one seam that tests replace."""
    from fdvs.pipelines.library import Library

    return Library


def load_settings(preset: str | None, config: Path | None) -> Config:
    """Return a preset's settings, with those of the YAML file `config` laid over them."""
    from fdvs.pipelines.presets import settings

    return settings(preset, config)


def emit(value: Any) -> None:
    """Print a JSON value as the last line of standard output, non-ASCII as it is."""
    from fdvs.pipelines.results import to_json

    line = to_json(value)
    try:
        line.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # of a terminal that knows fewer characters
        line = json.dumps(value, ensure_ascii=True, allow_nan=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def listed(values: list[str] | None) -> list[str]:
    """Return the names of an option that takes a list with commas and may be repeated."""
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


def report_progress(text: str) -> None:
    """Print one line about a long piece of work on standard error."""
    typer.echo(one_line(text), err=True)
