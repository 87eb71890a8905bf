"""A model's plan of attention (settings by key head): all its layers beside torch's attention.

Every layer of the plan is run on the same random prompt, each followed by torch's full attention,
so that a round holds as many layers of both and the machine's load hits both alike. A file of
`bench_attention.py` (`--plan`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from bench_rows import now
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from fdvs.kernels.dga import DGALayerCache, HeadsCache, LayerConfig, dga_attention
from fdvs.kernels.dga.cache import layer_cache
from fdvs.kernels.dga.heads import head_configs
from fdvs.kernels.dga.plan import read_plan

Tensors = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class PlanBench:
    """Run the layers of a plan on a prompt.

    Attributes:
        tensors: q, k, v [1, heads, tokens, dim], a prompt and `steps` tokens behind it.
        steps: tokens of a decode, at least a chunk, so that every head commits once.
    """

    layers: tuple[LayerConfig, ...]
    tensors: Tensors
    length: int
    steps: int
    backend: str = "cpp"
    room: tuple[Tensor, Tensor] = field(init=False)

    def __post_init__(self) -> None:
        """Make the buffers that torch's decode writes into."""
        _, k, v = self.tensors
        object.__setattr__(self, "room", (k.clone(), v.clone()))

    def grouped(self, first: int, last: int, cache: DGALayerCache | HeadsCache) -> Tensor:
        """Append the tokens of a span to a layer."""
        q, k, v = (x[:, :, first:last] for x in self.tensors)
        out = dga_attention(q, k, v, config=cache.config, cache=cache, backend=self.backend)
        assert isinstance(out, Tensor)
        return out

    def decoded(self, cache: DGALayerCache | HeadsCache) -> Tensor:
        """Append the tokens behind the prompt one by one, to a fork of a filled cache."""
        own = cache.fork()
        span = range(self.length, self.length + self.steps)
        return torch.cat([self.grouped(at, at + 1, own) for at in span], 2)

    def torch_prefill(self) -> Tensor:
        """Attend in full to the prompt."""
        q, k, v = (x[:, :, : self.length] for x in self.tensors)
        return sdpa(q, k, v, is_causal=True, enable_gqa=True)

    def torch_decoded(self) -> Tensor:
        """Attend in full from the tokens behind the prompt, heads of a key head as rows."""
        (q, k, v), (room_k, room_v) = self.tensors, self.room
        outs = []
        for at in range(self.length, self.length + self.steps):
            room_k[:, :, at], room_v[:, :, at] = k[:, :, at], v[:, :, at]
            rows = q[:, :, at].view(1, k.shape[1], -1, q.shape[3])
            out = sdpa(rows, room_k[:, :, : at + 1], room_v[:, :, : at + 1])
            outs.append(out.view(1, q.shape[1], 1, v.shape[3]))
        return torch.cat(outs, 2)

    def prefill_seconds(self) -> tuple[float, float]:
        """Return seconds of all layers: ours, torch's."""
        return self._seconds(
            lambda config: self.grouped(0, self.length, layer_cache(config)), self.torch_prefill
        )

    def decode_seconds(self) -> tuple[float, float]:
        """Return seconds a token of all layers: ours, torch's."""
        caches = {config: self._filled(config) for config in set(self.layers)}
        own, base = self._seconds(lambda config: self.decoded(caches[config]), self.torch_decoded)
        return own / self.steps, base / self.steps

    def _filled(self, config: LayerConfig) -> DGALayerCache | HeadsCache:
        cache = layer_cache(config)
        self.grouped(0, self.length, cache)
        return cache

    def _seconds(
        self, ours: Callable[[LayerConfig], Tensor], base: Callable[[], Tensor]
    ) -> tuple[float, float]:
        totals = [0.0, 0.0]
        for config in self.layers:
            for at, run in enumerate((partial(ours, config), base)):
                started = now()
                run()
                totals[at] += now() - started
        return totals[0], totals[1]


def plan_layers(path: Path, key_heads: int) -> tuple[LayerConfig, ...]:
    """Read a plan and return its layers; exits with 1 where it is none, or for other heads."""
    try:
        plan = read_plan(path)
    except ValueError as error:
        sys.exit(f"bench_attention: {error}")
    if len(plan.heads[0]) != key_heads:
        sys.exit(
            f"bench_attention: {path} has {len(plan.heads[0])} key heads in a layer and --heads "
            f"{key_heads}; name the heads of its model"
        )
    return tuple(plan.layer_configs().values())


def chunk_of(layers: tuple[LayerConfig, ...]) -> int:
    """Return the longest chunk of any head: a decode of so many tokens commits at least once."""
    return max(config.chunk for layer in layers for config in head_configs(layer))


def plan_errors(bench: PlanBench) -> dict[str, float]:
    """Return the relative L2 error against float64 of each kind of layer, prefill and decode."""
    wide = [x.double() for x in bench.tensors]
    kinds = {tuple(sorted(map(str, head_configs(one)))): one for one in bench.layers}
    errors = {}
    for number, config in enumerate(kinds.values()):
        want = dga_attention(*wide, config=config, backend="reference")
        assert isinstance(want, Tensor)
        cache = layer_cache(config)
        parts = (bench.grouped(0, bench.length, cache), bench.decoded(cache))
        for op, out in zip(("prefill", "decode"), parts, strict=True):
            part = want[:, :, : bench.length] if op == "prefill" else want[:, :, bench.length :]
            gap = (out.double() - part).norm() / part.norm()
            errors[f"{op} plan's layer of kind {number}"] = float(gap)
    return errors
