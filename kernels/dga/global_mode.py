"""`global` mode in tiles: the last queries of a prompt score all of it (a reconstruction).

Takes complete, unpadded prompts, gives output and log-sum-exp. Not causal: which tokens stay single
depends on the end of the prompt. No [L, L] matrix: a tile of queries sees single tokens, groups,
and a narrow band of raw tokens whose group is not yet complete.

Shapes: B rows, H query heads, K key heads, G = H / K, L tokens, D head dim, E value dim,
F single tokens, r other tokens, n complete groups of m, J judges (queries that score), T queries of
a tile, X raw tokens of the band.
"""

from __future__ import annotations

import torch
from torch import Tensor, unflatten

from fdvs.kernels.dga.commit import group_bias
from fdvs.kernels.dga.config import DGAConfig

#: Queries of one tile.
TILE = 128


def global_attention(
    q_BHLD: Tensor,
    k_BKLD: Tensor,
    v_BKLE: Tensor,
    *,
    config: DGAConfig,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attend over single tokens, groups and the tokens of the incomplete group.

    Returns:
        Output [B, H, L, E] in the dtype of v, and log-sum-exp [B, H, L].
    """
    wide = torch.promote_types(q_BHLD.dtype, torch.float32)
    q_BKGLD = unflatten(q_BHLD.to(wide), 1, (k_BKLD.shape[1], -1)) * scale
    k, v = k_BKLD.to(wide), v_BKLE.to(wide)
    focal_BKF, rest_BKr = _split(q_BKGLD, k, config)
    groups = _pool(q_BKGLD, k, v, rest_BKr, config)
    # groups are stored in the dtype of the keys, as everywhere
    groups = (groups[0].to(k_BKLD.dtype).to(wide), groups[1].to(k_BKLD.dtype).to(wide), groups[2])
    outs, sums = [], []
    for at in range(0, k.shape[2], TILE):
        tile = torch.arange(at, min(at + TILE, k.shape[2]), device=k.device)
        out, lse = _tile(q_BKGLD, k, v, tile, focal_BKF, rest_BKr, groups, config)
        outs.append(out)
        sums.append(lse)
    return torch.cat(outs, 3).flatten(1, 2).to(v_BKLE.dtype), torch.cat(sums, 3).flatten(1, 2)


def _split(q_BKGLD: Tensor, k_BKLD: Tensor, config: DGAConfig) -> tuple[Tensor, Tensor]:
    """Split the prompt into single and other tokens, both in token order."""
    num_tokens = k_BKLD.shape[2]
    q_BKGJD = q_BKGLD[:, :, :, -config.score_queries :].detach()
    logits = q_BKGJD @ k_BKLD.detach()[:, :, None].mT
    at_L = torch.arange(num_tokens, device=k_BKLD.device)
    later_JL = at_L[None] > at_L[-q_BKGJD.shape[3] :, None]
    got_BKGL = logits.masked_fill(later_JL, -torch.inf).softmax(-1).sum(3)
    scores = got_BKGL.sum(2)
    count = min(num_tokens, max(config.focal_of_prompt(num_tokens), config.sinks))
    order = scores.masked_fill(at_L < config.sinks, torch.inf)
    order = order.sort(dim=-1, descending=True, stable=True).indices
    return order[..., :count].sort(-1).values, order[..., count:].sort(-1).values


def _pool(
    q_BKGLD: Tensor, k: Tensor, v: Tensor, rest_BKr: Tensor, config: DGAConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool complete groups: keys [B, K, n, D], values [B, K, n, E], bias [B, K, n]."""
    size = config.group_size
    full = rest_BKr.shape[2] // size * size
    members_BKnm = unflatten(rest_BKr[..., :full], 2, (full // size, size))
    k_BKnmD = unflatten(_take(k, rest_BKr[..., :full]), 2, members_BKnm.shape[2:])
    v_BKnmE = unflatten(_take(v, rest_BKr[..., :full]), 2, members_BKnm.shape[2:])
    if config.weight == "lastq":
        last_BK1n1 = members_BKnm[..., -1][:, :, None, :, None]
        index = last_BK1n1.expand(*q_BKGLD.shape[:3], -1, q_BKGLD.shape[-1])
        logits = torch.einsum("bkgnd,bknmd->bkgnm", q_BKGLD.gather(3, index), k_BKnmD)
        w_BKnm = logits.softmax(-1).mean(2)
    else:
        judges = q_BKGLD[:, :, :, -config.score_queries :]
        logits = torch.einsum("bkgjd,bknmd->bkgjnm", judges, k_BKnmD)
        w_BKnm = logits.softmax(-1).mean((2, 3))
    keys, values = (w_BKnm[..., None] * k_BKnmD).sum(3), (w_BKnm[..., None] * v_BKnmE).sum(3)
    return keys, values, group_bias(w_BKnm, config)


def _tile(
    q_BKGLD: Tensor, k: Tensor, v: Tensor, tile_T: Tensor, focal_BKF: Tensor, rest_BKr: Tensor,
    groups: tuple[Tensor, Tensor, Tensor], config: DGAConfig,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attend in one tile: output [B, K, G, T, E], log-sum-exp [B, K, G, T]."""
    first_BKT, ranks_BKT = _band_limits(tile_T, rest_BKr, config)
    band_X = torch.arange(int((ranks_BKT[..., -1] - first_BKT[..., 0]).max()), device=k.device)
    ranks_BKX = first_BKT[..., :1] + band_X
    real_BKX = ranks_BKX < rest_BKr.shape[2]
    raw_BKX = rest_BKr.gather(2, torch.where(real_BKX, ranks_BKX, 0)) if len(band_X) else ranks_BKX
    t_T1 = tile_T[:, None]
    hidden = torch.cat(
        (
            focal_BKF[:, :, None] > t_T1,
            _number(groups[0])[None, None, None] >= (first_BKT // config.group_size)[..., None],
            (ranks_BKX[:, :, None] < first_BKT[..., None])
            | (ranks_BKX[:, :, None] >= ranks_BKT[..., None]),
        ),
        -1,
    )
    keys = torch.cat((_take(k, focal_BKF), groups[0], _take(k, raw_BKX)), 2)
    values = torch.cat((_take(v, focal_BKF), groups[1], _take(v, raw_BKX)), 2)
    zeros = groups[2].new_zeros
    bias = torch.cat((zeros(focal_BKF.shape), groups[2], zeros(raw_BKX.shape)), 2)
    q_BKGTD = q_BKGLD[:, :, :, int(tile_T[0]) : int(tile_T[-1]) + 1]
    logits = q_BKGTD @ keys[:, :, None].mT + bias[:, :, None, None]
    logits = logits.masked_fill(hidden[:, :, None], -torch.inf)
    return logits.softmax(-1) @ values[:, :, None], logits.logsumexp(-1)


def _band_limits(tile_T: Tensor, rest_BKr: Tensor, config: DGAConfig) -> tuple[Tensor, Tensor]:
    """Return, for each query, the ranks among the other tokens that it still sees raw: [B, K, T].

    First rank: members of complete groups that are a window old are out. Last: itself.
    """
    rest = rest_BKr.contiguous()
    t_BKT = tile_T.expand(*rest.shape[:2], -1).contiguous()
    old_BKT = torch.searchsorted(rest, t_BKT - config.window, right=True)
    first_BKT = old_BKT // config.group_size * config.group_size
    first_BKT = torch.where(t_BKT < config.dense_threshold, 0, first_BKT)
    return first_BKT, torch.searchsorted(rest, t_BKT, right=True)


def _number(keys_BKnD: Tensor) -> Tensor:
    return torch.arange(keys_BKnD.shape[2], device=keys_BKnD.device)


def _take(x_BKLD: Tensor, index_BKX: Tensor) -> Tensor:
    return x_BKLD.gather(2, index_BKX[..., None].expand(*index_BKX.shape, x_BKLD.shape[-1]))
