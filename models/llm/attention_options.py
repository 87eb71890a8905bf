"""A card's own settings of grouped attention: where a model's layers or heads were measured.

    options:
      attention:
        default: {window: 512}                     # over the model-independent default
        layers:
          0-17: {importance_rate: 0.0}             # over `default`, for these layers
          23: [{importance_rate: 0.5}, {}, {}]     # one for each key head

Takes the mapping of a card, gives `DGAConfig`s; every key and value is checked.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue, UnknownName
from fdvs.kernels.dga import DGAConfig, LayerConfig
from fdvs.kernels.dga.plan import read_plan
from fdvs.models.cards import Card
from fdvs.models.llm.attention import DEFAULT

OPTION = "attention"
LAYERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """Settings of a model, and of its layers that differ, by index."""

    config: DGAConfig = DEFAULT
    layers: Mapping[int, LayerConfig] = field(default_factory=dict)


def attention_options(card: Card) -> AttentionOptions:
    """Return what a card says about grouped attention; the default where it says nothing.

    Raises UnknownName for a key that there is not and InvalidValue for a value that cannot be.
    """
    told, where = _mapping(card.options.get(OPTION, {}), f"{OPTION} of model {card.name}")
    for key in told:
        if key not in ("default", "layers"):
            raise UnknownName("option", str(key), ("default", "layers"), where=where)
    config = _config(told.get("default", {}), DEFAULT, f"{where}: default")
    layers: dict[int, LayerConfig] = {}
    by_range, _ = _mapping(told.get("layers", {}), f"{where}: layers")
    for key, values in by_range.items():
        own = _layer(values, config, f"{where}: layers {key}")
        layers |= dict.fromkeys(_range(key, where), own)
    return AttentionOptions(config=config, layers=layers)


def options_of_plan(path: Path) -> AttentionOptions:
    """Return the settings by key head of a plan (scripts/plan_attention.py).

    Texts are exact up to the same length as without a plan. Raises InvalidValue for a file that is
    no plan.
    """
    try:
        plan = read_plan(path)
    except ValueError as error:
        raise InvalidValue("ask.attention_plan", str(path), f"a plan ({error})") from None
    return AttentionOptions(layers=plan.layer_configs(dense_threshold=DEFAULT.dense_threshold))


def _mapping(value: Any, where: str) -> tuple[Mapping[Any, Any], str]:
    if not isinstance(value, Mapping):
        raise InvalidValue(where, value, "a mapping")
    return value, where


def _range(key: Any, where: str) -> range:
    found = LAYERS.fullmatch(str(key))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise InvalidValue(f"{where}: layers", key, "a layer (4) or a range of them (18-23)")
    return range(first, last + 1)


def _layer(values: Any, base: DGAConfig, where: str) -> LayerConfig:
    if isinstance(values, (list, tuple)):
        return tuple(_config(one, base, where) for one in values)
    return _config(values, base, where)


def _config(values: Any, base: DGAConfig, where: str) -> DGAConfig:
    told, _ = _mapping(values, where)
    known = [f.name for f in fields(DGAConfig)]
    for key in told:
        if key not in known:
            raise UnknownName("setting", str(key), known, where=where)
    try:
        return DGAConfig(**{**asdict(base), **told})
    except (ValueError, TypeError) as error:
        raise InvalidValue(where, dict(told), f"what DGAConfig takes ({error})") from None
