"""Grouped attention inside transformers: `attn_implementation="dga"` with a cache of its own.

    model, tokenizer, attention = load_causal_lm(folder)      # says which attention will run
    made = generate(model, input_ids, max_new_tokens=64)      # says which attention ran

Takes a causal language model (Llama and SmolLM, Qwen2, Qwen3, Mistral and others that call the
attention interface with rotated keys), changes no class and keeps nothing outside the model: the
two functions registered with transformers are pure, the settings live in the model's own config,
the state in the cache. `model.generate()` works as usual: greedy, sampling, beams, left padding.
The kernels are in `fdvs.kernels.dga`; this file knows nothing of stories.

Shapes: B rows, H query heads, K key heads, L new tokens, S slots (all tokens, padding included),
D head dim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fdvs.kernels.dga import (
    DGACache,
    DGAConfig,
    DGALayerCache,
    HeadsCache,
    LayerConfig,
    choose_backend,
    dga_attention,
    from_disk,
    reread,
    spans_of_mask,
    to_disk,
)
from fdvs.kernels.dga.heads import check_heads, config_of, config_values
from fdvs.kernels.dga.plan import mean_share, units_share
from fdvs.models.llm.grouped_cache import LAYER, cache_classes

Attention = Literal["dga", "sdpa"]

NAME = "dga"
#: Settings of a model that was given none: nothing is grouped for the first 2048 tokens, where
#: full attention is cheap and grouping would only cost quality.
DEFAULT = DGAConfig(dense_threshold=2048)
#: Where the settings live in a model's config, as plain JSON.
SETTINGS = "dga_config"
#: Settings of layers that differ, by index (as text: JSON).
LAYER_SETTINGS = "dga_layer_configs"
#: Arguments of other models' attention that would change the result; none may be set.
UNKNOWN = ("softcap", "s_aux", "position_bias", "head_mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """Hold what a model wrote.

    Attributes:
        sequences: prompt and new tokens, [rows, tokens].
        new_tokens: only the new ones.
        attention: which attention ran, in words.
        cache: the cache after the last token that was read; None with stock attention.
    """

    sequences: Tensor
    new_tokens: Tensor
    attention: str
    cache: Any | None


def register() -> None:
    """Make `attn_implementation="dga"` known to transformers (once is enough, more do no harm)."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, padding_only)


def load_causal_lm(
    source: str | Path,
    *,
    attention: Attention = "dga",
    dtype: torch.dtype = torch.float32,
    gguf_file: str | None = None,
    config: DGAConfig | None = None,
    device: str | torch.device = "cpu",
    **options: Any,
) -> tuple[Any, Any, str]:
    """Load a causal language model and its tokenizer.

    Args:
        source: local folder or name on a model hub.
        attention: `dga`, or torch's full attention.
        dtype: float32 by default: stock bfloat16 layers are slow on CPU when they decode.
        gguf_file: name of a GGUF file in `source`, if the weights are in one.
        config: settings of `dga`; None for `DEFAULT`, which is exact up to 2048 tokens.
        options: passed to `from_pretrained` (`revision`, `local_files_only`, ...).

    Returns:
        Model (in eval mode), tokenizer, and in words which attention it uses.

    Raises:
        ValueError: unknown attention, or settings without `dga`.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if attention not in ("dga", "sdpa"):
        raise ValueError(f"attention={attention!r} is unknown; choose 'dga' or 'sdpa'")
    if attention == "sdpa" and config is not None:
        raise ValueError("config belongs to attention='dga'; drop it, or choose 'dga'")
    if gguf_file is not None:
        options = {**options, "gguf_file": gguf_file}
    tokenizer = AutoTokenizer.from_pretrained(source, **options)
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=dtype, attn_implementation="sdpa", **options
    )
    model = model.to(device).eval()
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
        layer_configs: settings of layers that differ from `config`, by index; a tuple has those of
            each key head.

    Raises:
        ValueError: the settings are not usable with a cache (`select="global"`), or there is no
            such layer.
    """
    config = DEFAULT if config is None else config
    own = dict(layer_configs or {})
    DGACache(config, layer_configs=own)
    text = model.config.get_text_config()
    num_layers = text.num_hidden_layers
    for one in own.values():
        if isinstance(one, tuple):
            check_heads(one, text.num_key_value_heads)
    if wrong := [index for index in own if not 0 <= index < num_layers]:
        raise ValueError(f"layer_configs names layers {wrong}; the model has 0 to {num_layers - 1}")
    register()
    if text._attn_implementation != NAME:
        model.set_attn_implementation(_text_only(model.config, NAME))
    setattr(text, SETTINGS, config.to_dict())
    setattr(text, LAYER_SETTINGS, {str(index): config_values(one) for index, one in own.items()})
    if not getattr(model, LAYER, False):
        setattr(model, LAYER, True)
        model.register_forward_pre_hook(_give_cache, with_kwargs=True)


def _text_only(config: Any, name: str) -> str | dict[str, str]:
    """Name the attention of the text backbone only, where a model has others (vision, sound)."""
    text = config.get_text_config()
    parts = [part for part in config.sub_configs if getattr(config, part, None) is text]
    return dict.fromkeys(parts, name) or name


def settings_of(model: Any) -> DGAConfig:
    """Return the settings in a model's config, or `DEFAULT`; single layers may differ."""
    written = getattr(model.config.get_text_config(), SETTINGS, None)
    return DEFAULT if written is None else DGAConfig(**written)


def layer_settings_of(model: Any) -> dict[int, LayerConfig]:
    """Return the settings of layers that differ from the model's, by index."""
    written = getattr(model.config.get_text_config(), LAYER_SETTINGS, None) or {}
    return {int(index): config_of(one) for index, one in written.items()}


def _settings_of_module(module: Any) -> LayerConfig:
    own = layer_settings_of(module).get(getattr(module, "layer_idx", -1))
    return settings_of(module) if own is None else own


def describe_attention(model: Any) -> str:
    """Say in words which attention a model uses, and which implementation of it."""
    name = model.config.get_text_config()._attn_implementation
    if name != NAME:
        return f"{name}: full attention"
    config = settings_of(model)
    device = next(model.parameters()).device
    choice = choose_backend(config=config, device=device, dtype=model.dtype, cached=True)
    return f"dga ({choice.name}, {choice.reason}): {_in_words(config)}{_of_layers(model)}"


def make_cache(
    model: Any,
    config: DGAConfig | None = None,
    *,
    layer_configs: Mapping[int, LayerConfig] | None = None,
) -> Any:
    """Return an empty grouped cache for `past_key_values=`.

    Without arguments it has the model's settings; those of single layers go with their `config`.

    It reports `num_bytes()` by part and `num_seen`, and its `store` is the `DGACache`.
    """
    if config is None:
        config = settings_of(model)
        layer_configs = layer_settings_of(model) if layer_configs is None else layer_configs
    store = DGACache(config, layer_configs=layer_configs)
    return cache_classes()[1](store, [0] * model.config.get_text_config().num_hidden_layers)


def save_cache(cache_: Any, folder: Path, *, extra: Mapping[str, Any] | None = None) -> Path:
    """Write a grouped cache, so that a text that was read need not be read again."""
    slots = [layer.slots for layer in cache_.layers]
    return to_disk(cache_.store, folder, extra={"slots": slots, "extra": dict(extra or {})})


def load_cache(model: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Read a cache written by `save_cache`, and what was kept beside it.

    Raises:
        ValueError: no cache there, damage, or another number of layers than the model has.
    """
    store, kept = from_disk(folder, device=next(model.parameters()).device)
    num_layers = model.config.get_text_config().num_hidden_layers
    if len(kept["slots"]) != num_layers:
        raise ValueError(
            f"{folder} holds {len(kept['slots'])} layers, the model has {num_layers}; "
            "it was written by another model"
        )
    return cache_classes()[1](store, kept["slots"]), kept["extra"]


def generate(
    model: Any,
    input_ids: Tensor,
    *,
    max_new_tokens: int,
    attention_mask: Tensor | None = None,
    cache: Any | None = None,
    **options: Any,
) -> Generated:
    """Write on from a prompt; greedy unless `options` say otherwise.

    Args:
        input_ids: [rows, tokens], padded on the left. With a filled `cache`: all tokens, those
            already read included.
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
    said = describe_run(model, cache)
    new_tokens = sequences[:, input_ids.shape[1] :]
    return Generated(sequences=sequences, new_tokens=new_tokens, attention=said, cache=cache)


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
    """Attend as transformers asks its attention functions to.

    Args:
        query: [B, H, L, D]; key, value: [B, K, L, D], new tokens only, rotated.
        attention_mask: what `padding_only` returned, [B, S] or None.

    Returns:
        Output [B, L, H, D] and None (no weights are ever formed).

    Raises:
        ValueError: something the grouped attention cannot honour; the message names it.
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
    run: dict[str, Any]
    if layer is None:
        run = {"config": _settings_of_module(module)}
    elif layer.passage is not None:
        factor = query.shape[-1] ** -0.5 if scale is None else scale
        again, layer.scores_BKC = reread(
            layer.state, query, key, value, tokens=layer.passage, scale=factor
        )
        return again
    else:
        run = _cached(layer, query.shape[2])
    out = dga_attention(query, key, value, scale=scale, lengths=spans, **run)
    assert isinstance(out, Tensor)
    return out


def padding_only(
    *, q_length: int, kv_length: int, q_offset: int = 0, mask_function: Callable[..., Any],
    attention_mask: Tensor | None = None, device: torch.device | str = "cpu", **_: Any,
) -> Tensor | None:  # fmt: skip
    """Keep of a mask only its padding: bool [B, S], or None without padding.

    Raises:
        ValueError: the mask is not causal (packed sequences, prefix or image blocks).
    """
    # neighbours tell: a token must see the one before it and not the one after
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
    asked = [name for name in UNKNOWN if others.get(name) is not None]
    if asked:
        raise ValueError(f"dga does not know {asked}; use attn_implementation='sdpa' or 'eager'")
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


def _cached(layer: Any, num_new: int) -> dict[str, Any]:
    state: DGALayerCache | HeadsCache = layer.state
    if layer.appended + num_new != layer.slots:
        raise RuntimeError(
            f"the cache was told of {layer.slots} tokens and given {layer.appended + num_new}; "
            "a wrapper around the model loses the keys' cache layer (torch.compile?)"
        )
    layer.appended += num_new
    return {"config": state.config, "cache": state}


def _give_cache(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Put a grouped cache where an empty stock cache would be used (forward pre-hook)."""
    from transformers import DynamicCache

    text = model.config.get_text_config()
    if model.training or text._attn_implementation != NAME:
        return None
    given = kwargs.get("past_key_values")
    wanted = kwargs.get("use_cache")
    wanted = getattr(text, "use_cache", True) if wanted is None else wanted
    if given is not None and (type(given) is not DynamicCache or given.get_seq_length()):
        return None
    if not wanted:
        return None
    return args, {**kwargs, "past_key_values": make_cache(model)}


def describe_run(model: Any, used: Any | None) -> str:
    """Say which attention a model used, and how much of what a cache holds it grouped."""
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


def _in_words(config: DGAConfig) -> str:
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


def _of_layers(model: Any) -> str:
    own = layer_settings_of(model)
    num_layers = model.config.get_text_config().num_hidden_layers
    if not own:
        return ""
    kept = mean_share((own.get(at, settings_of(model)) for at in range(num_layers)), units_share)
    return (
        f"; {len(own)} of {num_layers} layers with settings of their own, over all heads "
        f"{kept:.1%} of the tokens kept"
    )
