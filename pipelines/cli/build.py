"""Commands that change a library: build, remove."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Annotated

import typer

from fdvs.pipelines.cli.options import (
    DEFAULT_LIBRARY,
    ConfigOption,
    JsonOption,
    LibraryOption,
    PresetOption,
    emit,
    opened,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(build)
    app.command()(remove)


def build(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Folders (walked recursively), files, or quoted patterns such as 'films/*.mp4'.",
        ),
    ],
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    wait: Annotated[
        bool, typer.Option(help="Wait while another build works on the library, or give up.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Build stories of videos, or go on where a build stopped.

    What is done is not redone. Ends with what became of every file and what redundancy
    reduction saved. A bad video is a failed row with its reason; the others are built.
    """
    from fdvs.media.collect import collect
    from fdvs.pipelines.show.progress import watching

    collect(paths)  # a mistyped path must not leave an empty library behind
    with (
        saying_so_when_interrupted(),
        opened(library, preset, config, create=True) as opened_library,
        watching(is_quiet=as_json) as watch,
    ):
        report = opened_library.build(paths, progress=watch, wait=wait)
    if as_json:
        from fdvs.pipelines.results import build_json

        emit(build_json(report, library))
    else:
        from fdvs.pipelines.show.build import show_report

        show_report(report, library)
    raise typer.Exit(report.exit_code)


@contextlib.contextmanager
def saying_so_when_interrupted() -> Iterator[None]:
    """On Ctrl-C say at once that it was heard: stages in flight may take seconds to stop."""

    def heard(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        sys.stderr.write("\nfdvs: stopping; what is finished is kept\n")
        sys.stderr.flush()
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    # Ignored (a job in the background) stays ignored; only the main thread may set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    if before is not signal.default_int_handler or not is_main:
        yield
        return
    signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def remove(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video's name or id.")],
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Forget a video. The file itself is not touched."""
    from fdvs.text.clean import one_line

    with opened(library, preset, config) as opened_library:
        row = opened_library.remove(video)
    if as_json:
        emit({"removed": row})
    else:
        typer.echo(f"removed {one_line(row.name)} ({row.num_clips} clips); the file stays")
