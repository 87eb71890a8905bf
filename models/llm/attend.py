"""What transformers calls for `attn_implementation="dga"`: the attention and its mask.

Both functions are pure: the settings come from the module's config, the state from the cache
layer that travels with the keys (`grouped_cache.py`). The kernels are in `fdvs.kernels.dga`.

Shapes: B rows, H query heads, K key heads, L new tokens, S slots (all tokens, padding included),
C tokens of a passage, D head dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga import (
    DGALayerCache,
    HeadsCache,
    LayerConfig,
    dga_attention,
    reread,
    spans_of_mask,
)
from fdvs.models.llm.attention_options import layer_settings_of, settings_of
from fdvs.models.llm.grouped_cache import LAYER

#: Arguments of other models' attention that would change the result; none may be set.
UNSUPPORTED = ("softcap", "s_aux", "position_bias", "head_mask")


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Grouped attention with the signature of transformers' attention functions.

    Args:
        query: [B, H, L, D]; key, value: [B, K, L, D], new tokens only, keys rotated.
        attention_mask: what `padding_only` returned, [B, S] or None.

    Returns:
        Output [B, L, H, D] and None: attention weights are never materialised.

    Raises:
        ValueError: an argument that grouped attention does not support; the message names it.
    """
    layer = getattr(key, LAYER, None)
    _refuse(module, query, key, attention_mask, dropout, others, layer is not None)
    num_slots = key.shape[2] if layer is None else layer.slots
    if sliding_window is not None and num_slots > sliding_window:
        raise ValueError(
            f"the model attends to the last {sliding_window} tokens only and {num_slots} were "
            "given; set config.sliding_window=None to let dga replace the window"
        )
    spans = None
    if attention_mask is not None:
        new_BL = attention_mask[:, -query.shape[2] :]
        spans = None if bool(new_BL.all()) else spans_of_mask(new_BL)
    out = _run(module, layer, query, key, value, scaling, spans)
    return out.transpose(1, 2).contiguous(), None


def _run(
    module: Any, layer: Any, query: Tensor, key: Tensor, value: Tensor, scale: float | None,
    spans: Any,
) -> Tensor:  # fmt: skip
    if layer is not None and layer.passage is not None:
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        repeated, layer.scores_BKC = reread(
            layer.state, query, key, value, tokens=layer.passage, scale=factor
        )
        return repeated
    given = {"config": _layer_config(module)} if layer is None else _append(layer, query.shape[2])
    out = dga_attention(query, key, value, scale=scale, lengths=spans, **given)
    assert isinstance(out, Tensor)
    return out


def padding_only(
    *, q_length: int, kv_length: int, q_offset: int = 0, mask_function: Callable[..., Any],
    attention_mask: Tensor | None = None, device: torch.device | str = "cpu", **_: Any,
) -> Tensor | None:  # fmt: skip
    """Return the padding of a mask, bool [B, S]; None without padding.

    Raises:
        ValueError: the mask is not causal (packed sequences, prefix or image blocks).
    """
    # enough to tell causal from other masks: a token sees the one before it, not the one after
    i = torch.arange(max(1, int(q_offset)), int(q_offset) + q_length, device=device)
    if len(i) and not _is_causal(mask_function, i):
        raise ValueError(
            "attention_mask or position_ids ask for more than causal attention with padding "
            "(packed sequences, prefix or blocks); use attn_implementation='sdpa' for them"
        )
    if attention_mask is None or bool(attention_mask.all()):
        return None
    missing = kv_length - attention_mask.shape[1]
    return torch.nn.functional.pad(attention_mask, (0, max(0, missing)))


def _is_causal(mask_function: Callable[..., Any], i: Tensor) -> bool:
    from transformers.masking_utils import causal_mask_function

    if mask_function is causal_mask_function:
        return True
    zero = torch.zeros_like(i)
    before = torch.as_tensor(mask_function(zero, zero, i, i - 1))
    after = torch.as_tensor(mask_function(zero, zero, i - 1, i))
    return bool(before.all()) and not bool(after.any())


def _refuse(
    module: Any, query: Tensor, key: Tensor, mask: Tensor | None, dropout: float,
    others: Mapping[str, Any], cached: bool,
) -> None:  # fmt: skip
    asked = [name for name in UNSUPPORTED if others.get(name) is not None]
    if asked:
        raise ValueError(f"dga does not support {asked}; use attn_implementation='sdpa' or 'eager'")
    if dropout:
        raise ValueError(f"attention dropout {dropout} is not supported; set it to 0")
    if not getattr(module, "is_causal", True):
        raise ValueError("dga is causal; this module is not, use attn_implementation='sdpa'")
    if mask is not None and mask.dim() != 2:
        raise ValueError(f"attention_mask {tuple(mask.shape)}: pass the padding, [rows, tokens]")
    if not cached and key.shape[2] != query.shape[2]:
        raise ValueError(
            "the stock cache cannot hold groups; call fdvs.models.llm.attention.enable(model), or "
            "pass past_key_values=make_cache(model)"
        )


def _append(layer: Any, num_new: int) -> dict[str, Any]:
    state: DGALayerCache | HeadsCache = layer.state
    if layer.appended + num_new != layer.slots:
        raise RuntimeError(
            f"the cache announced {layer.slots} tokens and got {layer.appended + num_new}; "
            "a wrapper around the model loses the keys' cache layer (torch.compile?)"
        )
    layer.appended += num_new
    return {"config": state.config, "cache": state}


def _layer_config(module: Any) -> LayerConfig:
    layer_config = layer_settings_of(module).get(getattr(module, "layer_idx", -1))
    return settings_of(module) if layer_config is None else layer_config
