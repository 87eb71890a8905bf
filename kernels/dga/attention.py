"""The entry point: grouped attention of one layer, over whole sequences or on top of a cache.

Takes queries, keys (already rotated) and values, gives the output and, on request, the
log-sum-exp. Checks the arguments (`inputs.py`) and chooses the backend (`backends.py`).

Shapes: B rows, H query heads, K key heads (H a multiple of K), L tokens, D head dim, E value dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga.backends import BACKENDS, REFERENCE, choose_backend
from fdvs.kernels.dga.cache import HeadsCache
from fdvs.kernels.dga.config import DGAConfig, full_config
from fdvs.kernels.dga.global_mode import global_attention
from fdvs.kernels.dga.heads import (
    LayerConfig,
    check_heads,
    head_groups,
    joined_heads,
    query_heads,
)
from fdvs.kernels.dga.inputs import (
    check_scale,
    check_tensors,
    over_spans,
    row_groups,
    row_spans,
)
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.reference import reference_attention


def dga_attention(
    q_BHLD: Tensor,
    k_BKLD: Tensor,
    v_BKLE: Tensor,
    *,
    config: LayerConfig,
    scale: float | None = None,
    lengths: Tensor | Sequence[int] | None = None,
    cache: DGALayerCache | HeadsCache | None = None,
    return_lse: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend causally, with less important tokens evicted or seen as groups.

    Args:
        config: the settings, or a tuple with one for each key head (`stream` and `full` only).
        scale: factor of the logits; 1 / sqrt(D) by default.
        lengths: valid tokens of each row: None (all), [B] counts (padding at the end) or [B, 2]
            half-open spans (padding at both ends). Positions count from the first valid token.
        cache: state of the earlier tokens; the new ones are appended to it.
        return_lse: also return the log-sum-exp of the biased logits, float32 or wider.
        backend: `auto`, or a name in `backends()`.

    Returns:
        Output [B, H, L, E] in the dtype of v (rows outside `lengths` are zero), and with
        `return_lse` also [B, H, L] (-inf there).

    Raises:
        ValueError: shapes, dtypes or settings that do not fit; the message says what is expected.
    """
    tensors = (q_BHLD, k_BKLD, v_BKLE)
    check_tensors(*tensors)
    rows, _, num_tokens, head_dim = q_BHLD.shape
    factor = check_scale(scale, head_dim)
    spans = row_spans(lengths, rows, num_tokens)
    if cache is not None and cache.config != config:
        raise ValueError(f"the cache was made for {cache.config}, the call has {config}")
    if isinstance(config, tuple):
        parts = cache.parts if isinstance(cache, HeadsCache) else None
        out, lse = _by_head(
            *tensors, configs=config, parts=parts, scale=factor, lengths=lengths,
            return_lse=return_lse, backend=backend,
        )  # fmt: skip
        return (out, lse) if lse is not None else out
    assert not isinstance(cache, HeadsCache)  # its config is a tuple
    choice = choose_backend(
        backend, config=config, device=q_BHLD.device, dtype=q_BHLD.dtype, cached=cache is not None,
        needs_grad=torch.is_grad_enabled() and any(x.requires_grad for x in tensors),
    )  # fmt: skip
    if choice.name == REFERENCE or (config.select == "global" and not config.is_dense):
        attend = _dense if choice.name == REFERENCE else global_attention

        def run(_: int, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            return attend(q, k, v, config=config, scale=factor)

        groups = row_groups(spans, together=len(set(spans)) == 1)
        out, lse = over_spans(run, groups, *tensors)
    else:
        if cache is None:
            cache = DGALayerCache(full_config() if config.is_dense else config)
        out, lse = cache.append(
            *tensors, spans=spans, scale=factor, return_lse=return_lse,
            backend=BACKENDS[choice.name],
        )  # fmt: skip
    return out if lse is None or not return_lse else (out, lse)


def _by_head(
    q_BHLD: Tensor, k_BKLD: Tensor, v_BKLE: Tensor, *, configs: tuple[DGAConfig, ...],
    parts: Sequence[DGALayerCache] | None, return_lse: bool, **others: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attend separately for each group of key heads with equal settings."""
    key_heads = k_BKLD.shape[1]
    check_heads(configs, key_heads)
    groups, per_key = head_groups(configs), q_BHLD.shape[1] // key_heads
    outs, sums = [], []
    for index, (config, heads) in enumerate(groups):
        result = dga_attention(
            q_BHLD[:, query_heads(heads, per_key)], k_BKLD[:, heads], v_BKLE[:, heads],
            config=config, cache=None if parts is None else parts[index], return_lse=return_lse,
            **others,
        )  # fmt: skip
        out, lse = result if isinstance(result, tuple) else (result, None)
        outs.append(out)
        sums += [] if lse is None else [lse]
    order = [heads for _, heads in groups]
    return joined_heads(outs, order, per_key), joined_heads(sums, order, per_key) if sums else None


def _dense(
    q_BHLD: Tensor, k_BKLD: Tensor, v_BKLE: Tensor, *, config: DGAConfig, scale: float
) -> tuple[Tensor, Tensor]:
    """Run the reference row by row, in float32 or wider."""
    wide = torch.promote_types(q_BHLD.dtype, torch.float32)
    rows = [
        reference_attention(
            q_BHLD[row].to(wide), k_BKLD[row].to(wide), v_BKLE[row].to(wide), config=config,
            scale=scale,
        )
        for row in range(q_BHLD.shape[0])
    ]  # fmt: skip
    outs, sums = zip(*rows, strict=True)
    return torch.stack(outs).to(v_BKLE.dtype), torch.stack(sums)
