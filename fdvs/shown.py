"""How results look in a notebook: a shower by the result's type, registered by who knows how.

The types of results lie below everything that could format them (`fdvs.pipelines.notebook`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_showers: dict[str, Callable[[Any], str]] = {}


def show_as(type_name: str, shower: Callable[[Any], str]) -> None:
    """Let results of a type be shown by a function that returns HTML."""
    _showers[type_name] = shower


def html_of(result: object) -> str | None:
    """Return a result as HTML, None where nothing shows its type: notebooks then print it."""
    shower = _showers.get(type(result).__name__)
    return None if shower is None else shower(result)
