"""Dataclasses of settings: filled from outside (YAML, JSON), with every value checked.

Cards, settings files and options of models all pass through `fill`; it knows none of them. What a
number may be stands at its field: `Annotated[float, Range(0, 1)]` in a `Checked` dataclass.
"""

from __future__ import annotations

import inspect
import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.excerpts import shortened, shown

T = TypeVar("T")


def fill(
    kind: type[T], values: object, *, where: str, noun: str = "field", base: T | None = None
) -> T:
    """Return an instance of the dataclass `kind` with `values` as its fields.

    Lists become tuples and whole numbers floats where the field's type says so; nothing else is
    converted. Nested dataclasses, mappings, tuples, Literals and Optionals are checked throughout.

    Args:
        where: what the values belong to; errors begin with it (`model card minilm-l6`).
        noun: what an error calls a field (`setting`, `option`).
        base: gives the fields that `values` leaves out; without it their defaults do.

    Raises:
        UnknownName: a key that is no field, with near matches.
        InvalidValue: a value of the wrong type, or one that `kind` itself refuses.
        ConfigError: fields without a default are missing.
    """
    if not isinstance(values, Mapping):
        raise InvalidValue(where, values, f"a mapping of {noun}s")
    hints = get_type_hints(kind)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]  # kind is a dataclass
    filled: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise UnknownName(noun, _name(key), known, where=where)
        inner = None if base is None else getattr(base, key)
        filled[key] = _typed(value, hints[key], f"{where}: {key}", noun, inner)
    if base is None and (missing := [f.name for f in known.values() if _is_missing(f, filled)]):
        raise ConfigError(f"{where}: {noun}s without a default are missing: {', '.join(missing)}")
    try:
        return kind(**filled) if base is None else replace(base, **filled)  # type: ignore[type-var]
    except (ValueError, TypeError) as error:
        reason = shortened(str(error))
        raise InvalidValue(where, dict(values), f"what {kind.__name__} takes ({reason})") from None


def check_range(what: str, value: float | None, low: float, high: float) -> None:
    """Raise InvalidValue unless low <= value <= high, or the value is None (left to others)."""
    if value is not None and not low <= value <= high:
        raise InvalidValue(what, value, f"{low} to {high}")


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be, both ends included."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Settings that are checked when they are created, by the Literals and Ranges of their fields.

    `section` stands before a number's name in errors, where a class has one.
    """

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Raise InvalidValue for the first value that its field does not allow."""
        hints = get_type_hints(type(self), include_extras=True)
        for name, hint in hints.items():
            if get_origin(hint) is Literal and getattr(self, name) not in get_args(hint):
                allowed = ", ".join(map(str, get_args(hint)))
                raise InvalidValue(name, getattr(self, name), allowed)
        for kind in reversed(type(self).__mro__):
            section = vars(kind).get("section", "")
            for name in inspect.get_annotations(kind):
                for mark in getattr(hints[name], "__metadata__", ()):
                    what = f"{section}.{name}" if section else name
                    check_range(what, getattr(self, name), mark.low, mark.high)


def _name(key: object) -> str:
    return key if isinstance(key, str) else shown(key)


def _is_missing(field: Field[Any], filled: Mapping[str, Any]) -> bool:
    has_default = field.default is not MISSING or field.default_factory is not MISSING
    return field.name not in filled and not has_default


def _typed(value: Any, hint: Any, where: str, noun: str, base: Any = None) -> Any:
    """Return `value` as its type hint asks; `base` is the value that a nested one is laid over."""
    kind = get_origin(hint) or hint
    if kind is Any:
        return value
    if kind in (Union, types.UnionType):
        if value is None and type(None) in get_args(hint):
            return None
        (hint,) = (arg for arg in get_args(hint) if arg is not type(None))
        return _typed(value, hint, where, noun, base)
    if isinstance(kind, type) and is_dataclass(kind):
        return fill(kind, value, where=where, noun=noun, base=base)
    if kind is tuple:
        return _tuple(value, get_args(hint)[0], where, noun)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return _mapping(value, get_args(hint), where, noun)
    return _scalar(value, hint, where)


def _tuple(value: Any, item: Any, where: str, noun: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise InvalidValue(where, value, "a list")
    return tuple(_typed(v, item, f"{where}[{at}]", noun) for at, v in enumerate(value))


def _mapping(value: Any, hints: tuple[Any, ...], where: str, noun: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise InvalidValue(where, value, "a mapping")
    key, item = hints
    return {
        _typed(k, key, f"{where}: key", noun): _typed(v, item, f"{where}: {_name(k)}", noun)
        for k, v in value.items()
    }


def _scalar(value: Any, hint: Any, where: str) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidValue(where, value, ", ".join(map(str, get_args(hint))))
        return value
    if hint is float and type(value) is int and abs(value) < 1 << 1000:
        return float(value)
    if hint is float and type(value) is float and not math.isfinite(value):
        raise InvalidValue(where, value, "a finite number")
    if type(value) is hint:
        return value
    raise InvalidValue(where, value, f"a value of type {hint.__name__}")
