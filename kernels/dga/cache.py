"""The KV caches of a model: all its layers, and layers whose key heads have their own settings.

A `DGACache` holds for every layer a `DGALayerCache` (`layer_cache.py`), or a `HeadsCache` where the
key heads of the layer differ. Knows nothing of models. Files: `disk.py`.

Shapes: B rows, K key heads, S scored tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.heads import LayerConfig, head_groups
from fdvs.kernels.dga.layer_cache import PARTS, DGALayerCache
from fdvs.kernels.dga.unit_set import StreamState


class HeadsCache:
    """One layer whose key heads have settings of their own: a cache for each group of equal heads.

    The same methods as `DGALayerCache`; `config` is the tuple of the heads' settings.
    """

    def __init__(self, configs: tuple[DGAConfig, ...]) -> None:
        """Start empty.

        Raises:
            ValueError: a setting with `select="global"`, or none.
        """
        if not configs:
            raise ValueError("no settings were given; give one DGAConfig for each key head")
        self.config = configs
        self.parts = [DGALayerCache(config) for config, _ in head_groups(configs)]

    @property
    def num_rows(self) -> int:
        """Rows of the batch, 0 while empty."""
        return self.parts[0].num_rows

    @property
    def num_seen(self) -> list[int]:
        """Tokens of each row so far, without padding."""
        return self.parts[0].num_seen

    @property
    def recording(self) -> bool:
        """Whether the last append can be taken back; see `DGALayerCache`."""
        return self.parts[0].recording

    @recording.setter
    def recording(self, on: bool) -> None:
        for part in self.parts:
            part.recording = on

    @property
    def states(self) -> list[StreamState | None]:
        """The states of all groups, group after group; equally many of each."""
        return [state for part in self.parts for state in part.states]

    @states.setter
    def states(self, states: list[StreamState | None]) -> None:
        each = len(self.state_configs(len(states))) // len(self.parts)
        for index, part in enumerate(self.parts):
            part.states = states[index * each : (index + 1) * each]

    def state_configs(self, num_states: int) -> list[DGAConfig]:
        """Return one config for each of `num_states` states.

        Raises:
            ValueError: they do not divide among the groups of heads.
        """
        each, left = divmod(num_states, len(self.parts))
        if left or not each:
            raise ValueError(
                f"{num_states} states do not divide among {len(self.parts)} groups of heads; "
                "the cache was written with other settings"
            )
        return [part.config for part in self.parts for _ in range(each)]

    def commit(self, scores_BKS: Tensor) -> None:
        """Commit the next chunks by given scores; see `DGALayerCache.commit`."""
        for part, (_, heads) in zip(self.parts, head_groups(self.config), strict=True):
            part.commit(scores_BKS[:, heads])

    def crop(self, num_tokens: int) -> None:
        """Forget the last tokens in all groups, or on an error in none; see `DGALayerCache`."""
        for part in [*(part.fork() for part in self.parts), *self.parts]:
            part.crop(num_tokens)

    def reset(self) -> None:
        """Forget everything."""
        for part in self.parts:
            part.reset()

    def reorder(self, rows: Tensor | Sequence[int]) -> None:
        """Replace the batch by the given rows."""
        for part in self.parts:
            part.reorder(rows)

    def fork(self, rows: int = 1) -> HeadsCache:
        """Return an independent cache that continues from here; see `DGALayerCache.fork`."""
        forked = HeadsCache(self.config)
        forked.parts = [part.fork(rows) for part in self.parts]
        return forked

    def num_bytes(self) -> dict[str, int]:
        """Return the bytes held, by part."""
        each = [part.num_bytes() for part in self.parts]
        return {name: sum(part[name] for part in each) for name in each[0]}


def layer_cache(config: LayerConfig) -> DGALayerCache | HeadsCache:
    """Return an empty cache for the settings of a layer."""
    return HeadsCache(config) if isinstance(config, tuple) else DGALayerCache(config)


class DGACache:
    """The cache of a model: one cache a layer, made on first use."""

    def __init__(
        self, config: DGAConfig, *, layer_configs: Mapping[int, LayerConfig] | None = None
    ) -> None:
        """Start empty.

        Args:
            layer_configs: settings of layers that differ from `config`, by index; a tuple has
                those of each key head.

        Raises:
            ValueError: a setting with `select="global"`.
        """
        self.config = config
        self.layer_configs = dict(layer_configs or {})
        self.layers: list[DGALayerCache | HeadsCache] = []
        for one in (config, *self.layer_configs.values()):
            layer_cache(one)

    def layer(self, index: int) -> DGALayerCache | HeadsCache:
        """Return a layer, made on first use."""
        while len(self.layers) <= index:
            config = self.layer_configs.get(len(self.layers), self.config)
            self.layers.append(layer_cache(config))
        return self.layers[index]

    def fork(self, rows: int = 1) -> DGACache:
        """Return an independent cache that continues from here; see `DGALayerCache.fork`."""
        forked = DGACache(self.config, layer_configs=self.layer_configs)
        forked.layers = [layer.fork(rows) for layer in self.layers]
        return forked

    def num_bytes(self) -> dict[str, int]:
        """Return the bytes held over all layers, by part."""
        parts = [layer.num_bytes() for layer in self.layers]
        return {name: sum(part[name] for part in parts) for name in PARTS}
