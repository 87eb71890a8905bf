"""What each backend needs: packages, found without importing them, and weights on this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass

from fdvs.errors import FdvsError, how_to_install
from fdvs.models.cards import Card
from fdvs.pipelines.machine import BackendJson


@dataclass(frozen=True, slots=True)
class Requirement:
    """The modules that a backend imports, and the extra that installs them."""

    kind: str
    name: str
    modules: tuple[str, ...] = ()
    extra: str = ""


VISION = ("transformers", "torchvision", "accelerate")
REQUIREMENTS = (
    Requirement("reader", "pyav", ("av",)),
    Requirement("reader", "ffmpeg", ("imageio_ffmpeg", "ffmpeg"), "ffmpeg"),
    Requirement("reader", "decord", ("decord",), "decord"),
    Requirement("cut", "keyframes"),
    Requirement("cut", "fixed"),
    Requirement("cut", "scenes", ("scenedetect", "cv2"), "scenes"),
    Requirement("index", "exact", ("numpy",)),
    Requirement("image_embedder", "efficientnet", ("onnxruntime",)),
    Requirement("image_embedder", "open_clip", ("open_clip", "torch"), "laptop"),
    Requirement("text_embedder", "minilm-l6", ("onnxruntime", "tokenizers")),
    Requirement("text_embedder", "sentence-transformers", ("sentence_transformers",), "local"),
    Requirement("captioner", "tags", ("onnxruntime",)),
    Requirement("captioner", "transformers", VISION, "local"),
    Requirement("captioner", "smolvlm2-500m-video", (*VISION, "num2words"), "laptop"),
    Requirement("captioner", "endpoint", ("httpx",)),
    Requirement("source", "subtitles", ("av",)),
    Requirement("source", "faster-whisper", ("faster_whisper",), "speech"),
    Requirement("source", "rapidocr", ("rapidocr_onnxruntime",), "ocr"),
    Requirement("source", "grounding-dino", VISION, "local"),
    Requirement("source", "video-classifier", VISION, "local"),
    Requirement("llm", "transformers", ("transformers", "accelerate"), "local"),
    Requirement("llm", "captioner", VISION, "local"),
    Requirement("llm", "endpoint", ("httpx",)),
)
INDEX = tuple(one for one in REQUIREMENTS if one.kind == "index")


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
        reason = f"not installed: {', '.join(missing)}; {how_to_install(requirement.extra)}"
    else:
        reason = f"found {', '.join(requirement.modules)}" if requirement.modules else "built in"
    return BackendJson(
        kind=requirement.kind, name=requirement.name, runs=not missing, reason=reason
    )


def missing_packages(cards: Iterable[Card]) -> list[str]:
    """Return one line for each model whose packages are not installed."""
    users = {(str(card.role), _needed_by(card)): card.name for card in cards}
    backends = map(check_backend, REQUIREMENTS)
    return [
        f"{users[one['kind'], one['name']]}: {one['reason']}"
        for one in backends
        if (one["kind"], one["name"]) in users and not one["runs"]
    ]


def _needed_by(card: Card) -> str:
    """Return the name of a card's requirement: its own where it has one, else its backend's."""
    known = {(one.kind, one.name) for one in REQUIREMENTS}
    return card.name if (str(card.role), card.name) in known else card.backend


def missing_weights(cards: Iterable[Card]) -> str:
    """Return which models' weights are not on this machine, their sizes and one command for all; ""
    where none is missing."""
    lacking = {card.name: card for card in map(_owner, cards) if not has_weights(card)}
    if not lacking:
        return ""
    from fdvs.models.weights.hub import size_text

    told = [
        f"{card.name} ({size_text(card.size_mb * 1_000_000)})" if card.size_mb else card.name
        for card in lacking.values()
    ]
    total = sum(card.size_mb for card in lacking.values())
    in_all = f", {size_text(total * 1_000_000)} in all" if total and len(told) > 1 else ""
    are = "the weights of one model are" if len(told) == 1 else f"{len(told)} models' weights are"
    return (
        f"{are} not on this machine: {', '.join(told)}{in_all}; run: fdvs models fetch "
        f"{' '.join(lacking)}"
    )


def _owner(card: Card) -> Card:
    """Return the card whose weights a card uses, which is the one to fetch."""
    from fdvs.models.weights.fetch import weights_card

    return weights_card(card) or card


def has_weights(card: Card) -> bool:
    """Whether a model's weights are on this machine, or it has none."""
    from fdvs.models.weights.fetch import model_folder, weights_card

    try:
        return weights_card(card) is None or bool(model_folder(card))
    except FdvsError:
        return False
