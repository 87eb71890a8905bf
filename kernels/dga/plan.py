"""Settings for every key head of a model, chosen by what each head loses under each setting.

Takes losses by setting, layer and head, and what a setting keeps; gives the settings with the
least total loss within a budget. Losses are assumed to add up, which is an approximation: measure
what a plan costs as a whole. A plan is written as JSON. Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.heads import LayerConfig, head_configs

FORMAT, VERSION = "fdvs-attention-plan", 1
MOST_BYTES = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadPlan:
    """The settings of each key head of a model.

    Attributes:
        model: what the plan was made for, in words.
        levels: the settings to choose from.
        heads: for each layer, the index in `levels` of each key head.
    """

    model: str
    levels: tuple[DGAConfig, ...]
    heads: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        """Raise ValueError for a head without a level, or layers of unequal width."""
        if not self.heads or len({len(layer) for layer in self.heads}) != 1 or not self.heads[0]:
            raise ValueError("heads must name a level for each key head of each layer")
        wrong = [at for layer in self.heads for at in layer if not 0 <= at < len(self.levels)]
        if wrong:
            raise ValueError(
                f"heads names levels {wrong[:3]}; there are 0 to {len(self.levels) - 1}"
            )
        if any(config.select == "global" for config in self.levels):
            raise ValueError("select='global' cannot be set by head; use 'stream' or 'full'")

    def layer_configs(self, *, dense_threshold: int | None = None) -> dict[int, LayerConfig]:
        """Return the settings of every layer, for `DGACache` and `enable`.

        Args:
            dense_threshold: replaces that of the levels.
        """
        levels = self.levels
        if dense_threshold is not None:
            levels = tuple(replace(one, dense_threshold=dense_threshold) for one in levels)
        return {index: tuple(levels[at] for at in layer) for index, layer in enumerate(self.heads)}

    def units_share(self) -> float:
        """Return units over tokens of committed chunks, mean over heads."""
        return mean_share(self.layer_configs().values(), units_share)

    def kept_share(self, tokens: int) -> float:
        """Return the share of keys and values kept (units and raw tail), mean over heads."""
        return mean_share(self.layer_configs().values(), lambda config: kept_share(config, tokens))

    def write(self, path: Path, *, measured: dict[str, Any] | None = None) -> None:
        """Write the plan as JSON, with what was measured of it."""
        values = {
            "format": FORMAT, "version": VERSION, "model": self.model,
            "levels": [level.to_dict() for level in self.levels],
            "heads": ["".join(map(str, layer)) for layer in self.heads],
            "measured": measured or {},
        }  # fmt: skip
        path.write_text(json.dumps(values, indent=1) + "\n", "utf-8")


def read_plan(path: Path) -> HeadPlan:
    """Read a plan.

    Raises:
        ValueError: no plan there, another version, or settings that are not allowed.
    """
    try:
        if not path.is_file():  # a pipe or a device would be read without end
            raise ValueError("no file" if not path.exists() else "not a regular file")
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"more than {MOST_BYTES} bytes")
        values = json.loads(path.read_text("utf-8"))
        if values["format"] != FORMAT or values["version"] != VERSION:
            raise ValueError(f"format {values['format']!r} version {values['version']!r}")
        return HeadPlan(
            model=str(values["model"]),
            levels=tuple(DGAConfig.from_dict(level) for level in values["levels"]),
            heads=tuple(tuple(map(int, layer)) for layer in values["heads"]),
        )
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path} is no {FORMAT} of version {VERSION} ({str(error)[:200]}); write one with "
            "scripts/plan_attention.py"
        ) from error


def units_share(config: DGAConfig) -> float:
    """Return units over tokens of committed chunks; 1 for full attention."""
    return 1.0 if config.is_dense else config.units_per_chunk / config.chunk


def kept_share(config: DGAConfig, tokens: int) -> float:
    """Return the share of a text that is kept (units and raw tail)."""
    dropped = config.chunks_built(tokens) * (config.chunk - config.units_per_chunk)
    return 1.0 - dropped / tokens


def mean_share(configs: Iterable[LayerConfig], share: Callable[[DGAConfig], float]) -> float:
    """Return the mean of a share (`units_share`, `kept_share`) over layers and their key heads."""
    return fmean(fmean(map(share, head_configs(config))) for config in configs)


def with_units(base: DGAConfig, count: int) -> DGAConfig:
    """Return settings under which every chunk leaves `count` units.

    Raises:
        ValueError: no group size gives that count.
    """
    if base.units_per_chunk == count:
        return base
    dropped = base.chunk - count
    for size in range(base.chunk, 1, -1) if 0 <= dropped < base.chunk else ():
        groups, left = divmod(dropped, size - 1)
        if not left and groups * size <= base.chunk:
            rate = round(max(0.0, 1.0 - groups * size / base.chunk), 6)
            config = replace(base, group_size=size, importance_rate=rate)
            if config.units_per_chunk == count:
                return config
    raise ValueError(f"no group size leaves {count} units of a chunk of {base.chunk}")


def allocate(
    losses: Sequence[Sequence[Sequence[float]]], sizes: Sequence[float], budget: float
) -> tuple[tuple[int, ...], ...]:
    """Choose a level for every head: least total loss with a mean size within the budget.

    Greedy over the lower convex hull of each head's (size, loss): optimal except for a rest of the
    budget that no further step fits.

    Args:
        losses: by level, layer and head.
        sizes: of each level, in any unit.

    Raises:
        ValueError: the budget is below the smallest level.
    """
    smallest = min(range(len(sizes)), key=lambda at: sizes[at])
    if sizes[smallest] > budget:
        raise ValueError(f"budget {budget} is below the smallest level, {sizes[smallest]}")
    layers, heads = len(losses[0]), len(losses[0][0])
    steps, chosen = [], [[smallest] * heads for _ in range(layers)]
    for layer in range(layers):
        for head in range(heads):
            hull = _hull([(size, losses[at][layer][head], at) for at, size in enumerate(sizes)])
            chosen[layer][head] = hull[0][2]
            for (size, loss, _), (more, less, level) in pairwise(hull):
                steps.append((-(loss - less) / (more - size), layer, head, more - size, level))
    left = budget * layers * heads - sum(sizes[at] for row in chosen for at in row)
    stopped = set()
    for _, layer, head, cost, level in sorted(steps):
        if (layer, head) in stopped or cost > left + 1e-9:
            stopped.add((layer, head))  # later steps of this head build on this one
            continue
        chosen[layer][head], left = level, left - cost
    return tuple(map(tuple, chosen))


def _hull(points: Sequence[tuple[float, float, int]]) -> list[tuple[float, float, int]]:
    """Return the falling part of the lower convex hull, smallest first."""
    hull: list[tuple[float, float, int]] = []
    for point in sorted(points):
        if hull and point[1] >= hull[-1][1]:
            continue
        while len(hull) > 1 and _gain(hull[-2], hull[-1]) <= _gain(hull[-2], point):
            hull.pop()
        if hull and point[0] == hull[-1][0]:
            hull.pop()
        hull.append(point)
    return hull


def _gain(a: tuple[float, float, int], b: tuple[float, float, int]) -> float:
    return (a[1] - b[1]) / (b[0] - a[0]) if b[0] > a[0] else float("inf")
