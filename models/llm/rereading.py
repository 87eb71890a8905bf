"""Query-agnostic KV cache eviction: read a text twice, keep what its reconstruction attends to.

A grouped cache keeps of distant text the tokens that later tokens attended to, which may not be
those that a later question needs. Here the model repeats every passage once ("repeat the part of
the text above"), and the tokens that it attends to meanwhile are kept
(`fdvs.kernels.dga.rereading`, after KVzip, arXiv 2505.23416). The repetition itself is not cached.
It takes about as long as the prefill. Models without measured budgets per key head get them in the
same way, from the beginning of the text.

    cache = make_cache(model)
    read_into(cache, model, ids, instruction=instruction, most_positions=context_tokens)
    generated = generate(model, torch.tensor([[*ids, *question]]), max_new_tokens=64, cache=cache)

Shapes: L tokens, E hidden size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga import DGACache, DGAConfig, by_head, full_config, plan_of_scores
from fdvs.kernels.dga.heads import head_configs

#: The instruction in front of a repeated passage, and how many tokens before it lead into it.
INSTRUCTION = "\n\nRepeat the part of the text above exactly, starting with: "
LEAD_TOKENS = 8
#: Most tokens repeated at once (at least a chunk): their attention weights are held in memory.
MOST_TOKENS = 640


def read_into(
    cache: Any, model: Any, ids: Sequence[int], *, instruction: Sequence[int], most_positions: int
) -> None:
    """Read a text twice into an empty cache; it sets the heads' budgets where none are set."""
    for _ in read_twice(
        model, torch.tensor(list(ids)), cache, instruction=instruction,
        most_positions=most_positions, budgets=not cache.store.layer_configs,
    ):  # fmt: skip
        pass


def read_twice(
    model: Any,
    ids_L: Tensor,
    cache: Any,
    *,
    instruction: Sequence[int],
    most_positions: int,
    budgets: bool = False,
) -> Iterator[Tensor]:
    """Read a text into a grouped cache, each passage twice; yield hidden states [1, ., E].

    The caller must consume all of it. A last incomplete passage is read once: the tokens that
    follow it decide what is kept.

    Args:
        cache: grouped, of one row, empty.
        instruction: tokens of `INSTRUCTION`.
        most_positions: the model's context; passages whose repetition would exceed it are
            read once.
        budgets: set each key head's budget from the first passages, with the mean of the cache's
            settings (`fdvs.kernels.dga.budgets`). Nothing is evicted among these passages.

    Raises:
        ValueError: settings that do not allow it (`why_not`), or, with `budgets`, layers that have
            settings of their own.
    """
    size = passage_tokens(cache)
    twice = num_read_twice(cache, len(ids_L), instruction, most_positions)
    trial = _Trial(cache, min(sample_tokens(cache), twice)) if budgets and twice else None
    for first in range(0, len(ids_L), size):
        last = min(first + size, len(ids_L))
        yield _hidden(model, ids_L[first:last], cache)
        if last > twice:
            continue
        scores_BKC = reread_passage(model, ids_L, cache, range(first, last), instruction)
        if trial is not None and last <= trial.num_tokens:
            trial.take(scores_BKC, last)
        else:
            _commit(cache, scores_BKC)


class _Trial:
    """The first passages, kept whole until each key head's budget is known."""

    def __init__(self, cache: Any, num_tokens: int) -> None:
        if cache.store.layer_configs:
            raise ValueError("the layers have budgets of their own; read with budgets=False")
        self.num_tokens = num_tokens
        self._cache, self._config = cache, cache.store.config
        self._scores: list[list[Tensor]] = [[] for _ in cache.layers]
        cache.adopt(DGACache(full_config()))

    def take(self, scores_BKC: Sequence[Tensor], last: int) -> None:
        """Take a passage's scores; after the last passage, give the cache its budgets."""
        for all_scores, one_BKC in zip(self._scores, scores_BKC, strict=True):
            all_scores.append(one_BKC)
        if last == self.num_tokens:
            scores_BKL = [torch.cat(parts, 2) for parts in self._scores]
            plan = plan_of_scores(scores_BKL, self._config)
            self._cache.adopt(by_head(self._cache.store, self._config, plan))
            _commit(self._cache, scores_BKL)


def reread_passage(
    model: Any, ids_L: Tensor, cache: Any, passage: range, instruction: Sequence[int]
) -> list[Tensor]:
    """Repeat a passage of a text that was read up to its end; return each layer's scores."""
    lead_L = ids_L[max(0, passage.start - LEAD_TOKENS) : passage.start]
    start_L = torch.cat((lead_L.new_tensor(list(instruction)), lead_L))
    again = cache.rereading(passage)
    _hidden(model, torch.cat((start_L, ids_L[passage.start : passage.stop])), again)
    return [layer.scores_BKC for layer in again.layers]


def _commit(cache: Any, scores_BKC: Sequence[Tensor]) -> None:
    for layer, one_BKC in zip(cache.layers, scores_BKC, strict=True):
        layer.state.commit(one_BKC)


def _hidden(model: Any, ids_L: Tensor, cache: Any) -> Tensor:
    with torch.no_grad():
        out = model.base_model(
            input_ids=ids_L[None].to(model.device), past_key_values=cache, use_cache=True
        )
    hidden: Tensor = out.last_hidden_state
    return hidden


def why_not(cache: Any) -> str:
    """Return why a text cannot be read twice into a cache, or ''."""
    if not hasattr(cache, "store"):
        return "full attention keeps everything"
    grouped = [config for config in _configs(cache) if not config.is_dense]
    if not grouped:
        return "nothing is grouped"
    if any(config.pool for config in grouped):
        return "groups are pooled by the tokens that follow them"
    if not min(config.window for config in grouped):
        return "without a window a chunk is committed as soon as it is read"
    if len(chunks := {config.chunk for config in grouped}) > 1:
        return f"the layers have chunks of several sizes, {sorted(chunks)}"
    return ""


def num_read_twice(
    cache: Any, num_tokens: int, instruction: Sequence[int], most_positions: int
) -> int:
    """Return how many of a text's first tokens are repeated: whole passages that fit."""
    size = passage_tokens(cache)
    fitting = most_positions - len(instruction) - LEAD_TOKENS - size
    return max(0, min(num_tokens, fitting) // size * size)


def sample_tokens(cache: Any) -> int:
    """Return how many first tokens set the budgets: those before eviction, at least a passage."""
    size = passage_tokens(cache)
    return max(1, int(cache.store.config.dense_threshold) // size) * size


def passage_tokens(cache: Any) -> int:
    """Return how many tokens are read, then repeated, at once: whole chunks, none committed yet.

    Raises:
        ValueError: settings that do not allow it; `why_not` gives the reason.
    """
    if odd := why_not(cache):
        raise ValueError(f"this text cannot be read twice: {odd}; read it once")
    grouped = [config for config in _configs(cache) if not config.is_dense]
    chunk, window = grouped[0].chunk, min(config.window for config in grouped)
    return max(chunk, min(chunk - 1 + window, MOST_TOKENS) // chunk * chunk)


def _configs(cache: Any) -> Iterator[DGAConfig]:
    for layer in cache.layers:
        yield from head_configs(layer.state.config)
