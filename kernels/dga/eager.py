"""The `eager` backend: attention over units and raw tokens in tiles of queries, by torch alone.

The query heads of one key head are stacked as rows, so keys are never expanded. A tile holds
[rows, units + raw band] logits and no larger matrix exists. Softmax and sums in float32 or wider.

Shapes: B rows, H query heads, K key heads, G = H / K, Q queries, T queries of a tile, R raw
tokens, D head dim, E value dim, N units, X = used units + raw tokens of the band.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, unflatten
from torch.nn import functional

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.unit_set import Attended, AttendInputs

#: Logits of one tile (floats).
TILE_BUDGET = 2**22
#: A decode step over keys of at most this many numbers runs on one thread (about 1 ms).
SHORT_DECODE = 2**20
#: Queries of one tile, at most and at least.
TILE_MOST, TILE_LEAST = 256, 16


@contextmanager
def one_thread(device: torch.device, *, unless: bool = False) -> Iterator[int]:
    """Run a block of many small torch operations on one thread of a CPU; yield the number before.

    With several threads every small operation ends in a barrier, and on a busy machine a barrier
    can cost a slice of the scheduler, thousands of times the work itself.

    Args:
        unless: change nothing.
    """
    before = torch.get_num_threads()
    if unless or device.type != "cpu" or before == 1:
        yield before
        return
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def attend_eager(inputs: AttendInputs) -> Attended:
    """Attend in tiles, or by torch's own attention where no query sees a unit and it fits."""
    q_BHQD, k_BKRD, v_BKRE = inputs.q_BHQD, inputs.k_BKRD, inputs.v_BKRE
    num_queries = q_BHQD.shape[2]
    if not inputs.visible_chunks and not inputs.return_lse:
        if num_queries == k_BKRD.shape[2]:
            return _prefill_sdpa(q_BHQD, k_BKRD, v_BKRE, inputs.scale), None
        if num_queries == 1:
            return _decode_sdpa(q_BHQD, k_BKRD, v_BKRE, inputs.scale), None
    with one_thread(q_BHQD.device):
        return attend_in_tiles(inputs)


def attend_in_tiles(inputs: AttendInputs) -> tuple[Tensor, Tensor]:
    """Attend in tiles of queries: output [B, H, Q, E], log-sum-exp [B, H, Q]."""
    q_BHQD, units, config = inputs.q_BHQD, inputs.units, inputs.config
    wide = torch.promote_types(q_BHQD.dtype, torch.float32)
    k_wide, v_wide = inputs.k_BKRD.to(wide), inputs.v_BKRE.to(wide)
    unit_k = k_wide[:, :, :0] if units is None else units.keys_BKND.to(wide)
    unit_v = v_wide[:, :, :0] if units is None else units.values_BKNE.to(wide)
    bias_BKN = k_wide.new_zeros(unit_k.shape[:3]) if units is None else units.bias_BKN
    outputs, sums = [], []
    num_queries, num_raw = q_BHQD.shape[2], k_wide.shape[2]
    step = _tile_size(q_BHQD, unit_k.shape[2], num_raw, config)
    for at in range(0, num_queries, step):
        tile = range(inputs.q_start + at, inputs.q_start + min(at + step, num_queries))
        low = config.chunks_visible(tile.start)
        high = config.chunks_visible(tile.stop - 1)
        used, band = high * config.units_per_chunk, low * config.chunk - inputs.raw_start
        end = tile.stop - inputs.raw_start
        q_BKGTD = unflatten(q_BHQD[:, :, at : at + step], 1, (k_wide.shape[1], -1)).to(wide)
        out, lse = _tile(
            q_BKGTD * inputs.scale, unit_k[:, :, :used], unit_v[:, :, :used],
            bias_BKN[:, :, :used], k_wide[:, :, band:end], v_wide[:, :, band:end],
            _hidden(tile, low, high, config, q_BHQD.device),
        )  # fmt: skip
        outputs.append(out)
        sums.append(lse)
    return torch.cat(outputs, 2).to(inputs.v_BKRE.dtype), torch.cat(sums, 2)


def _tile(
    q_BKGTD: Tensor, unit_k: Tensor, unit_v: Tensor, bias_BKN: Tensor, raw_k: Tensor,
    raw_v: Tensor, hidden_TX: Tensor | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Attend in one tile: output [B, H, T, E], log-sum-exp [B, H, T]."""
    group, queries = q_BKGTD.shape[2:4]
    q_BKQD = q_BKGTD.flatten(2, 3)
    unit_logits = q_BKQD @ unit_k.mT + bias_BKN[:, :, None]
    logits_BKQX = torch.cat((unit_logits, q_BKQD @ raw_k.mT), -1)
    if hidden_TX is not None:
        logits_BKQX = unflatten(logits_BKQX, 2, (group, queries))
        logits_BKQX = logits_BKQX.masked_fill(hidden_TX, -torch.inf).flatten(2, 3)
    p_BKQX = logits_BKQX.softmax(-1)
    split = unit_k.shape[2]
    out_BKQE = p_BKQX[..., :split] @ unit_v + p_BKQX[..., split:] @ raw_v
    lse_BKQ = logits_BKQX.logsumexp(-1)
    shape = (group, queries)
    return unflatten(out_BKQE, 2, shape).flatten(1, 2), unflatten(lse_BKQ, 2, shape).flatten(1, 2)


def _hidden(
    tile: range, low: int, high: int, config: DGAConfig, device: torch.device
) -> Tensor | None:
    """Mark what the queries of a tile must not see: bool [T, used units + band], or None."""
    if len(tile) == 1:
        return None
    visible_T = torch.tensor([config.chunks_visible(i) for i in tile], device=device)[:, None]
    unit_N = torch.arange(high * config.units_per_chunk, device=device)
    raw_R = torch.arange(low * config.chunk, tile.stop, device=device)
    query_T = torch.arange(tile.start, tile.stop, device=device)[:, None]
    hidden_unit = unit_N >= visible_T * config.units_per_chunk
    hidden_raw = (raw_R > query_T) | (raw_R < visible_T * config.chunk)
    return torch.cat((hidden_unit, hidden_raw), 1)


def _tile_size(q_BHQD: Tensor, num_units: int, num_raw: int, config: DGAConfig) -> int:
    band = config.dense_threshold + config.window + 2 * config.chunk
    width = num_units + (num_raw if config.is_dense else min(num_raw, band))
    fits = TILE_BUDGET // (q_BHQD.shape[0] * q_BHQD.shape[1] * width)
    return max(TILE_LEAST, min(TILE_MOST, fits))


def _prefill_sdpa(q_BHQD: Tensor, k_BKRD: Tensor, v_BKRE: Tensor, scale: float) -> Tensor:
    grouped = q_BHQD.shape[1] != k_BKRD.shape[1]
    return functional.scaled_dot_product_attention(
        q_BHQD, k_BKRD, v_BKRE, is_causal=True, scale=scale, enable_gqa=grouped
    )


def _decode_sdpa(q_BH1D: Tensor, k_BKRD: Tensor, v_BKRE: Tensor, scale: float) -> Tensor:
    """Pass the query heads of a key head as query rows: no key is expanded or read twice."""
    q_BKGD = unflatten(q_BH1D.squeeze(2), 1, (k_BKRD.shape[1], -1))
    with one_thread(q_BH1D.device, unless=k_BKRD.numel() > SHORT_DECODE):
        out = functional.scaled_dot_product_attention(q_BKGD, k_BKRD, v_BKRE, scale=scale)
    return out.flatten(1, 2).unsqueeze(2)
