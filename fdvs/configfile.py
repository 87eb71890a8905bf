"""Settings from outside: a YAML file over a preset, and the JSON that a library remembers.

Unknown keys and wrong types are errors with near matches; nothing is ignored.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from fdvs.config import Config, field_types
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.types import JsonDict

MAX_CONFIG_BYTES = 1 << 20


def load_config(path: Path, base: Config) -> Config:
    """Return `base` with the values of a YAML file laid over it. Raises ConfigError."""
    try:
        size_bytes = path.stat().st_size
        if size_bytes > MAX_CONFIG_BYTES:
            raise ConfigError(
                f"{path}: {size_bytes} bytes; a config has at most {MAX_CONFIG_BYTES}"
            )
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return base
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: need a mapping of sections, got {type(values).__name__}")
    config: Config = overlay(base, values, where=str(path))
    return config


def overlay(base: Any, values: Mapping[str, Any], *, where: str) -> Any:
    """Return the dataclass `base` with `values` laid over it, section by section."""
    hints = field_types(type(base))
    changes: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            raise UnknownName("setting", str(key), hints, where=where)
        current = getattr(base, key)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise InvalidValue(f"{where}: {key}", value, "a mapping of settings")
            changes[key] = overlay(current, value, where=f"{where}: {key}")
        else:
            changes[key] = _convert(value, hints[key], f"{where}: {key}")
    return dataclasses.replace(base, **changes)


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Return a scalar or tuple of the hinted type; YAML's ints may stand for floats."""
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise InvalidValue(where, value, "a list")
        return tuple(_convert(item, get_args(hint)[0], where) for item in value)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise InvalidValue(where, value, ", ".join(map(str, get_args(hint))))
        return value
    if get_origin(hint) in (Union, types.UnionType):
        raise ConfigError(f"{where}: cannot be set from a file")
    return _scalar(value, hint, where)


def _scalar(value: Any, hint: type, where: str) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if type(value) is hint:
        return value
    raise InvalidValue(where, value, f"a value of type {hint.__name__}")


def config_to_json(config: Config) -> JsonDict:
    """Return the whole config as plain JSON values."""
    return dataclasses.asdict(config)


def config_from_json(values: Mapping[str, Any]) -> Config:
    """Return the config of `config_to_json`. Raises ConfigError where it does not fit."""
    config: Config = overlay(Config(), values, where="stored settings")
    return config
