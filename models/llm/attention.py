"""Grouped attention inside transformers: `attn_implementation="dga"` with a KV cache of its own.

    model, tokenizer, attention = load_causal_lm(folder)      # says which attention will run
    generated = generate(model, input_ids, max_new_tokens=64) # says which attention ran

Takes a causal language model (Llama and SmolLM, Qwen2, Qwen3, Mistral and others that call the
attention interface with rotated keys). Changes no class and keeps nothing outside the model: what
transformers calls is in `attend.py`, the settings live in the model's own config, the state in the
cache. `model.generate()` works as usual: greedy, sampling, beams, left padding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fdvs.kernels.dga import DGACache, DGAConfig, LayerConfig, choose_backend, from_disk, to_disk
from fdvs.kernels.dga.heads import check_heads
from fdvs.kernels.dga.plan import mean_share, units_share
from fdvs.models.llm.attend import attend, padding_only
from fdvs.models.llm.attention_options import (
    DEFAULT,
    layer_settings_of,
    settings_of,
    write_settings,
)
from fdvs.models.llm.grouped_cache import LAYER, cache_classes
from fdvs.models.weights.loading import check_all_found

Attention = Literal["dga", "sdpa"]

NAME = "dga"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a model generated.

    Attributes:
        sequences: prompt and new tokens, [rows, tokens].
        new_tokens: the new tokens alone, [rows, new tokens].
        attention: which attention ran, in words.
        cache: the KV cache after the last token that was read; None with stock attention.
    """

    sequences: Tensor
    new_tokens: Tensor
    attention: str
    cache: Any | None


def register() -> None:
    """Make `attn_implementation="dga"` known to transformers (may be repeated)."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, padding_only)


def load_causal_lm(
    source: str | Path,
    *,
    attention: Attention = "dga",
    dtype: torch.dtype = torch.float32,
    config: DGAConfig | None = None,
    device: str | torch.device = "cpu",
    **options: Any,
) -> tuple[Any, Any, str]:
    """Load a causal language model and its tokenizer.

    Args:
        source: local folder or name on a model hub.
        attention: `dga`, or torch's full attention.
        dtype: float32 by default: stock bfloat16 layers are slow on CPU when they decode.
        config: settings of `dga`; None for `DEFAULT`, which is exact up to 2048 tokens.
        options: passed to `from_pretrained` (`revision`, `gguf_file`, `local_files_only`, ...).

    Returns:
        Model (in eval mode), tokenizer, and a description of the attention that it uses.

    Raises:
        ValueError: unknown attention, or settings without `dga`.
        ModelError: tensors that the config declares are missing.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if attention not in ("dga", "sdpa"):
        raise ValueError(f"attention={attention!r} is unknown; choose 'dga' or 'sdpa'")
    if attention == "sdpa" and config is not None:
        raise ValueError("config is for attention='dga' only; drop it, or choose 'dga'")
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    model, told = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, attn_implementation="sdpa", use_safetensors=True,
        output_loading_info=True, device_map={"": device}, **options,
    )  # fmt: skip
    check_all_found(model, told, str(source))
    model.eval()
    if attention == "dga":
        enable(model, config)
    return model, tokenizer, describe_attention(model)


def enable(
    model: Any,
    config: DGAConfig | None = None,
    *,
    layer_configs: Mapping[int, LayerConfig] | None = None,
) -> None:
    """Let a model use grouped attention, and give `generate()` the cache it needs.

    Works on this one model: its attention implementation is switched, the settings are written
    into its config, and a forward hook puts a grouped cache where an empty stock cache would go.

    Args:
        layer_configs: settings of layers that differ from `config`, by index; a tuple gives each
            key head its own.

    Raises:
        ValueError: settings that cannot be used with a cache (`select="global"`), or a layer that
            the model does not have.
    """
    config = DEFAULT if config is None else config
    layer_configs = dict(layer_configs or {})
    DGACache(config, layer_configs=layer_configs)  # raises where a cache cannot use them
    text = model.config.get_text_config()
    num_layers = text.num_hidden_layers
    for layer_config in layer_configs.values():
        if isinstance(layer_config, tuple):
            check_heads(layer_config, text.num_key_value_heads)
    if wrong := [index for index in layer_configs if not 0 <= index < num_layers]:
        raise ValueError(f"layer_configs names layers {wrong}; the model has 0 to {num_layers - 1}")
    register()
    if text._attn_implementation != NAME:
        set_attention(model, NAME)
    write_settings(model, config, layer_configs)
    if not getattr(model, LAYER, False):
        setattr(model, LAYER, True)
        model.register_forward_pre_hook(_give_cache, with_kwargs=True)


def set_attention(model: Any, name: str) -> None:
    """Switch the attention of the text backbone only, where a model has others (vision, audio)."""
    config, text = model.config, model.config.get_text_config()
    parts = [part for part in config.sub_configs if getattr(config, part, None) is text]
    model.set_attn_implementation(dict.fromkeys(parts, name) or name)


def describe_attention(model: Any) -> str:
    """Describe the attention that a model uses, and which implementation of it."""
    name = model.config.get_text_config()._attn_implementation
    if name != NAME:
        return f"{name}: full attention"
    config = settings_of(model)
    device = next(model.parameters()).device
    choice = choose_backend(config=config, device=device, dtype=model.dtype, cached=True)
    return (
        f"dga ({choice.name}, {choice.reason}): {_describe_config(config)}{_describe_layers(model)}"
    )


def make_cache(
    model: Any,
    config: DGAConfig | None = None,
    *,
    layer_configs: Mapping[int, LayerConfig] | None = None,
) -> Any:
    """Return an empty grouped cache for `past_key_values=`.

    `config` None: the model's settings and those of its layers; else `config` and `layer_configs`.
    The cache reports `num_bytes()` by part and `num_seen`; its `store` is the `DGACache`.
    """
    if config is None:
        config = settings_of(model)
        layer_configs = layer_settings_of(model) if layer_configs is None else layer_configs
    store = DGACache(config, layer_configs=layer_configs)
    return cache_classes()[1](store, [0] * model.config.get_text_config().num_hidden_layers)


def save_cache(cache_: Any, folder: Path, *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a grouped cache to a folder, so that its text need not be prefilled again."""
    slots = [layer.slots for layer in cache_.layers]
    return to_disk(cache_.store, folder, extra={"slots": slots, "extra": dict(extra or {})})


def load_cache(model: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Return a cache written by `save_cache`, and its `extra`.

    Raises:
        ValueError: no cache there, damaged files, or another number of layers than the model's.
    """
    store, manifest = from_disk(folder, device=next(model.parameters()).device)
    num_layers = model.config.get_text_config().num_hidden_layers
    if len(manifest["slots"]) != num_layers:
        raise ValueError(
            f"{folder} holds {len(manifest['slots'])} layers, the model has {num_layers}; "
            "it was written by another model"
        )
    return cache_classes()[1](store, manifest["slots"]), manifest["extra"]


def generate(
    model: Any,
    input_ids: Tensor,
    *,
    max_new_tokens: int,
    attention_mask: Tensor | None = None,
    cache: Any | None = None,
    **options: Any,
) -> Generated:
    """Generate after a prompt; greedy unless `options` say otherwise.

    Args:
        input_ids: [rows, tokens], padded on the left. With a filled `cache`: all tokens, those
            in the cache included.
        attention_mask: [rows, tokens], 0 where padded; None without padding.
        cache: from `make_cache`, `load_cache` or a stock one; None for a new one.
        options: passed to `model.generate` (`do_sample`, `num_beams`, `eos_token_id`, ...).
    """
    if cache is None and model.config.get_text_config()._attn_implementation == NAME:
        cache = make_cache(model)
    if cache is not None:
        options = {**options, "past_key_values": cache}
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    with torch.no_grad():
        sequences = model.generate(
            input_ids, attention_mask=mask, max_new_tokens=max_new_tokens,
            **{"do_sample": False, **options},
        )  # fmt: skip
    return Generated(
        sequences=sequences, new_tokens=sequences[:, input_ids.shape[1] :],
        attention=describe_run(model, cache), cache=cache,
    )  # fmt: skip


def _give_cache(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Forward pre-hook: use a grouped cache in place of an empty stock cache."""
    from transformers import DynamicCache

    text = model.config.get_text_config()
    if model.training or text._attn_implementation != NAME:
        return None
    given = kwargs.get("past_key_values")
    if isinstance(given, cache_classes()[1]):
        return args, _without_cached(kwargs, given.get_seq_length())
    use_cache = kwargs.get("use_cache")
    use_cache = getattr(text, "use_cache", True) if use_cache is None else use_cache
    if given is not None and (type(given) is not DynamicCache or given.get_seq_length()):
        return None
    if not use_cache:
        return None
    return args, {**kwargs, "past_key_values": make_cache(model)}


def _without_cached(kwargs: dict[str, Any], num_cached: int) -> dict[str, Any]:
    """Drop tokens that the cache holds already, where their positions show that they are given.

    The first step of `generate` with drafts (prompt lookup, an assistant) passes the whole prompt,
    also where the cache of its beginning was given (transformers 5.23).
    """
    ids, positions = kwargs.get("input_ids"), kwargs.get("position_ids")
    if ids is None or positions is None or not 0 < num_cached < ids.shape[1] or len(ids) != 1:
        return kwargs
    if not torch.equal(positions, torch.arange(ids.shape[1], device=positions.device)[None]):
        return kwargs
    return {
        **kwargs, "input_ids": ids[:, num_cached:], "position_ids": positions[:, num_cached:],
    }  # fmt: skip


def describe_run(model: Any, used: Any | None) -> str:
    """Describe the attention that a model used, and how many tokens of a cache it grouped."""
    if used is None or not hasattr(used, "store"):
        return describe_attention(model)
    seen = max(used.store.layer(0).num_seen, default=0)
    config: DGAConfig = used.store.config
    chunks = config.chunks_visible(seen)
    grouped = chunks * config.chunk
    if not grouped:
        return f"{describe_attention(model)}; {seen} tokens read, none grouped yet: exact"
    units = "units, more or fewer by layer"
    if not used.store.layer_configs:
        units = f"{chunks * config.units_per_chunk} units"
    return f"{describe_attention(model)}; {seen} tokens read, {grouped} of them as {units}"


def _describe_config(config: DGAConfig) -> str:
    if config.is_dense:
        return "nothing is grouped, full attention"
    share = config.units_per_chunk / config.chunk
    first = max(config.dense_threshold, config.commit_time(0))
    others = f"groups of {config.group_size}" if config.pool else "the others dropped"
    return (
        f"{config.select}, {config.num_focal} of {config.chunk} tokens single, {others} "
        f"({share:.1%} of the tokens kept), window {config.window}, exact for the first {first} "
        "tokens"
    )


def _describe_layers(model: Any) -> str:
    layers = layer_settings_of(model)
    num_layers = model.config.get_text_config().num_hidden_layers
    if not layers:
        return ""
    configs = (layers.get(index, settings_of(model)) for index in range(num_layers))
    kept = mean_share(configs, units_share)
    return (
        f"; {len(layers)} of {num_layers} layers with settings of their own, over all heads "
        f"{kept:.1%} of the tokens kept"
    )
