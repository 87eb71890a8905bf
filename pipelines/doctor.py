"""Check this machine: what is installed, what can run, what is missing. Prints nothing.

Packages are found by their metadata, without importing them; only torch is imported, to list the
devices. A preset names the models whose real weights the project never ran.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fdvs.config import Config
from fdvs.errors import FdvsError, how_to_install
from fdvs.models.cards import Card, resolve
from fdvs.pipelines.model_set import model_specs
from fdvs.pipelines.results import BackendJson, HealthJson, PackageJson, PresetJson

REAL, NONE = "real weights", "no weights"


@dataclass(frozen=True, slots=True)
class Requirement:
    """The modules that a backend imports, and the extra that installs them."""

    kind: str
    name: str
    modules: tuple[str, ...] = ()
    extra: str = ""


REQUIREMENTS = (
    Requirement("reader", "pyav", ("av",)),
    Requirement("reader", "ffmpeg", ("imageio_ffmpeg", "ffmpeg")),
    Requirement("reader", "decord", ("decord",), "decord"),
    Requirement("cut", "keyframes"),
    Requirement("cut", "fixed"),
    Requirement("cut", "scenes", ("scenedetect", "cv2"), "scenes"),
    Requirement("index", "faiss", ("faiss",), "offline"),
    Requirement("image_embedder", "efficientnet", ("timm", "torch"), "offline"),
    Requirement("image_embedder", "open_clip", ("open_clip", "torch"), "laptop"),
    Requirement("text_embedder", "sentence-transformers", ("sentence_transformers",)),
    Requirement("captioner", "tags", ("timm",), "offline"),
    Requirement("captioner", "transformers", ("transformers", "torchvision")),
    Requirement("captioner", "endpoint", ("httpx",)),
    Requirement("source", "subtitles", ("av",)),
    Requirement("source", "faster-whisper", ("faster_whisper",), "speech"),
    Requirement("source", "rapidocr", ("rapidocr_onnxruntime",), "ocr"),
    Requirement("source", "grounding-dino", ("transformers",)),
    Requirement("source", "video-classifier", ("transformers",)),
    Requirement("llm", "transformers", ("transformers", "accelerate"), "offline"),
    Requirement("llm", "endpoint", ("httpx",)),
)


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
        presets=[preset_state(name, make()) for name, make in PRESETS.items()],
    )


def packages() -> list[PackageJson]:
    """Return every package that FDVS declares, with its version where installed."""
    declared = importlib.metadata.requires("fdvs") or []
    found = {}
    for text in declared:
        name = re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]
        extra = re.search(r"extra == ['\"]([^'\"]+)", text)
        key = (name, extra.group(1) if extra else "")
        found[key] = PackageJson(name=name, version=_version(name), extra=key[1])
    return [found[key] for key in sorted(found, key=lambda key: (key[1], key[0].lower()))]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_installed(module: str) -> bool:
    """Whether a top-level module could be imported; it is not imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def check_backend(requirement: Requirement) -> BackendJson:
    """Return whether a backend's packages are installed, and what to install if not."""
    missing = [module for module in requirement.modules if not is_installed(module)]
    if missing:
        how = how_to_install(requirement.extra) if requirement.extra else "install FDVS again"
        reason = f"not installed: {', '.join(missing)}; {how}"
    else:
        reason = f"found {', '.join(requirement.modules)}" if requirement.modules else "built in"
    return BackendJson(
        kind=requirement.kind, name=requirement.name, runs=not missing, reason=reason
    )


def attention_backends() -> list[BackendJson]:
    """Return the implementations of the project's own attention (DGA)."""
    try:
        from fdvs.kernels.dga.backends import backends
    except ImportError as error:
        return [BackendJson(kind="attention", name="dga", runs=False, reason=str(error))]
    return [
        BackendJson(kind="attention", name=f"dga {name}", runs=runs, reason=reason)
        for name, (runs, reason) in backends().items()
    ]


def devices() -> list[str]:
    """Return the devices that torch can use, first the one that `device: auto` takes."""
    try:
        import torch

        from fdvs.models.weights.loading import choose_device
    except ImportError as error:
        return [f"none: torch cannot be imported ({error})"]
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
        return f"none: {' '.join(str(error).split())}"


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
    for role, spec in model_specs(config).values():
        try:
            cards.append(resolve(spec, role))
        except FdvsError as error:
            problems.append(str(error))
    problems += missing_packages(cards)
    if lacking := _names(card for card in cards if not has_weights(card)):
        problems.append(f"weights are not here; run: fdvs models fetch {' '.join(lacking)}")
    return PresetJson(
        name=name,
        about=(PRESETS[name].__doc__ or "").strip().splitlines()[0],
        runs=not problems,
        problems=list(dict.fromkeys(problems)),
        untested=_names(card for card in cards if card.tested not in (REAL, NONE)),
        stand_ins=_names(card for card in cards if card.stand_in),
    )


def _names(cards: Iterable[Card]) -> list[str]:
    return list(dict.fromkeys(card.name for card in cards))


def missing_packages(cards: Iterable[Card]) -> list[str]:
    """Return one line for each model (or the index) whose packages are not installed."""
    users: dict[tuple[str, str], str] = {(card.role, card.backend): card.name for card in cards}
    users["index", "faiss"] = "index"
    backends = map(check_backend, REQUIREMENTS)
    return [
        f"{users[one['kind'], one['name']]}: {one['reason']}"
        for one in backends
        if (one["kind"], one["name"]) in users and not one["runs"]
    ]


def has_weights(card: Card) -> bool:
    """Whether a model's weights are on this machine, or it has none."""
    from fdvs.models.weights.fetch import model_folder, weights_card

    try:
        return weights_card(card) is None or bool(model_folder(card))
    except FdvsError:
        return False
