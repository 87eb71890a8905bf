"""Small settings and random tensors for the kernel tests."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fdvs.kernels.dga import DGAConfig

#: Commits its first chunk at token 28; odd enough that nothing fits by chance.
STREAM = DGAConfig(
    importance_rate=0.2, group_size=4, pool=True, chunk=20, window=8, sinks=2, score_queries=6
)  # fmt: skip


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Return normal random numbers, the same ones (rounded) in every dtype."""
    made = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=made, dtype=torch.float64).to(dtype)


def qkv(
    tokens: int, *, rows: int | None = 2, heads: int = 4, key_heads: int = 2, dim: int = 8,
    value_dim: int | None = None, dtype: torch.dtype = torch.float64, first_seed: int = 1,
) -> list[Tensor]:  # fmt: skip
    """Return q [rows, heads, tokens, dim], k and v [rows, key heads, tokens, .].

    Args:
        rows: None leaves the dimension of rows out.
    """
    lead: Sequence[int] = () if rows is None else (rows,)
    sizes = ((heads, dim), (key_heads, dim), (key_heads, value_dim or dim))
    return [
        draw(*lead, count, tokens, size, seed=seed, dtype=dtype)
        for seed, (count, size) in enumerate(sizes, first_seed)
    ]
