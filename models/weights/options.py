"""A backend's options: from a card's mapping to a frozen dataclass, every value checked.

Each backend declares its options as a dataclass; an option that it does not have, or one of the
wrong type, is an error before any weights are loaded.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from fdvs.errors import InvalidValue, UnknownName
from fdvs.models.cards import Card

T = TypeVar("T")


def options_from(card: Card, kind: type[T], *, shared: tuple[str, ...] = ()) -> T:
    """Return a card's options as `kind` (a dataclass). `shared` are keys that others read.

    Raises UnknownName for an option that `kind` lacks and InvalidValue for a wrong type.
    """
    where = f"options of model {card.name}"
    own = {key: value for key, value in card.options.items() if key not in shared}
    return _build(own, kind, where)


def _build(values: Mapping[str, Any], kind: type[T], where: str) -> T:
    hints = get_type_hints(kind)
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]  # kind is a dataclass
    for key in values:
        if key not in known:
            raise UnknownName("option", key, known, where=where)
    return kind(**{key: _checked(f"{where}: {key}", v, hints[key]) for key, v in values.items()})


def _checked(what: str, value: Any, hint: Any) -> Any:
    """Return the value as its hint wants it: int passes as float, a list becomes a tuple."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        hint = next(arg for arg in get_args(hint) if arg is not type(None))
    if get_origin(hint) is tuple:
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise InvalidValue(what, value, "a list of texts")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not hint:
        raise InvalidValue(what, value, f"one {hint.__name__}")
    return value


def check_range(what: str, value: float, low: float, high: float) -> None:
    """Raise InvalidValue unless low <= value <= high."""
    if not low <= value <= high:
        raise InvalidValue(what, value, f"{low} to {high}")
