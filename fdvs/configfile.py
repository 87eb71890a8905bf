"""Settings from a YAML file, laid over a preset, and from the JSON stored in a library.

In a file, unknown keys and wrong types are errors with near matches; `preset` names the preset that
the file starts from. Stored settings may come from
another version, so what this one does not know is dropped with a warning.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from fdvs.config import RETIRED, Config, field_types, with_retired
from fdvs.errors import ConfigError, InvalidValue
from fdvs.excerpts import shown
from fdvs.typed import fill
from fdvs.types import JsonDict
from fdvs.yamlfile import read_yaml

logger = logging.getLogger(__name__)


def load_config(path: Path, base: Config | Callable[[str], Config]) -> Config:
    """Return the settings of a YAML file laid over `base`. Raises ConfigError.

    Args:
        base: the config to start from, which a `preset` of the file does not replace (the log warns
            of it); or a function that returns the config of the preset that the file names, "" if
            it names none.
    """
    values = read_yaml(path)
    if values is None:
        values = {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: need a mapping of sections, got {type(values).__name__}")
    name = values.pop("preset", "")
    if not isinstance(name, str):
        raise InvalidValue(f"{path}: preset", name, "the name of a preset")
    if callable(base):
        base = base(name)
    elif name not in ("", base.preset):
        logger.warning(
            "%s: its preset %s is not used: %s was asked for", path, shown(name), base.preset
        )
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
        inner = getattr(base, key, None)
        if key in hints and isinstance(value, Mapping) and dataclasses.is_dataclass(inner):
            known[key] = _known(inner, value, f"{name}.")
        elif key not in hints:
            _note_dropped(name, value)
        elif get_origin(hints[key]) is Literal and value not in get_args(hints[key]):
            logger.warning(
                "stored setting %s: %s no longer exists; using the default", name, shown(value)
            )
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
            "stored setting %s: %s was retired; this version behaves as %r",
            name, shown(value), RETIRED[name],
        )  # fmt: skip
