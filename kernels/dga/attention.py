"""The entry point: grouped attention of one layer, on whole sequences or on top of a cache.

Takes queries, keys (already rotated) and values, gives the output and, on request, the
log-sum-exp. Chooses the backend (`backends.py`), checks the arguments (`inputs.py`).

Shapes: B rows, H query heads, K key heads (H a multiple of K), L tokens, D head dim, E value dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from fdvs.kernels.dga.backends import choose_backend
from fdvs.kernels.dga.cache import HeadsCache
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.global_mode import global_attention
from fdvs.kernels.dga.heads import (
    LayerConfig,
    check_heads,
    head_groups,
    joined_heads,
    query_heads,
)
from fdvs.kernels.dga.inputs import Spans, check_focal, check_scale, check_tensors, row_spans
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.reference import reference_attention
from fdvs.kernels.dga.stream import append

Run = Callable[[Tensor, Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


def dga_attention(
    q_BHLD: Tensor,
    k_BKLD: Tensor,
    v_BKLE: Tensor,
    *,
    config: LayerConfig,
    scale: float | None = None,
    lengths: Tensor | Sequence[int] | None = None,
    cache: DGALayerCache | HeadsCache | None = None,
    focal_mask: Tensor | None = None,
    return_lse: bool = False,
    backend: str = "auto",
) -> Tensor | tuple[Tensor, Tensor]:
    """Attend causally, with tokens that matter less seen as groups.

    Args:
        config: the settings, or a tuple with those of each key head (`stream` and `full` only).
        scale: factor of the logits; 1 / sqrt(D) by default.
        lengths: valid tokens of each row: None (all), [B] counts (padding at the end) or [B, 2]
            half-open spans (padding at both ends). Positions count from the first valid token.
        cache: state of the earlier tokens; the new ones are appended to it.
        focal_mask: bool [B, L]; tokens that must stay single.
        return_lse: also return the log-sum-exp of the biased logits, float32 or wider.
        backend: `auto`, or one of `backends()`.

    Returns:
        Output [B, H, L, E] in the dtype of v (rows outside `lengths` are zero), and with
        `return_lse` also [B, H, L] (-inf there).

    Raises:
        ValueError: shapes, dtypes or settings that do not fit; the message says what would.
    """
    tensors = (q_BHLD, k_BKLD, v_BKLE)
    check_tensors(*tensors)
    rows, _, num_tokens, head_dim = q_BHLD.shape
    check_focal(focal_mask, rows, num_tokens)
    factor = check_scale(scale, head_dim)
    spans = row_spans(lengths, rows, num_tokens)
    if cache is not None and cache.config != config:
        raise ValueError(f"the cache was made for {cache.config}, the call has {config}")
    if isinstance(config, tuple):
        parts = cache.parts if isinstance(cache, HeadsCache) else None
        out, lse = _by_head(
            *tensors, configs=config, parts=parts, scale=factor, lengths=lengths,
            focal_mask=focal_mask, return_lse=return_lse, backend=backend,
        )  # fmt: skip
        return (out, lse) if lse is not None else out
    assert not isinstance(cache, HeadsCache)  # its config is a tuple
    choice = choose_backend(
        backend, config=config, device=q_BHLD.device, dtype=q_BHLD.dtype, cached=cache is not None,
        needs_grad=torch.is_grad_enabled() and any(x.requires_grad for x in tensors),
    )  # fmt: skip
    if cache is not None:
        out, lse = cache.append(
            q_BHLD, k_BKLD, v_BKLE, spans=spans, scale=factor, focal_BL=focal_mask,
            return_lse=return_lse, backend=choice.name,
        )  # fmt: skip
    else:
        run = _runner(choice.name, config, factor, return_lse)
        out, lse = _by_span(run, q_BHLD, k_BKLD, v_BKLE, focal_mask, spans)
    return out if lse is None or not return_lse else (out, lse)


def _by_head(
    q_BHLD: Tensor, k_BKLD: Tensor, v_BKLE: Tensor, *, configs: tuple[DGAConfig, ...],
    parts: Sequence[DGALayerCache] | None, return_lse: bool, **others: Any,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attend for each group of key heads with equal settings."""
    key_heads = k_BKLD.shape[1]
    check_heads(configs, key_heads)
    groups, per_key = head_groups(configs), q_BHLD.shape[1] // key_heads
    outs, sums = [], []
    for index, (config, heads) in enumerate(groups):
        own = query_heads(heads, per_key)
        made = dga_attention(
            q_BHLD[:, own], k_BKLD[:, heads], v_BKLE[:, heads], config=config,
            cache=None if parts is None else parts[index], return_lse=return_lse, **others,
        )  # fmt: skip
        out, lse = made if isinstance(made, tuple) else (made, None)
        outs.append(out)
        sums += [] if lse is None else [lse]
    order = [heads for _, heads in groups]
    return joined_heads(outs, order, per_key), joined_heads(sums, order, per_key) if sums else None


def _runner(name: str, config: DGAConfig, scale: float, return_lse: bool) -> Run:
    """Return the implementation for rows of equal length without padding."""

    def tiled(
        q: Tensor, k: Tensor, v: Tensor, focal: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        if config.select == "global" and not config.is_dense:
            return global_attention(q, k, v, config=config, scale=scale, focal_BL=focal)
        return append(
            None, q, k, v, config=config, scale=scale, focal_BQ=focal, return_lse=return_lse,
            backend=name,
        )[:2]  # fmt: skip

    def oracle(q: Tensor, k: Tensor, v: Tensor, focal: Tensor | None) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(q.dtype, torch.float32)
        pairs = [
            reference_attention(
                q[row].to(wide), k[row].to(wide), v[row].to(wide), config=config, scale=scale,
                focal_L=None if focal is None else focal[row],
            )
            for row in range(q.shape[0])
        ]  # fmt: skip
        return torch.stack([out for out, _ in pairs]).to(v.dtype), torch.stack(
            [lse for _, lse in pairs]
        )

    return oracle if name == "reference" else tiled


def _by_span(
    run: Run, q: Tensor, k: Tensor, v: Tensor, focal: Tensor | None, spans: Spans
) -> tuple[Tensor, Tensor | None]:
    """Run rows of equal span together, others one by one; fill in the padding."""
    if len(set(spans)) == 1:
        return _run_padded(run, q, k, v, focal, spans[0])
    parts = []
    for row, span in enumerate(spans):
        at = slice(row, row + 1)
        marks = None if focal is None else focal[at]
        parts.append(_run_padded(run, q[at], k[at], v[at], marks, span))
    sums = [lse for _, lse in parts if lse is not None]
    return torch.cat([out for out, _ in parts]), torch.cat(sums) if sums else None


def _run_padded(
    run: Run, q: Tensor, k: Tensor, v: Tensor, focal: Tensor | None, span: tuple[int, int]
) -> tuple[Tensor, Tensor | None]:
    first, last = span
    wide = torch.promote_types(q.dtype, torch.float32)
    if first == last:
        empty = q.new_full(q.shape[:3], -torch.inf, dtype=wide)
        return v.new_zeros(*q.shape[:3], v.shape[3]), empty
    if (first, last) == (0, q.shape[2]):
        return run(q, k, v, focal)
    cut = (slice(None), slice(None), slice(first, last))
    out, lse = run(q[cut], k[cut], v[cut], None if focal is None else focal[:, first:last])
    edge = (first, q.shape[2] - last)
    if lse is not None:
        lse = functional.pad(lse, edge, value=-torch.inf)
    return functional.pad(out, (0, 0, *edge)), lse
