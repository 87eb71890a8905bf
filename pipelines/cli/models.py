"""Commands about this machine: doctor, models list, models fetch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fdvs.pipelines.cli.options import (
    DEFAULT_LIBRARY,
    ConfigOption,
    JsonOption,
    LibraryOption,
    PresetOption,
    emit,
    settings,
)
from fdvs.text.clean import one_line

models_app = typer.Typer(
    help="List the models that are known, and fetch those of a preset.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(doctor)
    models_app.command("list")(list_models)
    models_app.command("fetch")(fetch_models)
    app.add_typer(models_app, name="models")


def doctor(
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is installed, what runs here, and why not.

    Covers backends, presets, models, devices and the library. With --preset or --config the
    exit code is 1 where those settings cannot run here.
    """
    import contextlib

    from fdvs.pipelines import doctor as facts

    with contextlib.redirect_stdout(sys.stderr):
        health = facts.examine(library)
        asked = None
        if preset or config:
            chosen = settings(library, preset, config)
            asked = facts.preset_state(chosen.preset, chosen)
    if as_json:
        emit({"health": health, "settings": asked})
    else:
        from fdvs.pipelines.show.doctor import show_health, show_preset

        show_health(health)
        if asked:
            show_preset(asked, "these settings")
    raise typer.Exit(1 if asked and not asked.runs else 0)


def list_models(
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every model that FDVS knows: its role, presets, licence, and whether it is here.

    What --preset, --config or the library use is marked.
    """
    from fdvs.models.cards import card_names, load_card
    from fdvs.pipelines.doctor import has_weights, preset_models

    used = {spec for _, spec in preset_models(settings(library, preset, config))}
    rows: list[dict[str, Any]] = []
    for name in card_names():
        card = load_card(name)
        rows.append(
            {
                "name": name,
                "role": card.role,
                "backend": card.backend,
                "presets": list(card.presets),
                "licence": card.licence,
                "tested": card.tested,
                "stand_in": card.stand_in,
                "here": has_weights(card),
                "used": name in used,
                "about": card.about,
            }
        )
    if as_json:
        emit({"models": rows})
        return
    from fdvs.pipelines.show.doctor import show_models

    show_models(rows)


def fetch_models(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Names from `fdvs models list`."),
    ] = None,
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch models: those named, else those of the settings. The only command that downloads."""
    import contextlib

    from fdvs.models.weights.fetch import fetch

    with contextlib.redirect_stdout(sys.stderr):
        if names:
            fetched = fetch(names=names, progress=_say)
        elif preset and not config:
            fetched = fetch(preset, progress=_say)
        else:
            fetched = fetch(names=_specs(library, preset, config), progress=_say)
    if as_json:
        emit({"models": fetched})
        return
    for model in fetched:
        size = f", {model.num_bytes / 1e6:.1f} MB" if model.num_bytes else ""
        at = f" at {model.revision}" if model.revision else ""
        typer.echo(one_line(f"{model.name}: {model.status}{at}{size}"))


def _specs(library: Path, preset: str | None, config: Path | None) -> list[str]:
    from fdvs.pipelines.doctor import preset_models

    return [spec for _, spec in preset_models(settings(library, preset, config))]


def _say(text: str) -> None:
    typer.echo(one_line(text), err=True)
