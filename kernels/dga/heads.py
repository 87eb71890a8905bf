"""Settings by key head: heads of one layer that keep more, or less, than others.

Takes the settings of every key head of a layer, gives groups of heads with equal settings. Each
group is a call, and a cache, of its own, so every backend serves them unchanged. Heads differ far
more in what they need than settings do: a few attend to far text, most do not.

Shapes: B rows, K key heads, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga.config import DGAConfig

#: Settings of a layer: the same for all heads, or one for each key head.
LayerConfig = DGAConfig | tuple[DGAConfig, ...]


def head_configs(config: LayerConfig) -> tuple[DGAConfig, ...]:
    """Return the settings of a layer's key heads; a single one where it holds for all."""
    return config if isinstance(config, tuple) else (config,)


def head_groups(configs: Sequence[DGAConfig]) -> list[tuple[DGAConfig, list[int]]]:
    """Return the key heads of each distinct setting, in the order of their first head."""
    groups: dict[DGAConfig, list[int]] = {}
    for head, config in enumerate(configs):
        groups.setdefault(config, []).append(head)
    return list(groups.items())


def check_heads(configs: Sequence[DGAConfig], key_heads: int) -> None:
    """Raise ValueError unless there is one `stream` or `full` setting for each key head."""
    if len(configs) != key_heads:
        raise ValueError(
            f"settings of {len(configs)} heads were given and the layer has {key_heads} key "
            "heads; give one DGAConfig for each"
        )
    if any(config.select == "global" for config in configs):
        raise ValueError("select='global' cannot be set by head; use 'stream' or 'full'")


def config_values(config: LayerConfig) -> Any:
    """Return the settings of a layer as plain JSON values."""
    return [one.to_dict() for one in config] if isinstance(config, tuple) else config.to_dict()


def config_of(values: Any) -> LayerConfig:
    """Return the settings that `config_values` wrote.

    Raises:
        ValueError, TypeError: not settings, as `DGAConfig.from_dict`.
    """
    if isinstance(values, list):
        return tuple(DGAConfig.from_dict(one) for one in values)
    return DGAConfig.from_dict(values)


def joined_heads(parts: Sequence[Tensor], groups: Sequence[Sequence[int]], per_key: int) -> Tensor:
    """Put outputs of groups of key heads back in order: each [B, heads of the group, L, ...].

    Args:
        per_key: query heads of a key head.
    """
    if len(parts) == 1:
        return parts[0]
    place = torch.tensor(_places(tuple(map(tuple, groups)), per_key), device=parts[0].device)
    return torch.cat(list(parts), 1).index_select(1, place)


@cache
def _places(groups: tuple[tuple[int, ...], ...], per_key: int) -> list[int]:
    """Return the place of each query head in the concatenation of the groups."""
    order = [head for heads in groups for head in query_heads(heads, per_key)]
    return sorted(range(len(order)), key=order.__getitem__)


def query_heads(key_heads: Sequence[int], per_key: int) -> list[int]:
    """Return the query heads that belong to some key heads."""
    return [head * per_key + at for head in key_heads for at in range(per_key)]
