"""Commands about this machine: doctor, models list, models fetch."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from fdvs.pipelines.cli.options import LibraryOptions, emit, library_command, report_progress
from fdvs.text.clean import one_line

models_app = typer.Typer(
    help="List the models that FDVS knows, and fetch those that you need.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(doctor)
    models_app.command("list")(list_models)
    models_app.command("fetch")(fetch_models)
    app.add_typer(models_app, name="models")


@library_command
def doctor(
    options: LibraryOptions,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Only this: keep what is sound of a damaged library."),
    ] = False,
    tried: Annotated[
        str,
        typer.Option(
            "--try",
            metavar="MODEL",
            help="Only this: ask a captioner about one made picture, such as ollama:NAME.",
        ),
    ] = "",
) -> None:
    """Check this machine: what is installed, what runs, what is missing.

    Covers packages, backends, presets, models, devices and the library. With --preset or
    --config the exit code is 1 if those settings cannot run here.
    """
    if repair:
        _repair(options)
        return
    if tried:
        _try(options, tried)
        return
    from fdvs.pipelines.doctor import examine, preset_state

    with contextlib.redirect_stdout(sys.stderr):
        health = examine(options.library)
        state = None
        if options.preset or options.config:
            chosen = options.settings()
            state = preset_state(chosen.preset, chosen)
    if options.as_json:
        emit({"health": health, "settings": state})
    else:
        from fdvs.pipelines.show.doctor import show_health, show_preset

        show_health(health)
        if state:
            show_preset(state, "these settings")
    raise typer.Exit(1 if state and not state["runs"] else 0)


def _try(options: LibraryOptions, spec: str) -> None:
    from fdvs.pipelines.doctor import tried

    with contextlib.redirect_stdout(sys.stderr):
        found = tried(spec, options.settings())
    if options.as_json:
        emit(found)
        return
    from fdvs.pipelines.show.doctor import show_tried

    show_tried(found)


def _repair(options: LibraryOptions) -> None:
    from fdvs.pipelines.results import repaired_json
    from fdvs.store.repair import repair

    done = repaired_json(repair(options.library))
    if options.as_json:
        emit(done)
        return
    lost = f"{done['num_rows_dropped']} damaged results are left out, and what cannot be read"
    if done["num_videos"] and not done["num_rows"]:
        lost = "the beginning of the results' table is damaged, so none can be reached"
    typer.echo(
        f"kept {done['num_videos']} videos, {done['num_files']} files, {done['num_rows']} results; "
        f"{lost}\n"
        + one_line(f"the old file stays: {done['old_file']}")
        + "\nnext    run fdvs build on the same folders: what is missing is made again"
    )


@library_command
def list_models(options: LibraryOptions) -> None:
    """List every model: role, presets, licence, and whether it is here.

    A star marks the models that --preset, --config or the library use.
    """
    from fdvs.models.cards import card_names, load_card
    from fdvs.pipelines.requirements import has_weights
    from fdvs.pipelines.results import model_json

    used = _used_models(options)
    cards = [load_card(name) for name in card_names()]
    rows = [model_json(card, here=has_weights(card), used=card.name in used) for card in cards]
    if options.as_json:
        emit({"models": rows})
        return
    from fdvs.pipelines.show.doctor import show_models

    show_models(rows)


@library_command
def fetch_models(
    options: LibraryOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Names from `fdvs models list`, or speech, ocr."),
    ] = None,
) -> None:
    """Fetch the named models, or those of the settings. Only this and build --fetch download."""
    from fdvs.models.weights.fetch import fetch
    from fdvs.pipelines.sources import preferred_card

    with contextlib.redirect_stdout(sys.stderr):
        wanted = [preferred_card(name) for name in names or _used_models(options)]
        fetched = fetch(names=wanted, progress=report_progress)
    if options.as_json:
        from fdvs.pipelines.results import fetched_json

        emit({"models": [fetched_json(model) for model in fetched]})
        return
    for model in fetched:
        size = f", {model.num_bytes / 1e6:.1f} MB" if model.num_bytes else ""
        at = f" at {model.revision}" if model.revision else ""
        typer.echo(one_line(f"{model.name}: {model.status}{at}{size}"))


def _used_models(options: LibraryOptions) -> list[str]:
    from fdvs.pipelines.model_set import used_specs
    from fdvs.pipelines.sources import resolve_sources

    config = resolve_sources(options.settings()).config
    return [spec for _, spec in used_specs(config).values()]
