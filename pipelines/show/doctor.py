"""The tables of `fdvs doctor` and `fdvs models list`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from fdvs.pipelines.doctor import NONE, REAL
from fdvs.pipelines.machine import BackendJson, HealthJson, ModelJson, PresetJson, TriedJson
from fdvs.pipelines.show.tables import BAD, FAINT, HEAD, SCORE, console, line, new_table, show_table
from fdvs.text.clean import one_line

NEVER_RAN = "real weights never run by the project"
RAN = {REAL: "yes", NONE: "-"}


def show_health(health: HealthJson) -> None:
    """Print versions, backends, presets and packages, each with its reason."""
    out = console()
    for label, value in _facts(health):
        line(out, (f"{label:<9}", HEAD), one_line(value))
    _heading(out, "Backends")
    for backend in health["backends"]:
        _show_backend(out, backend)
    if health["servers"]:
        _heading(out, "Model servers on this machine")
    for server in health["servers"]:
        names = ", ".join(server["seeing"] or server["models"][:5]) or "no model"
        sees = "can see" if server["seeing"] else "none that is known to see"
        line(out, _mark(True), f"{server['dialect']}  ", (f"{sees}: {one_line(names)}", FAINT))
        if server["line"]:
            line(out, "         ", one_line(server["line"]))
    _heading(out, "Presets")
    for preset in health["presets"]:
        show_preset(preset, preset["name"])
    _heading(out, "Packages")
    _show_packages(out, health)


def show_tried(tried: TriedJson) -> None:
    """Print what a captioner said of the made picture."""
    out = console()
    facts = {
        "model": tried["model"],
        "picture": f"{tried['picture']}, made for this test",
        "reply": tried["text"],
        "took": f"{tried['seconds']:.2f} s; the first time a server may load the model, too",
        "next": tried["line"],
    }
    for label, value in facts.items():
        line(out, (f"{label:<9}", HEAD), one_line(value))


def _facts(health: HealthJson) -> list[tuple[str, str]]:
    return [
        ("fdvs", health["version"]),
        ("python", health["python"]),
        ("system", health["system"]),
        *(("device", device) for device in health["devices"]),
        ("ffmpeg", health["ffmpeg"]),
        ("models", health["cache"]),
        ("library", health["library"]),
    ]


def _heading(out: Console, text: str) -> None:
    out.print()
    line(out, (text, HEAD))


def _mark(runs: bool) -> tuple[str, str]:
    return ("  yes  ", SCORE) if runs else ("  no   ", BAD)


def _show_backend(out: Console, backend: BackendJson) -> None:
    name = f"{backend['kind'].replace('_', ' ')} {backend['name']}"
    line(out, _mark(backend["runs"]), f"{name:<38}", (f" {one_line(backend['reason'])}", FAINT))


def show_preset(preset: PresetJson, title: str) -> None:
    """Print whether a preset runs here, why not, and which of its models the project never ran."""
    out = console()
    line(out, _mark(preset["runs"]), (f"{title}  ", HEAD), (one_line(preset["about"]), FAINT))
    for problem in preset["problems"]:
        line(out, "         ", one_line(problem))
    if preset["stand_ins"]:
        line(out, (f"         offline stand-ins: {', '.join(preset['stand_ins'])}", FAINT))
    if preset["untested"]:
        line(out, (f"         {NEVER_RAN}: {', '.join(preset['untested'])}", FAINT))


def _show_packages(out: Console, health: HealthJson) -> None:
    by_extra: dict[str, list[str]] = {}
    for package in health["packages"]:
        shown = f"{package['name']} {package['version'] or 'missing'}"
        by_extra.setdefault(package["extra"] or "always", []).append(shown)
    for extra, names in by_extra.items():
        line(out, (f"  {extra:<9}", HEAD), (", ".join(names), FAINT))


def show_models(rows: Sequence[ModelJson]) -> None:
    """Print the table of models; `*` marks what the settings use."""
    out = console()
    table = new_table(("model", "role", "presets", "here", "ran", "licence"))
    for row in rows:
        table.add_row(
            Text(f"{row['name']}{' *' if row['used'] else ''}"),
            Text(row["role"].replace("_", " ") + (" (stand-in)" if row["stand_in"] else "")),
            Text(", ".join(row["presets"]) or "-"),
            Text("yes" if row["here"] else "no", style=SCORE if row["here"] else FAINT),
            Text(RAN.get(row["tested"], "never")),
            Text(row["licence"]),
        )
    show_table(out, table)
    line(out, ("* used by these settings; fetch with: fdvs models fetch MODEL", FAINT))
    line(out, (f"never: {NEVER_RAN}; the code ran on tiny random checkpoints", FAINT))
