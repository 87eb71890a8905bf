"""Grouped attention for a model that you loaded yourself, in two calls.

    fdvs.enable_dga(model)                                       # says which attention it uses now
    cache = fdvs.read_with_dga(model, tokenizer, text_ids)       # the long part, read once for all
    model.generate(torch.tensor([[*text_ids, *question_ids]]), past_key_values=cache.fork())

Takes a causal language model of transformers, in any precision and on any device. A model that
grouped attention cannot serve keeps its own, and the reason is given. Nothing of the model's
weights or classes changes; `model.set_attn_implementation("sdpa")` undoes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fdvs.errors import InvalidValue, ModelUnavailable
from fdvs.kernels.dga.heads import head_configs
from fdvs.models.llm.attention import NAME, describe_attention, enable, make_cache, set_attention
from fdvs.models.llm.attention_options import AttentionOptions, options_of_plan, settings_of
from fdvs.models.llm.engine import context_tokens, empty_cache, prefill
from fdvs.models.llm.gate import gate_for, read_gated
from fdvs.models.llm.rereading import INSTRUCTION, num_read_twice, read_into, why_not
from fdvs.models.weights.loading import MODEL_FAULTS, reason_of

FULL = "full_attention"  # as transformers names a layer in `layer_types`
#: How far the logits of a short trial may be from the model's own, relative to their size.
TRIAL_TOKENS, MOST_CHANGE = 8, 0.05


def enable_dga(model: Any, *, plan: str | Path | None = None, required: bool = True) -> str:
    """Let a model read through grouped attention, after a trial on a few tokens.

    Args:
        model: a causal language model of transformers.
        plan: budgets by key head that `scripts/plan_attention.py` measured for this model; without
            one they come from each text that `read_with_dga` reads.
        required: raise where the model cannot use it; False leaves the model as it is.

    Returns:
        The attention that the model uses from now on, in words; with `required=False` and a model
        that keeps its own also why.

    Raises:
        ModelUnavailable: the model's attention is of another kind; the message says which.
        InvalidValue: `plan` is no plan, or one for another model.
    """
    options = AttentionOptions() if plan is None else _plan_for(model, Path(plan))
    why = _reason_against(model, options)
    if why and required:
        raise ModelUnavailable(
            f"{type(model).__name__} cannot use grouped attention: {why}; keep its own attention "
            "(enable_dga(model, required=False) does)"
        )
    if why:
        own = getattr(model.config.get_text_config(), "_attn_implementation", None)
        return f"{own or 'unknown'}, the model's own: {why}"
    return describe_attention(model)


def read_with_dga(
    model: Any,
    tokenizer: Any,
    text_ids: Sequence[int] | Tensor,
    *,
    reread: bool = True,
    gate: str | Path | None = None,
) -> Any:
    """Read the first part of a prompt; return its KV cache, for `past_key_values=`.

    Text of which nothing will be evicted is read once and exactly. Longer text is read twice, and
    its tokens are kept by what its repetition attends to (`rereading.py`). With a model that kept
    its own attention the cache is a stock one of the whole text.

    Args:
        tokenizer: the model's; the second reading begins with an instruction in words.
        text_ids: tokens of one text, [tokens] or [1, tokens]; a prompt goes on after them.
        reread: False reads once: faster, and fewer details of the text can be found.
        gate: with `reread=False`: a file of `scripts/plan_attention.py --gate` that judges tokens.

    Returns:
        A cache. `generate` appends to it: give each question a fork of its own (`cache.fork()`).

    Raises:
        InvalidValue: no text, several rows, or a gate for another model.
        ModelUnavailable: nothing says how long the model's context is.
    """
    ids = _one_row(text_ids)
    cache = empty_cache(model)
    judge = None if gate is None else gate_for(model, Path(gate))
    judged = not why_not(cache) and len(ids) > settings_of(model).dense_threshold
    if judged and not reread and judge is not None:
        for _ in read_gated(model, torch.tensor(ids), cache, judge):
            pass
        return cache
    if judged and reread:
        instruction = tokenizer(INSTRUCTION, add_special_tokens=False)["input_ids"]
        most = context_tokens(model, tokenizer)
        if num_read_twice(cache, len(ids), instruction, most):
            read_into(cache, model, ids, instruction=instruction, most_positions=most)
            return cache
    prefill(model, ids, cache)
    return cache


def other_attention(config: Mapping[str, Any]) -> str:
    """Return what a model's config says against grouped attention, or ''.

    Args:
        config: the values of a `config.json`; those of the language model in it count.
    """
    text = config.get("text_config") or config
    kinds = {str(kind) for kind in text.get("layer_types") or text.get("layers_block_type") or ()}
    if other := sorted(kinds - {FULL, "attention"}):
        return f"some layers are {', '.join(other)}"
    window, positions = text.get("sliding_window"), text.get("max_position_embeddings")
    if kinds or not window or not text.get("use_sliding_window", True):
        return ""
    if positions is not None and window >= positions:
        return ""
    return f"its layers attend to the last {window} tokens only (sliding_window)"


def _plan_for(model: Any, path: Path) -> AttentionOptions:
    """Read a plan that has a setting for each of a model's key heads. Raises InvalidValue."""
    options = options_of_plan(path)
    text = model.config.get_text_config()
    of_plan = sorted(
        {(len(options.layers), len(head_configs(one))) for one in options.layers.values()}
    )
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    if of_plan != [(text.num_hidden_layers, heads)]:
        raise InvalidValue(
            "plan", str(path),
            f"a plan for {text.num_hidden_layers} layers of {heads} key heads; this one has "
            f"(layers, heads) {of_plan}",
        )  # fmt: skip
    return options


def _one_row(text_ids: Sequence[int] | Tensor) -> list[int]:
    ids_BL = torch.as_tensor(text_ids)
    rows = ids_BL.reshape(1, -1) if ids_BL.dim() < 2 else ids_BL
    if len(rows) != 1 or not rows.numel():
        raise InvalidValue(
            "text_ids", f"of shape {tuple(ids_BL.shape)}", "one text of at least a token"
        )
    return [int(token) for token in rows[0]]


def _reason_against(model: Any, options: AttentionOptions) -> str:
    """Enable grouped attention; return '' or, with the model as it was, why it cannot be."""
    if why := _unfit(model):
        return why
    before = model.config.get_text_config()._attn_implementation
    training = model.training
    model.eval()
    try:
        if before == NAME:  # enabled before: settings may have changed
            set_attention(model, "sdpa")
        own_LV = _trial(model, None)
        enable(model, options.config, layer_configs=options.layers)
        why = _changed(model, own_LV)
    except MODEL_FAULTS as error:
        why = reason_of(error)
    finally:
        model.train(training)
    if why:
        set_attention(model, "sdpa" if before == NAME else before)
    return why


def _unfit(model: Any) -> str:
    config = getattr(model, "config", None)
    if config is None or not hasattr(model, "set_attn_implementation"):
        return "it is no model of transformers"
    if getattr(config, "is_encoder_decoder", False):
        return "it has an encoder"
    return other_attention(config.get_text_config().to_dict())


def _trial(model: Any, cache: Any | None) -> Tensor:
    """Return the logits of a few tokens, float32 [tokens, vocabulary]."""
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.arange(TRIAL_TOKENS, device=model.device)[None] % vocabulary
    kept = {"use_cache": False} if cache is None else {"past_key_values": cache, "use_cache": True}
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, **kept).logits[0].float()
    return logits


def _changed(model: Any, own_LV: Tensor) -> str:
    """Return how a trial with grouped attention differs from the model's own, or ''."""
    if model.config.get_text_config()._attn_implementation != NAME:
        return "its code does not let its attention be chosen"
    cache = make_cache(model)
    logits_LV = _trial(model, cache)
    without = [
        at for at, layer in enumerate(cache.layers) if max(layer.state.num_seen, default=0) == 0
    ]
    if without:
        return f"its layers {without[:4]} do not attend through transformers' attention interface"
    change = float((logits_LV - own_LV).norm() / own_LV.norm().clamp_min(1e-12))
    return "" if change <= MOST_CHANGE else f"a trial of it changed the predictions by {change:.0%}"
