"""Budgets by key head from the text itself: more for heads that attend far while it is repeated.

    plan = plan_of_scores(scores, config)        # scores of a rereading, by layer
    cache = by_head(cache, config, plan)         # what was read so far, under the new settings

A head's loss under a budget is the attention that the tokens it would evict got from the repetition
(`rereading.py`). The budgets with the least total loss, at the mean of the settings, hold for the
whole text. Unlike `scripts/plan_attention.py`, needs no measurement of the model beforehand.

Shapes: B rows, K key heads, L tokens (whole chunks), n chunks of C tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, unflatten

from fdvs.kernels.dga.cache import DGACache, HeadsCache
from fdvs.kernels.dga.config import DGAConfig, full_config
from fdvs.kernels.dga.heads import head_groups, query_heads
from fdvs.kernels.dga.layer_cache import DGALayerCache
from fdvs.kernels.dga.plan import HeadPlan, allocate, units_share, with_units
from fdvs.kernels.dga.unit_set import StreamState

#: Shares of a chunk that a head may keep, beside the settings' own and everything.
SHARES = (1 / 40, 1 / 16, 5 / 32, 1 / 4, 1 / 2)


def plan_of_scores(scores_BKL: Sequence[Tensor], config: DGAConfig) -> HeadPlan:
    """Choose how many units each key head keeps, at the mean that `config` has for all.

    Args:
        scores_BKL: for each layer the scores of the text's first tokens, whole chunks.
        config: `stream` settings without pooling; all but the budget holds for every head.

    Raises:
        ValueError: settings that pool or group nothing, or no whole chunks.
    """
    if config.is_dense or config.pool:
        raise ValueError("budgets by head need settings that evict tokens (pool=False)")
    levels = _levels(config)
    losses: list[list[list[float]]] = [[] for _ in levels]
    for one_BKL in scores_BKL:
        ranked_BKnC = _ranked(one_BKL, config.chunk)
        for level, rows in zip(levels, losses, strict=True):
            count = config.chunk if level.is_dense else level.units_per_chunk
            rows.append(ranked_BKnC[..., count:].sum((0, 2, 3)).tolist())
    heads = allocate(losses, [units_share(level) for level in levels], units_share(config))
    return HeadPlan(model="the text's own", levels=levels, heads=heads)


def _ranked(scores_BKL: Tensor, chunk: int) -> Tensor:
    count, left = divmod(scores_BKL.shape[2], chunk)
    if left or not count:
        raise ValueError(f"{scores_BKL.shape[2]} scores are not whole chunks of {chunk}")
    chunks_BKnC = unflatten(scores_BKL.double(), 2, (count, chunk))
    return chunks_BKnC.sort(-1, descending=True).values


def _levels(config: DGAConfig) -> tuple[DGAConfig, ...]:
    """Return the settings to choose from, fewest units first; `config`'s budget is among them."""
    least = max(1, config.sinks)
    counts = {max(least, round(share * config.chunk)) for share in SHARES}
    counts = {count for count in counts if count < config.chunk} | {config.units_per_chunk}
    return (*(with_units(config, count) for count in sorted(counts)), full_config())


def by_head(cache: DGACache, config: DGAConfig, plan: HeadPlan) -> DGACache:
    """Return a cache with the settings of a plan that holds what `cache` has read.

    Args:
        cache: `full_config()` in every layer; not changed.
        config: the new cache's own; the plan has every layer's.

    Raises:
        ValueError: layers in which something was grouped, or not as many as in the plan.
    """
    if len(cache.layers) != len(plan.heads):
        raise ValueError(f"the cache has {len(cache.layers)} layers, the plan {len(plan.heads)}")
    threshold = max([config.dense_threshold, *cache.layers[0].num_seen])
    planned = DGACache(config, layer_configs=plan.layer_configs(dense_threshold=threshold))
    for index, layer in enumerate(cache.layers):
        target = planned.layer(index)
        if not isinstance(layer, DGALayerCache) or not layer.config.is_dense:
            raise ValueError(f"layer {index} is not one of full attention; read the text anew")
        assert isinstance(target, HeadsCache)  # a plan has a tuple for each layer
        _split(layer, target)
    return planned


def _split(layer: DGALayerCache, target: HeadsCache) -> None:
    for part, (_, heads) in zip(target.parts, head_groups(target.config), strict=True):
        part.states = [None if state is None else _of_heads(state, heads) for state in layer.states]


def _of_heads(state: StreamState, heads: Sequence[int]) -> StreamState:
    """Return the state of some key heads."""
    per_key = state.q_BHJD.shape[1] // state.k_BKRD.shape[1]
    return replace(
        state, k_BKRD=state.k_BKRD[:, list(heads)], v_BKRE=state.v_BKRE[:, list(heads)],
        q_BHJD=state.q_BHJD[:, query_heads(heads, per_key)], k_buffer=None, v_buffer=None,
    )  # fmt: skip
