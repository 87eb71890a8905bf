"""The dense oracle: softmax over every visible unit, one [L, N] matrix a head, no tricks.

Takes one sequence (no padding, no cache), gives output and log-sum-exp in the dtype it computes
in. Slow and memory-hungry by design; tests and benchmarks compare against it.

Shapes: H query heads, K key heads, G = H / K, L tokens, D head dim, E value dim, N units.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.units import UnitTable, build_table


def reference_attention(
    q_HLD: Tensor,
    k_KLD: Tensor,
    v_KLE: Tensor,
    *,
    config: DGAConfig,
    scale: float,
    focal_L: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend over the unit table of one sequence.

    Args:
        q_HLD, k_KLD, v_KLE: float32 or float64; keys already rotated.

    Returns:
        Output [H, L, E] and log-sum-exp [H, L].
    """
    table = build_table(q_HLD, k_KLD, v_KLE, config=config, scale=scale, focal_L=focal_L)
    return attend_table(q_HLD, table, scale=scale)


def attend_table(q_HLD: Tensor, table: UnitTable, *, scale: float) -> tuple[Tensor, Tensor]:
    """Attend from every query to the units that it sees: output [H, L, E], log-sum-exp [H, L]."""
    group = q_HLD.shape[0] // table.keys_KND.shape[0]
    keys_HND = table.keys_KND.repeat_interleave(group, 0)
    values_HNE = table.values_KNE.repeat_interleave(group, 0)
    bias_HN = table.bias_KN.repeat_interleave(group, 0)
    seen_HLN = table.visible(q_HLD.shape[1]).repeat_interleave(group, 0)
    logits_HLN = q_HLD @ keys_HND.mT * scale + bias_HN[:, None]
    logits_HLN = logits_HLN.masked_fill(~seen_HLN, -torch.inf)
    return logits_HLN.softmax(-1) @ values_HNE, logits_HLN.logsumexp(-1)
