"""Settings from a YAML file, laid over a preset, and from the JSON stored in a library.

In a file, unknown keys and wrong types are errors with near matches. Stored settings may come from
another version, so what this one does not know is dropped with a warning.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml

from fdvs.config import RETIRED, Config, field_types, with_retired
from fdvs.errors import ConfigError
from fdvs.typed import fill
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
    values = _without_retired(values, str(path))
    return fill(Config, values, where=str(path), noun="setting", base=base)


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
    base = Config()
    known = _known(base, values)
    return fill(Config, known, where="stored settings", noun="setting", base=base)


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
