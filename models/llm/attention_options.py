"""Settings of grouped attention: from a card, from a plan, and in a model's own config.

    options:
      attention:
        default: {window: 512}                     # over the model-independent default
        layers:
          0-17: {importance_rate: 0.0}             # over `default`, for these layers
          23: [{importance_rate: 0.5}, {}, {}]     # one for each key head

Every key and value of a card is checked; the result are `DGAConfig`s by layer and key head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue
from fdvs.kernels.dga import DGAConfig, LayerConfig
from fdvs.kernels.dga.heads import config_of, config_values
from fdvs.kernels.dga.plan import read_plan
from fdvs.models.cards import Card
from fdvs.typed import fill

#: Settings of a model that was given none: no token is evicted before 2048, where full attention
#: is cheap and eviction would only cost quality.
DEFAULT = DGAConfig(dense_threshold=2048)
OPTION = "attention"
#: Where the settings live in a model's config, as plain JSON.
SETTINGS = "dga_config"
#: Settings of layers that differ, by index (as text: JSON).
LAYER_SETTINGS = "dga_layer_configs"
LAYERS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionOptions:
    """Settings of a model, and of the layers that differ from them, by index."""

    config: DGAConfig = DEFAULT
    layers: Mapping[int, LayerConfig] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Given:
    """The two keys of a card's mapping, their own values not yet checked."""

    default: Mapping[str, Any] = field(default_factory=dict)
    layers: Mapping[Any, Any] = field(default_factory=dict)


def attention_options(card: Card) -> AttentionOptions:
    """Return what a card says about grouped attention; the default where it says nothing.

    Raises UnknownName for an unknown key and InvalidValue for a value that is not allowed.
    """
    where = f"{OPTION} of model {card.name}"
    given = fill(_Given, card.options.get(OPTION, {}), where=where, noun="option")
    config = _config(given.default, DEFAULT, f"{where}: default")
    layers: dict[int, LayerConfig] = {}
    for key, values in given.layers.items():
        layer = _layer_config(values, config, f"{where}: layers {key}")
        layers |= dict.fromkeys(_range(key, where), layer)
    return AttentionOptions(config=config, layers=layers)


def options_of_plan(path: Path) -> AttentionOptions:
    """Return the settings per key head of a plan file (scripts/plan_attention.py).

    `dense_threshold` is the same as without a plan. Raises InvalidValue for another file.
    """
    try:
        plan = read_plan(path)
    except ValueError as error:
        raise InvalidValue("ask.attention_plan", str(path), f"a plan ({error})") from None
    return AttentionOptions(layers=plan.layer_configs(dense_threshold=DEFAULT.dense_threshold))


def write_settings(model: Any, config: DGAConfig, layer_configs: Mapping[int, LayerConfig]) -> None:
    """Write settings into a model's own config, where its attention finds them."""
    text = model.config.get_text_config()
    layers = {str(index): config_values(layer) for index, layer in layer_configs.items()}
    setattr(text, SETTINGS, config.to_dict())
    setattr(text, LAYER_SETTINGS, layers)


def settings_of(model: Any) -> DGAConfig:
    """Return the settings in a model's config, or `DEFAULT`; single layers may differ."""
    written = getattr(model.config.get_text_config(), SETTINGS, None)
    return DEFAULT if written is None else DGAConfig.from_dict(written)


def layer_settings_of(model: Any) -> dict[int, LayerConfig]:
    """Return the settings of layers that differ from the model's, by index."""
    written = getattr(model.config.get_text_config(), LAYER_SETTINGS, None) or {}
    return {int(index): config_of(one) for index, one in written.items()}


def _range(key: Any, where: str) -> range:
    found = LAYERS.fullmatch(str(key))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if first > last:
        raise InvalidValue(f"{where}: layers", key, "a layer (4) or a range of them (18-23)")
    return range(first, last + 1)


def _layer_config(values: Any, base: DGAConfig, where: str) -> LayerConfig:
    if isinstance(values, (list, tuple)):
        return tuple(_config(head, base, where) for head in values)
    return _config(values, base, where)


def _config(values: Any, base: DGAConfig, where: str) -> DGAConfig:
    return fill(DGAConfig, values, where=where, noun="setting", base=base)
