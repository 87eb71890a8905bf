"""KV caches as files: a grouped cache, or the stock one of full attention.

Tensors are stored as safetensors, the rest as a JSON manifest. The files are untrusted: whatever
does not fit the model is a ValueError.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.kernels.dga import DGACache, DGAConfig, LayerConfig
from fdvs.kernels.dga.disk import read_manifest, read_tensors, write_files
from fdvs.kernels.dga.heads import head_configs
from fdvs.models.llm.attention import NAME, load_cache, save_cache
from fdvs.models.llm.attention_options import layer_settings_of, settings_of

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "fdvs-full-cache", 1


def save(cache: Any, folder: Path, *, extra: Mapping[str, Any]) -> None:
    """Write a one-row cache into an empty folder."""
    if hasattr(cache, "store"):
        save_cache(cache, folder, extra=extra)
        return
    tensors = {
        f"{index}.{part}": getattr(layer, part).contiguous()
        for index, layer in enumerate(cache.layers)
        for part in ("keys", "values")
    }
    write_files(folder, tensors, {"format": FORMAT, "version": VERSION, "extra": dict(extra)})


def load(model: Any, folder: Path, *, num_tokens: int) -> tuple[Any, dict[str, Any]]:
    """Return the cache of `num_tokens` that this model filled, and its `extra`.

    Raises:
        ValueError: the files are damaged, or do not fit the model, its settings or the count.
        OSError: they cannot be read.
    """
    from safetensors import SafetensorError

    grouped = model.config.get_text_config()._attn_implementation == NAME
    try:
        cache, extra = (load_cache if grouped else _load_full)(model, folder)
    except (KeyError, TypeError, AttributeError, SafetensorError) as error:
        raise ValueError(f"{folder} is damaged ({type(error).__name__}: {error})") from error
    if misfit := why_not(model, cache, num_tokens):
        raise ValueError(f"{folder}: {misfit}")
    return cache, extra


def why_not(model: Any, cache: Any, num_tokens: int) -> str:
    """Return why a cache cannot be one that this model filled with `num_tokens`, or ''."""
    config = model.config.get_text_config()
    if len(cache.layers) != config.num_hidden_layers:
        return f"{len(cache.layers)} layers where the model has {config.num_hidden_layers}"
    grouped = hasattr(cache, "store")
    if grouped and cache.store.config != settings_of(model):
        return "other settings of the attention than the model's"
    if grouped and not _same_layers(cache.store, layer_settings_of(model)):
        return "other settings of single layers than the model's"
    for index, layer in enumerate(cache.layers):
        found = _grouped_layer(layer, config) if grouped else _full_layer(layer, config)
        if found != (num_tokens, model.dtype):
            return f"layer {index} holds {found}, not {num_tokens} tokens as {model.dtype}"
    return ""


def _same_layers(store: DGACache, layers: Mapping[int, LayerConfig]) -> bool:
    """Whether the layers' settings are the model's, or differ in budgets only (`rereading`)."""
    if layers or not store.layer_configs:
        return store.layer_configs == layers
    return all(
        config.is_dense or _without_budget(config) == _without_budget(store.config)
        for one in store.layer_configs.values()
        for config in head_configs(one)
    )


def _without_budget(config: DGAConfig) -> DGAConfig:
    return replace(config, importance_rate=0.0, group_size=1, dense_threshold=0)


def _key_shape(config: Any) -> tuple[int, int]:
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    return int(key_heads), int(getattr(config, "head_dim", None) or config.hidden_size // heads)


def _grouped_layer(layer: Any, config: Any) -> tuple[int, Any] | str:
    """Return (number of tokens, dtype), or what is wrong. A layer may have several states."""
    states = layer.state.states
    if any(state is None or state.num_seen != layer.slots for state in states):
        return "not one row"
    heads, dim = _key_shape(config)
    keys, queries = [s.k_BKRD.shape for s in states], [s.q_BHJD.shape for s in states]
    dims = {(shape[0], shape[3]) for shape in [*keys, *queries, *(s.v_BKRE.shape for s in states)]}
    if (
        dims != {(1, dim)}
        or sum(shape[1] for shape in keys) != heads
        or sum(shape[1] for shape in queries) != config.num_attention_heads
    ):
        return "other heads"
    kinds = {s.k_BKRD.dtype for s in states}
    return (layer.slots, kinds.pop()) if len(kinds) == 1 else "several types"


def _full_layer(layer: Any, config: Any) -> tuple[int, Any] | str:
    from transformers.cache_utils import DynamicLayer

    if type(layer) is not DynamicLayer or not layer.is_initialized:
        return "no plain keys and values"
    heads, dim = _key_shape(config)
    num_tokens = layer.keys.shape[2] if layer.keys.dim() == 4 else -1
    if not layer.keys.shape == layer.values.shape == (1, heads, num_tokens, dim):
        return "other heads"
    if layer.keys.dtype != layer.values.dtype:
        return "keys and values of two types"
    return num_tokens, layer.keys.dtype


def _load_full(model: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    from transformers import DynamicCache

    manifest = read_manifest(folder, FORMAT, VERSION)
    found = read_tensors(folder, manifest["tensors_sha256"], model.device)
    cache = DynamicCache()
    for index, pair in enumerate(_pairs(found, model.config.get_text_config().num_hidden_layers)):
        cache.update(*pair, index)
    return cache, dict(manifest["extra"])


def _pairs(found: Mapping[str, Tensor], num_layers: int) -> list[tuple[Tensor, Tensor]]:
    if len(found) != 2 * num_layers:
        raise ValueError(f"{len(found)} tensors where {num_layers} layers have two each")
    pairs = [(found[f"{index}.keys"], found[f"{index}.values"]) for index in range(num_layers)]
    for keys, values in pairs:
        if keys.dim() != 4 or keys.shape != values.shape:
            raise ValueError(f"keys {tuple(keys.shape)} and values {tuple(values.shape)}")
    return pairs
