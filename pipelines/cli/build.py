"""Commands that change a library: build, remove."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from fdvs.errors import InvalidValue
from fdvs.pipelines.cli.found import beside_videos
from fdvs.pipelines.cli.options import (
    CaptionerOption,
    LibraryOptions,
    LlmOption,
    VideoArgument,
    emit,
    library_command,
    listed,
    report_progress,
)

if TYPE_CHECKING:
    from fdvs.config import Config
    from fdvs.report import BuildEvent, BuildReport


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(build)
    app.command()(remove)


@library_command
def build(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Folders (searched recursively), files, or quoted patterns ('films/*.mp4').",
        ),
    ],
    options: LibraryOptions,
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--with",
            metavar="SOURCES",
            help="Also read these: speech, ocr, subtitles (with commas), or a name of models list.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="SOURCES", help="Do not read these."),
    ] = None,
    lang: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="The language of speech and subtitles, such as de; '' finds it out.",
        ),
    ] = None,
    include: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATTERN", help="Of folders only these: '*.mp4', 'talks/*'; repeat it."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Of folders not these, in the same way."),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Forget videos of these folders whose files are gone."),
    ] = False,
    captioner: CaptionerOption = None,
    llm: LlmOption = None,
    fetch: Annotated[
        bool,
        typer.Option("--fetch", help="First fetch the models of the settings that are not here."),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also show what redundancy reduction saved, and the models."
        ),
    ] = False,
    wait: Annotated[
        bool, typer.Option(help="Wait while another build uses the library, or give up at once.")
    ] = True,
    engine: Annotated[
        str | None,
        typer.Option(metavar="ENGINE", help="ray: build with workers, also on other machines."),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS", help="Of a Ray cluster; without it, workers run on this machine."
        ),
    ] = "",
    workers: Annotated[
        int, typer.Option(metavar="N", help="Workers; 0 for as many as the cluster has room for.")
    ] = 0,
    num_cpus_per_worker: Annotated[
        float, typer.Option(metavar="N", help="Cores of a worker.")
    ] = 2.0,
    num_gpus_per_worker: Annotated[
        float, typer.Option(metavar="N", help="GPUs of a worker; may be a part, such as 0.5.")
    ] = 0.0,
    events: Annotated[
        bool,
        typer.Option(
            "--events", help="Print every step as a line of JSON, the report last, for programs."
        ),
    ] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Stay, and build what appears in the folders once it has stopped growing; stop "
            "with Ctrl-C.",
        ),
    ] = False,
) -> None:
    """Build the stories of videos, or resume an interrupted build.

    Finished work is not repeated. Subtitles are always read, speech and text on screen wherever
    their packages and models are installed; --with, --without and --lang change that and are
    remembered for the library. A video that cannot be read is reported as failed, with the
    reason; the others are still built.
    """
    from fdvs.media.files import collect
    from fdvs.pipelines.show.progress import watching
    from fdvs.pipelines.sources import change_models, change_sources

    if watch and prune:
        raise typer.BadParameter("--watch forgets nothing: use --prune without it.")
    if options.config is None and options.preset is None:
        found = beside_videos(paths)
        options = replace(options, config=found, has_found_config=found is not None)
    if options.has_found_config:
        from fdvs.text.plain import plain_line

        typer.echo(plain_line(f"settings: {options.config}"), err=True)
    if add or drop or lang is not None or captioner or llm:

        def change(config: Config) -> Config:
            config = change_sources(config, add=listed(add), drop=listed(drop), language=lang)
            return change_models(config, captioner=captioner, llm=llm)

        options = replace(options, change=change)
    patterns = {"include": listed(include), "exclude": listed(exclude)}
    chosen: dict[str, Any] = {name: found for name, found in patterns.items() if found}
    collect(paths, **chosen)  # a mistyped path must not leave an empty library behind
    if fetch:
        _fetch_missing(options)
    by_engine = _engine(engine, address, workers, num_cpus_per_worker, num_gpus_per_worker)
    out = sys.stdout  # before what packages print is sent elsewhere
    told = partial(_tell, options=options, events=events, verbose=verbose)
    appearing = _appearing(paths, chosen) if watch else ()
    with acknowledged_interrupt(), options.opened(create=True) as library:

        def build_now(paths: Sequence[str | Path], **how: Any) -> BuildReport:
            with watching(is_quiet=options.as_json or events) as shown:
                watcher = partial(_print_event, out) if events else shown
                return library.build(paths, progress=watcher, wait=wait, **by_engine, **how)

        for files in appearing:  # until it is interrupted
            report = build_now(files)
            with contextlib.redirect_stdout(out):
                told(report)
        report = build_now(paths, **chosen, **({"prune": True} if prune else {}))
    told(report)
    raise typer.Exit(report.exit_code)


def _appearing(folders: Sequence[str], patterns: dict[str, Any]) -> Iterator[list[Path]]:
    """Yield the files of folders that are there and that appear, when they are complete."""
    from fdvs.pipelines.watching import STEADY_S, settled

    report_progress(
        f"watching {', '.join(folders)}: a file is built when it has not changed for "
        f"{STEADY_S:g} s; stop with Ctrl-C"
    )
    return settled(folders, **patterns)


def _tell(report: BuildReport, *, options: LibraryOptions, events: bool, verbose: bool) -> None:
    """Print what a build did."""
    from fdvs.pipelines.results import build_json

    if events:
        emit({"kind": "report", "report": build_json(report, options.library)})
    elif options.as_json:
        emit(build_json(report, options.library))
    else:
        from fdvs.pipelines.show.build import show_report

        show_report(report, options.library, with_savings=verbose)


def _fetch_missing(options: LibraryOptions) -> None:
    """Fetch the models that the settings use and this machine lacks."""
    from fdvs.models.weights.fetch import fetch
    from fdvs.pipelines.cli.options import report_progress
    from fdvs.pipelines.model_set import used_cards
    from fdvs.pipelines.requirements import has_weights

    config = options.settings()
    config = options.change(config) if options.change else config
    names = [card.name for card in used_cards(config) if not has_weights(card)]
    with contextlib.redirect_stdout(sys.stderr):
        fetch(names=names, progress=report_progress)


def _engine(
    name: str | None, address: str, workers: int, num_cpus: float, num_gpus: float
) -> dict[str, Any]:
    """Return what a build is given for `--engine`."""
    if name is None:
        if address or workers:
            raise InvalidValue("--engine", None, "ray, with --address or --workers")
        return {}
    if name != "ray":
        raise InvalidValue("--engine", name, "ray; without it, this process builds")
    from fdvs.pipelines.cluster.engine import RayEngine

    made = RayEngine(
        address=address,
        num_workers=workers,
        num_cpus_per_worker=num_cpus,
        num_gpus_per_worker=num_gpus,
    )
    return {"engine": made}


def _print_event(out: TextIO, event: BuildEvent) -> None:
    """Print a step as one line of JSON."""
    from fdvs.pipelines.results import to_json

    out.write(to_json(asdict(event)) + "\n")
    out.flush()


@contextlib.contextmanager
def acknowledged_interrupt() -> Iterator[None]:
    """On Ctrl-C say so at once, since stages in flight may take seconds to stop."""

    def acknowledge(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, before)
        sys.stderr.write("\nfdvs: stopping; finished work is kept\n")
        sys.stderr.flush()
        if callable(before):
            before(number, frame)

    before = signal.getsignal(signal.SIGINT)
    # Ignored (a job in the background) stays ignored; only the main thread may set handlers.
    is_main = threading.current_thread() is threading.main_thread()
    if before is signal.SIG_IGN or not callable(before) or not is_main:
        yield
        return
    signal.signal(signal.SIGINT, acknowledge)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@library_command
def remove(video: VideoArgument, options: LibraryOptions) -> None:
    """Remove a video from the library. The file itself is not touched."""
    with options.opened() as library:
        row = library.remove(video)
    if options.as_json:
        from fdvs.pipelines.results import row_json

        emit({"removed": row_json(row)})
    else:
        from fdvs.text.plain import plain_line

        typer.echo(f"removed {plain_line(row.name)} ({row.num_clips} clips); the file stays")
