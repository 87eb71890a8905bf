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
    """Return what a card's file holds. Raises UnknownName, which calls it a `kind`."""
    import yaml

    known = names_of_cards(package)
    if name not in known:
        raise UnknownName(kind, name, known)
    return yaml.safe_load(
        (resources.files(package) / "cards" / f"{name}{SUFFIX}").read_text("utf-8")
    )
