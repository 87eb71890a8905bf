"""Check this machine: what is installed, what can run, what is missing. Prints nothing.

Packages are found by their metadata, without importing them; only torch is imported, to list the
devices. A preset names the models whose real weights the project never ran.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from fdvs.config import Config
from fdvs.errors import FdvsError, how_to_install
from fdvs.models.cards import Card, resolve
from fdvs.pipelines.captioners import AUTO
from fdvs.pipelines.machine import (
    BackendJson,
    HealthJson,
    PackageJson,
    PresetJson,
    ServerJson,
    TriedJson,
)
from fdvs.pipelines.model_set import used_specs
from fdvs.pipelines.requirements import (
    INDEX,
    REQUIREMENTS,
    check_backend,
    missing_packages,
    missing_weights,
)
from fdvs.pipelines.sources import resolve_sources

REAL, NONE = "real weights", "no weights"


def examine(library: Path) -> HealthJson:
    """Return the state of this machine and of the library's folder. Takes seconds (torch)."""
    from fdvs import __version__
    from fdvs.models.weights.manifests import cache_root
    from fdvs.pipelines.presets import PRESETS

    return HealthJson(
        version=__version__,
        python=f"{platform.python_version()} ({sys.executable})",
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        devices=devices(),
        ffmpeg=ffmpeg(),
        cache=str(cache_root()),
        library=library_state(library),
        packages=packages(),
        backends=[*map(check_backend, REQUIREMENTS), *attention_backends()],
        servers=servers(),
        presets=[preset_state(name, make()) for name, make in PRESETS.items()],
    )


def tried(spec: str, config: Config) -> TriedJson:
    """Ask a captioner about one made picture, with the options that the settings give captioners.

    Raises ModelUnavailable where it is not described, UnknownName, ConfigError.
    """
    from fdvs.models.describe.trial import PICTURE, try_captioner
    from fdvs.pipelines.model_set import ModelSet

    perceive = replace(config.perceive, captioner=spec)
    captioner = ModelSet(replace(config, perceive=perceive)).describer("captioner")
    trial = try_captioner(captioner)
    return TriedJson(
        model=captioner.identity.label(), picture=PICTURE, text=trial.text, seconds=trial.seconds,
        line=f"fdvs build FOLDER --captioner {spec}",
    )  # fmt: skip


def servers() -> list[ServerJson]:
    """Return the model servers that answer on the loopback of this machine."""
    from fdvs.models.endpoint.local_servers import local_servers

    return [
        ServerJson(
            dialect=one.dialect, base_url=one.base_url, models=list(one.models),
            seeing=list(one.seeing), line=one.line,
        )
        for one in local_servers()
    ]  # fmt: skip


def packages() -> list[PackageJson]:
    """Return every package that FDVS declares, with its version where installed."""
    declared = importlib.metadata.requires("fdvs") or []
    found = {}
    for text in declared:
        name = re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]
        if name == "fdvs":  # an extra that brings another one
            continue
        extra = re.search(r"extra == ['\"]([^'\"]+)", text)
        key = (name, extra.group(1) if extra else "")
        found[key] = PackageJson(name=name, version=_version(name), extra=key[1])
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0].lower()))]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def attention_backends() -> list[BackendJson]:
    """Return the implementations of the project's own attention (DGA)."""
    try:
        from fdvs.kernels.dga.backends import backends
    except ImportError as error:
        reason = f"{error}; {how_to_install('local')}"
        return [BackendJson(kind="attention", name="dga", runs=False, reason=reason)]
    return [
        BackendJson(kind="attention", name=f"dga {name}", runs=runs, reason=reason)
        for name, (runs, reason) in backends().items()
    ]


def devices() -> list[str]:
    """Return the devices that torch can use, first the one that `device: auto` takes."""
    try:
        import torch

        from fdvs.models.weights.loading import choose_device
    except ImportError:
        from importlib.metadata import version

        return [f"cpu (ONNX Runtime {version('onnxruntime')}; no PyTorch here)"]
    chosen, reason = choose_device("auto")
    found = [f"{chosen} ({reason}): taken by device auto"]
    if chosen != "cpu":
        found.append("cpu")
    found.append(f"torch {torch.__version__}, {torch.get_num_threads()} CPU threads")
    return found


def ffmpeg() -> str:
    """Return path and version of the ffmpeg program in its wheel, or why there is none."""
    try:
        import imageio_ffmpeg

        return f"{imageio_ffmpeg.get_ffmpeg_exe()} ({imageio_ffmpeg.get_ffmpeg_version()})"
    except (ImportError, RuntimeError, OSError) as error:
        return f"none: {' '.join(str(error).split())}; {how_to_install('ffmpeg')}"


def library_state(path: Path) -> str:
    """Return one line about the library in a folder."""
    from fdvs.errors import LibraryMissing
    from fdvs.pipelines.library import Library

    try:
        with Library.open(path, create=False) as library:
            return f"{path}: {len(library.videos())} videos, preset {library.config.preset}"
    except LibraryMissing:
        return f"{path}: no library yet"
    except FdvsError as error:
        return f"{path}: {error}"


def preset_state(name: str, config: Config) -> PresetJson:
    """Return whether a preset's packages and weights are here, and which models never ran."""
    from fdvs.pipelines.presets import PRESETS

    cards, problems = [], []
    resolved = resolve_sources(config).config
    for role, spec in used_specs(resolved).values():
        try:
            cards.append(resolve(spec, role))
        except FdvsError as error:
            problems.append(str(error))
    problems += missing_packages(cards)
    problems += [f"index: {o['reason']}" for o in map(check_backend, INDEX) if not o["runs"]]
    if lacking := missing_weights(cards):
        problems.append(lacking)
    about = (PRESETS[name].__doc__ or "").strip().splitlines()[0]
    if config.perceive.captioner == AUTO:
        about += f" Here: {resolved.perceive.captioner}."
    return PresetJson(
        name=name,
        about=about,
        runs=not problems,
        problems=list(dict.fromkeys(problems)),
        untested=_names(card for card in cards if card.tested not in (REAL, NONE)),
        stand_ins=_names(card for card in cards if card.stand_in),
    )


def _names(cards: Iterable[Card]) -> list[str]:
    return list(dict.fromkeys(card.name for card in cards))
