"""`fdvs`: the command line. Parses, calls the library, prints; no logic of its own.

Exit codes: 0 all done; 1 some videos failed, nothing to build, or the library or a model failed
at work; 2 usage: unknown option, missing path, video, library or model, wrong setting; 70 a bug,
with a traceback; 130 interrupted, 143 terminated; 141 the reader of standard output went away.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fdvs import __version__
from fdvs.errors import (
    ConfigError,
    DataError,
    FdvsError,
    LibraryMissing,
    MediaError,
    ModelUnavailable,
    NotFound,
)
from fdvs.pipelines.cli import ask, build, evaluate, export, merge, models, read, serve, signals
from fdvs.pipelines.cli.options import emit
from fdvs.text.clean import one_line

EXIT_FAILED, EXIT_USAGE, EXIT_BUG, EXIT_INTERRUPTED, EXIT_PIPE = 1, 2, 70, 130, 141
USAGE_ERRORS = (ConfigError, DataError, NotFound, LibraryMissing, MediaError, ModelUnavailable)
INTERRUPTED = "interrupted: finished work is kept; run the same command again to resume"

ABOUT = "Turn folders of long videos into stories that you can search, cite and question."

app = typer.Typer(
    name="fdvs",
    help=ABOUT,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 some failed or nothing to build, 2 usage, 130 interrupted.",
)
for commands in (build, merge, read, ask, serve, export, evaluate, models):
    commands.register(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fdvs {__version__}")
        raise typer.Exit


@app.callback(help=ABOUT)
def root(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Log each stage to standard error.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Set up logging; every command runs after this."""
    _quiet_packages(verbose)
    import logging  # not for --help

    from fdvs.pipelines.log_lines import log_to

    log_to(sys.stderr, logging.INFO if verbose else logging.WARNING)


def _quiet_packages(verbose: bool) -> None:
    """Keep other packages' progress bars and chatter out of the output."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if not verbose:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("TQDM_DISABLE", "1")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit the process."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run the command line and return its exit code; an error becomes one line (and JSON)."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    as_json = "--json" in argv
    try:
        code = _guarded(argv, as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # Python would complain again when it flushes at exit: give it somewhere to flush to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE
    return code


def _guarded(argv: list[str], as_json: bool) -> int:
    try:
        code = app(argv, prog_name="fdvs", standalone_mode=False)
    except BrokenPipeError:
        raise
    except SystemExit as stop:  # the parser exits by itself only at a closed pipe
        raise BrokenPipeError from stop
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except FdvsError as error:
        wrong = isinstance(error, USAGE_ERRORS)
        return _fail(str(error), EXIT_USAGE if wrong else EXIT_FAILED, as_json)
    except Exception as error:
        if hasattr(error, "format_message"):  # what the parser raises, in any of its versions
            return _usage(error, as_json)
        from fdvs.pipelines.log_lines import print_traceback

        print_traceback(error)
        return _fail(f"bug: {type(error).__name__}: {error}", EXIT_BUG, as_json)
    if code == EXIT_INTERRUPTED:
        return _fail(INTERRUPTED, signals.exit_code(EXIT_INTERRUPTED), as_json)
    return code if isinstance(code, int) else 0


def _usage(error: Exception, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(context.get_help() if context else str(error), err=True)
        return EXIT_USAGE
    command = context.command_path if context is not None else "fdvs"
    message = error.format_message()  # type: ignore[attr-defined]  # checked by the caller
    return _fail(f"{message} See: {command} --help", EXIT_USAGE, as_json)


def _fail(message: str, code: int, as_json: bool) -> int:
    typer.echo(f"fdvs: {one_line(message)}", err=True)
    if as_json:
        from fdvs.pipelines.results import error_json

        emit(error_json(one_line(message), code))
    return code
