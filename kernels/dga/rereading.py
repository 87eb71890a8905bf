"""Score tokens by repeating them: what a model attends to while it writes a passage once more.

    out, scores = reread(layer, q, k, v, tokens=range(480, 960), scale=scale)
    layer.commit(scores)

The queries that follow a passage score it by what they happen to need, and nobody knows what will
be asked later. A model that repeats a passage has to look up every detail of it, so the attention
that a token gets then is an importance that serves any later question: the idea of KVzip (arXiv
2505.23416), here on a grouped cache, passage by passage while the text is read. The tokens of a
rereading attend to the cache and to each other, and are never appended.

Shapes: B rows, H query heads, K key heads, G = H / K, N tokens of the rereading (an instruction,
then the passage), C tokens of the passage, X = G C queries that repeat it, S = all keys that they
attend to, D head dim, F = D + 1, E value dim.
"""

from __future__ import annotations

import torch
from torch import Tensor, unflatten

from fdvs.kernels.dga.backends import BACKENDS, choose_backend
from fdvs.kernels.dga.cache import HeadsCache
from fdvs.kernels.dga.config import DGAConfig, full_config
from fdvs.kernels.dga.heads import head_groups, joined_heads, query_heads
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.unit_set import AttendInputs, StreamState

FULL = full_config()
#: Width of the values where only the log-sum-exp is wanted.
FEW_VALUES = 8


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
        layer: the state of the text up to here; not changed.
        tokens: positions of the passage, all of them still raw; the last queries repeat them.

    Returns:
        Output [B, H, N, E], and scores [B, K, C], float32 or wider: the most attention that a token
        of the passage got from one of the repeating queries, normalised over the passage and the
        rereading.

    Raises:
        ValueError: rows of unequal length, a passage that the layer no longer holds raw, or
            settings that pool.
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
    if config.pool:
        raise ValueError("pool=True weighs groups by their judges; reread with pool=False")
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
    num_units = state.raw_start // config.chunk * config.units_per_chunk
    if state.units is not None and num_units:  # without pooling, units are single tokens
        keys.insert(0, state.units.keys_BKND[:, :, :num_units])
        values.insert(0, state.units.values_BKNE[:, :, :num_units])
    out, _ = _in_full(q_BHND, torch.cat(keys, 2), torch.cat(values, 2), scale)
    return out


def _in_full(
    q_BHND: Tensor, k_BKSD: Tensor, v_BKSE: Tensor, scale: float, *, return_lse: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Attend causally from the last N of S tokens."""
    choice = choose_backend(config=FULL, device=q_BHND.device, dtype=q_BHND.dtype, cached=True)
    inputs = AttendInputs(
        q_BHQD=q_BHND, units=None, k_BKRD=k_BKSD, v_BKRE=v_BKSE,
        q_start=k_BKSD.shape[2] - q_BHND.shape[2], raw_start=0, config=FULL, scale=scale,
        return_lse=return_lse,
    )  # fmt: skip
    return BACKENDS[choice.name].attend(inputs)


def _scores(
    state: StreamState, q_BHND: Tensor, k_BKND: Tensor, tokens: range, scale: float
) -> Tensor:
    """Return the most attention that each repeated token gets: [B, K, C]."""
    first, count = tokens.start - state.raw_start, len(tokens)
    passage_BKCD = state.k_BKRD[:, :, first : first + count]
    keys_BKSD, q_BHCD = torch.cat((passage_BKCD, k_BKND), 2), q_BHND[:, :, -count:]
    few_BKSE = keys_BKSD[..., :FEW_VALUES]  # any values will do for the log-sum-exp
    _, lse_BHC = _in_full(q_BHCD, keys_BKSD, few_BKSE, scale, return_lse=True)
    assert lse_BHC is not None
    wide = torch.promote_types(q_BHND.dtype, torch.float32)
    q_BKXD = unflatten(q_BHCD, 1, (k_BKND.shape[1], -1)).flatten(2, 3).to(wide)
    lse_BKX = unflatten(lse_BHC, 1, (k_BKND.shape[1], -1)).flatten(2, 3).to(wide)
    # the log-sum-exp is one more dimension, so the product is the logarithm of the attention
    left_BKXF = torch.cat((q_BKXD * scale, -lse_BKX[..., None]), -1)
    ones_BKC = passage_BKCD.new_ones(passage_BKCD.shape[:3], dtype=wide)
    right_BKCF = torch.cat((passage_BKCD.to(wide), ones_BKC[..., None]), -1)
    return (left_BKXF @ right_BKCF.mT).amax(2).exp()
