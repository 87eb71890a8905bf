"""Settings from a YAML file, laid over a preset, and from the JSON stored in a library.

In a file, unknown keys and wrong types are errors with near matches. Stored settings may come from
another version, so what this one does not know is dropped with a warning.
"""

from __future__ import annotations

import dataclasses
import logging
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml

from fdvs.config import RETIRED, Config, field_types, with_retired
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.types import JsonDict

MAX_CONFIG_BYTES = 1 << 20

logger = logging.getLogger(__name__)


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
    config: Config = overlay(base, _without_retired(values, str(path)), where=str(path))
    return config


def _without_retired(values: Mapping[str, Any], where: str) -> JsonDict:
    """Return the values of a file without retired settings that ask for what happens anyway."""
    kept = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    for name, behaviour in RETIRED.items():
        section, key = name.split(".")
        settings = kept.get(section)
        if not isinstance(settings, dict) or key not in settings:
            continue
        if settings.pop(key) != behaviour:
            raise ConfigError(
                f"{where}: {name} was retired, the code behaves as {behaviour!r}; remove the line"
            )
        logger.warning("%s: %s was retired and can be removed", where, name)
    return kept


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
    """Return the whole config as JSON, retired settings included: older versions can read it."""
    return {
        name: with_retired(name, value) if dataclasses.is_dataclass(value) else value
        for name, value in ((f.name, getattr(config, f.name)) for f in dataclasses.fields(config))
    }


def config_from_json(values: Mapping[str, Any]) -> Config:
    """Return the config of `config_to_json`, also of one that another version stored.

    Settings and choices that this version does not have are dropped with a warning: a library
    can always be opened. Raises ConfigError where a known setting has a wrong value.
    """
    config: Config = overlay(Config(), _known(Config(), values), where="stored settings")
    return config


def _known(base: Any, stored: Mapping[str, Any], prefix: str = "") -> JsonDict:
    """Return the stored values that `base` has a setting for, section by section."""
    hints = field_types(type(base))
    known: JsonDict = {}
    for key, value in stored.items():
        name = f"{prefix}{key}"
        if key in hints and isinstance(value, Mapping):
            known[key] = _known(getattr(base, key), value, f"{name}.")
        elif key not in hints:
            _note_dropped(name, value)
        elif get_origin(hints[key]) is Literal and value not in get_args(hints[key]):
            logger.warning("stored setting %s: %r no longer exists; using the default", name, value)
        else:
            known[key] = value
    if {"policy", "like"} & (stored.keys() - known.keys()):
        known.pop("floor", None)  # it was chosen for the policy that is gone
    return known


def _note_dropped(name: str, value: Any) -> None:
    if name not in RETIRED:
        logger.warning("stored setting %s is unknown to this version and is ignored", name)
    elif value != RETIRED[name]:
        logger.warning(
            "stored setting %s: %r was retired; this version behaves as %r",
            name, value, RETIRED[name],
        )  # fmt: skip
