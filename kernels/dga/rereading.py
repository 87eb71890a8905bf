"""Judge tokens by repeating them: what a model looks at while it writes a passage once more.

    out, scores = reread(layer, q, k, v, tokens=range(480, 960), scale=scale)
    layer.commit(scores)

The queries that follow a passage judge it by what they happen to need, and nobody knows what will
be asked later. A model that repeats a passage has to look up every detail of it, so the attention
that a token gets then is a judgement that serves any later question: the idea of KVzip (arXiv
2505.23416), here on a grouped cache, piece by piece while the text is read. The tokens of a
rereading see the cache and each other, and are never appended.

Shapes: B rows, H query heads, K key heads, N tokens of the rereading (an instruction, then the
passage), C tokens of the passage, S = C + N, U units, R raw tokens, D head dim, E value dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, unflatten
from torch.nn.functional import scaled_dot_product_attention

from fdvs.kernels.dga.cache import HeadsCache
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.heads import head_groups, joined_heads, query_heads
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.stream import StreamState


def reread(
    layer: DGALayerCache | HeadsCache,
    q_BHND: Tensor,
    k_BKND: Tensor,
    v_BKNE: Tensor,
    *,
    tokens: range,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attend from tokens that repeat a passage, without appending them.

    Args:
        layer: the state of the text up to here; left as it is.
        tokens: positions of the passage, all of them still raw; the last queries repeat them.

    Returns:
        Output [B, H, N, E], and the most attention that each token of the passage got from a
        query that repeats it, among the passage and the rereading [B, K, C], float32 or wider.

    Raises:
        ValueError: rows of unequal length, or a passage that the layer holds no more.
    """
    if isinstance(layer, DGALayerCache):
        return _of_state(_state(layer), q_BHND, k_BKND, v_BKNE, layer.config, tokens, scale)
    groups, per_key = head_groups(layer.config), q_BHND.shape[1] // k_BKND.shape[1]
    outs, scores = [], []
    for part, (_, heads) in zip(layer.parts, groups, strict=True):
        q_BHND_part = q_BHND[:, query_heads(heads, per_key)]
        out, got_BKC = reread(
            part, q_BHND_part, k_BKND[:, heads], v_BKNE[:, heads], tokens=tokens, scale=scale
        )
        outs.append(out)
        scores.append(got_BKC)
    order = [heads for _, heads in groups]
    return joined_heads(outs, order, per_key), joined_heads(scores, order, 1)


def _state(layer: DGALayerCache) -> StreamState:
    state = layer.states[0]
    if len(layer.states) > 1 or state is None:
        raise ValueError("rereading needs rows of equal length that hold tokens; read them first")
    return state


def _of_state(
    state: StreamState, q_BHND: Tensor, k_BKND: Tensor, v_BKNE: Tensor, config: DGAConfig,
    tokens: range, scale: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    if not state.raw_start <= tokens.start < tokens.stop <= state.num_seen:
        raise ValueError(
            f"tokens {tokens.start} to {tokens.stop} are not all raw; the layer holds "
            f"{state.raw_start} to {state.num_seen}: reread them before more text is read"
        )
    return (
        _attend(state, q_BHND, k_BKND, v_BKNE, config, scale),
        _scores(state, q_BHND, k_BKND, tokens, scale),
    )


def _attend(
    state: StreamState, q_BHND: Tensor, k_BKND: Tensor, v_BKNE: Tensor, config: DGAConfig,
    scale: float,
) -> Tensor:  # fmt: skip
    """Attend to all that the next token would see, and causally among the new tokens."""
    keys, values = [state.k_BKRD, k_BKND], [state.v_BKRE, v_BKNE]
    count, own = state.k_BKRD.shape[2], k_BKND.shape[2]
    bias_BKS = k_BKND.new_zeros(*k_BKND.shape[:2], count + own)
    num_units = state.raw_start // config.chunk * config.units_per_chunk
    if state.units is not None and num_units:
        keys.insert(0, state.units.keys_BKND[:, :, :num_units])
        values.insert(0, state.units.values_BKNE[:, :, :num_units])
        unit_bias_BKU = state.units.bias_BKN[:, :, :num_units].to(bias_BKS.dtype)
        bias_BKS = torch.cat((unit_bias_BKU, bias_BKS), 2)
    later_NN = bias_BKS.new_full((own, own), -torch.inf).triu(1)
    later_NS = torch.nn.functional.pad(later_NN, (bias_BKS.shape[2] - own, 0))
    per_key = q_BHND.shape[1] // k_BKND.shape[1]
    mask_BHNS = bias_BKS.repeat_interleave(per_key, 1)[:, :, None] + later_NS
    return scaled_dot_product_attention(
        q_BHND, torch.cat(keys, 2), torch.cat(values, 2), attn_mask=mask_BHNS, scale=scale,
        enable_gqa=True,
    )  # fmt: skip


def _scores(
    state: StreamState, q_BHND: Tensor, k_BKND: Tensor, tokens: range, scale: float
) -> Tensor:
    """Return the most attention that each repeated token gets: [B, K, C]."""
    wide = torch.promote_types(q_BHND.dtype, torch.float32)
    first, count, own = tokens.start - state.raw_start, len(tokens), k_BKND.shape[2]
    passage_BKCD = state.k_BKRD[:, :, first : first + count]
    keys_BKSD = torch.cat((passage_BKCD, k_BKND), 2).to(wide)
    q_BKGCD = unflatten(q_BHND[:, :, -count:], 1, (k_BKND.shape[1], -1)).to(wide)
    logits_BKXS = (q_BKGCD.flatten(2, 3) * scale) @ keys_BKSD.mT
    later_CN = logits_BKXS.new_full((count, own), -torch.inf).triu(own - count + 1)
    logits_BKGCS = unflatten(logits_BKXS, 2, (-1, count))
    logits_BKGCS[..., count:] += later_CN
    return logits_BKGCS.softmax(-1)[..., :count].amax((2, 3))
