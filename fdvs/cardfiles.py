"""Cards: one YAML file a thing in a package's folder `cards/`; the file's stem is its name."""

from __future__ import annotations

from importlib import resources
from typing import Any

from fdvs.errors import UnknownName

SUFFIX = ".yaml"


def names_of_cards(package: str) -> list[str]:
    """Return the names of all cards of a package, sorted."""
    folder = resources.files(package) / "cards"
    return sorted(p.name.removesuffix(SUFFIX) for p in folder.iterdir() if p.name.endswith(SUFFIX))


def read_card(package: str, name: str, *, kind: str) -> Any:
    """Return what a card's file holds.

    Raises UnknownName, which calls it a `kind`, and ConfigError for a file that is not plain YAML.
    """
    from fdvs.yamlfile import parse_yaml

    known = names_of_cards(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    file = resources.files(package) / "cards" / f"{name}{SUFFIX}"
    return parse_yaml(file.read_bytes(), where=f"{kind} card {name}")
