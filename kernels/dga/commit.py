"""Commit chunks: score their tokens and turn them into units, many chunks at once (`stream` mode).

Takes raw keys and values from the first chunk on and the queries that score them, gives the units
in the order of the chunks: first the single tokens of a chunk, then its groups. The choice of
tokens carries no gradient; the pooling does.

Chunk c is scored by the queries (t_c - n_q, t_c], its judges. A token's score is the attention it
gets from them, normalised over the raw tokens from the chunk's start on. So chunks do not depend
on each other, and no evicted token is needed again.

Shapes: B rows, H query heads, K key heads, G = H / K, R raw tokens, D head dim, E value dim,
n chunks, C tokens of a chunk, S = C + window, J judges, X = G J judges of all heads, F single
tokens, g groups of m, U units.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, unflatten

from fdvs.kernels.dga.config import DGAConfig, random_score
from fdvs.kernels.dga.unit_set import StreamState, Units

#: A backend's kernel that scores chunks, or gives None where torch has to (`cpp.score_chunks`).
ScoreChunks = Callable[..., Tensor | None]
#: Logits held at once while scoring (floats): what fits a CPU's cache, what fills a GPU.
JUDGE_BUDGET = {"cpu": 2**20}
JUDGE_BUDGET_OTHER = 2**24


def first_query_needed(config: DGAConfig, chunk: int) -> int:
    """Return the first position whose query the commit of `chunk` or of a later one needs."""
    if config.weight == "lastq":
        return chunk * config.chunk
    return first_judge(config, chunk)


def first_judge(config: DGAConfig, chunk: int) -> int:
    """Return the position of the first query that judges `chunk`."""
    return config.commit_time(chunk) - config.score_queries + 1


def build_units(
    state: StreamState, chunks: range, *, config: DGAConfig, scale: float,
    score_chunks: ScoreChunks | None = None, threads: int = 1,
) -> Units:  # fmt: skip
    """Score some chunks, whose tokens and judges the state holds, and build their units.

    Args:
        score_chunks: the backend's own kernel for scores, on at most `threads` threads.
    """
    if score_chunks is not None:
        scores_BKnC = score_chunks(
            state.q_BHJD, state.k_BKRD, judge_at=first_judge(config, chunks.start) - state.q_start,
            first=chunks.start * config.chunk - state.raw_start, chunks=len(chunks),
            config=config, scale=scale, threads=threads,
        )  # fmt: skip
        if scores_BKnC is not None:
            return best_units(state, scores_BKnC, chunks, config)
    rows, heads = state.q_BHJD.shape[:2]
    per_chunk = rows * heads * config.score_queries * (config.chunk + config.window)
    budget = JUDGE_BUDGET.get(state.q_BHJD.device.type, JUDGE_BUDGET_OTHER)
    step = max(1, budget // per_chunk)
    return Units.concatenate([
        _build(state, chunks[at : at + step], config, scale) for at in range(0, len(chunks), step)
    ])  # fmt: skip


def _build(state: StreamState, chunks: range, config: DGAConfig, scale: float) -> Units:
    """Score chunks in torch and build their units."""
    count, size = len(chunks), config.chunk
    first = chunks.start * size - state.raw_start
    span_BKnDS = _windows(state.k_BKRD, first, size + config.window, size, count)
    judge_at = first_judge(config, chunks.start) - state.q_start
    q_BHnDJ = _windows(state.q_BHJD, judge_at, config.score_queries, size, count)
    logits_BKnXS = _judge_logits(q_BHnDJ, span_BKnDS, scale)
    scores_BKnC = _scores(logits_BKnXS.detach(), config, chunks)
    if config.pool:
        return _pooled_units(state, scores_BKnC, logits_BKnXS, chunks, config, scale)
    return best_units(state, scores_BKnC, chunks, config)


def _pooled_units(
    state: StreamState, scores_BKnC: Tensor, logits_BKnXS: Tensor, chunks: range,
    config: DGAConfig, scale: float,
) -> Units:  # fmt: skip
    """Return the single tokens and the groups of each chunk."""
    focal_BKnF, rest_BKngm = _split(scores_BKnC, chunks, config)
    k_BKnCD, v_BKnCE = _in_chunks(state, chunks, config)
    rest_k_BKngmD = unflatten(_take(k_BKnCD, rest_BKngm.flatten(3)), 3, rest_BKngm.shape[3:])
    rest_v_BKngmE = unflatten(_take(v_BKnCE, rest_BKngm.flatten(3)), 3, rest_BKngm.shape[3:])
    if config.weight == "lastq":
        at, split = chunks.start * config.chunk - state.q_start, (len(chunks), config.chunk)
        q_BHnCD = unflatten(state.q_BHJD[:, :, at : at + split[0] * split[1]], 2, split)
        w_BKngm = _last_weights(q_BHnCD, rest_k_BKngmD, rest_BKngm, scale)
    else:
        w_BKngm = _mean_weights(logits_BKnXS, rest_BKngm)
    pooled_k = (w_BKngm[..., None] * rest_k_BKngmD).sum(4).to(k_BKnCD.dtype)
    pooled_v = (w_BKngm[..., None] * rest_v_BKngmE).sum(4).to(v_BKnCE.dtype)
    bias_BKng = group_bias(w_BKngm, config)
    return Units(
        keys_BKND=torch.cat((_take(k_BKnCD, focal_BKnF), pooled_k), 3).flatten(2, 3),
        values_BKNE=torch.cat((_take(v_BKnCE, focal_BKnF), pooled_v), 3).flatten(2, 3),
        bias_BKN=torch.cat((bias_BKng.new_zeros(focal_BKnF.shape), bias_BKng), 3).flatten(2, 3),
    )


def best_units(state: StreamState, scores_BKnC: Tensor, chunks: range, config: DGAConfig) -> Units:
    """Return the tokens of highest score of each chunk as units, without pooling."""
    focal_BKnF, _ = _split(scores_BKnC, chunks, config)
    k_BKnCD, v_BKnCE = _in_chunks(state, chunks, config)
    keys_BKND = _take(k_BKnCD, focal_BKnF).flatten(2, 3)
    wide = torch.promote_types(keys_BKND.dtype, torch.float32)
    return Units(
        keys_BKND=keys_BKND,
        values_BKNE=_take(v_BKnCE, focal_BKnF).flatten(2, 3),
        bias_BKN=keys_BKND.new_zeros(keys_BKND.shape[:3], dtype=wide),
    )


def _in_chunks(state: StreamState, chunks: range, config: DGAConfig) -> tuple[Tensor, Tensor]:
    """Return the raw keys [B, K, n, C, D] and values [B, K, n, C, E] of chunks."""
    first, split = chunks.start * config.chunk - state.raw_start, (len(chunks), config.chunk)
    last = first + split[0] * split[1]
    return (
        unflatten(state.k_BKRD[:, :, first:last], 2, split),
        unflatten(state.v_BKRE[:, :, first:last], 2, split),
    )


def _windows(x_BXRD: Tensor, first: int, size: int, step: int, count: int) -> Tensor:
    """View `count` spans of `size` positions, `step` apart: [B, X, n, D, size], no copy."""
    last = first + (count - 1) * step + size
    return x_BXRD[:, :, first:last].unfold(2, size, step)


def _judge_logits(q_BHnDJ: Tensor, span_BKnDS: Tensor, scale: float) -> Tensor:
    """Return the causal logits of the judges, heads outermost, over raw tokens: [B, K, n, X, S]."""
    heads, judges = span_BKnDS.shape[1], q_BHnDJ.shape[-1]
    wide = torch.promote_types(q_BHnDJ.dtype, torch.float32)
    # the query heads of a key head become rows, so that its span is not repeated
    q_BKnGJD = unflatten(q_BHnDJ, 1, (heads, -1)).movedim(2, 3).mT.to(wide)
    logits_BKnXS = (q_BKnGJD.flatten(3, 4) * scale) @ span_BKnDS.to(wide)
    # the span ends with the judges' own tokens, the only ones that can be later than a judge
    last_BKnGJJ = unflatten(logits_BKnXS[..., -judges:], 3, (-1, judges))
    last_BKnGJJ += last_BKnGJJ.new_full((judges, judges), -torch.inf).triu(1)
    return logits_BKnXS


def _scores(logits_BKnXS: Tensor, config: DGAConfig, chunks: range) -> Tensor:
    """Return the attention that each token of a chunk gets from all judges: [B, K, n, C]."""
    if config.score == "random":
        return _random_scores(logits_BKnXS, config, chunks)
    return logits_BKnXS.softmax(-1)[..., : config.chunk].sum(3)


def _random_scores(logits_BKnXS: Tensor, config: DGAConfig, chunks: range) -> Tensor:
    positions = range(chunks.start * config.chunk, chunks.stop * config.chunk)
    drawn = logits_BKnXS.new_tensor([random_score(j) for j in positions])
    shape = (*logits_BKnXS.shape[:3], config.chunk)
    return unflatten(drawn, 0, shape[2:]).expand(shape)


def _split(scores_BKnC: Tensor, chunks: range, config: DGAConfig) -> tuple[Tensor, Tensor]:
    """Split chunks into single tokens [B, K, n, F] and groups [B, K, n, g, m], in token order.

    Sinks stay single whatever their score; equal scores keep the lower position (stable sort).
    Without pooling the rest is evicted.
    """
    first, last = chunks.start * config.chunk, chunks.stop * config.chunk
    at = torch.arange(first, last, device=scores_BKnC.device)
    sinks_nC = unflatten(at < config.sinks, 0, (len(chunks), config.chunk))
    scores_BKnC = scores_BKnC.masked_fill(sinks_nC, torch.inf)
    order = scores_BKnC.sort(dim=-1, descending=True, stable=True).indices
    focal_BKnF = order[..., : config.num_focal].sort(-1).values
    grouped = config.num_groups * config.group_size
    rest = order[..., config.num_focal : config.num_focal + grouped].sort(-1).values
    return focal_BKnF, unflatten(rest, -1, (config.num_groups, config.group_size))


def _take(x_BKnCD: Tensor, index_BKnX: Tensor) -> Tensor:
    """Gather tokens of each chunk: [B, K, n, X, D]."""
    return x_BKnCD.gather(3, index_BKnX[..., None].expand(*index_BKnX.shape, x_BKnCD.shape[-1]))


def _mean_weights(logits_BKnXS: Tensor, rest_BKngm: Tensor) -> Tensor:
    """Weigh by the judges' attention inside each group, mean over judges and heads."""
    index = rest_BKngm.flatten(3)[:, :, :, None]
    index = index.expand(*logits_BKnXS.shape[:4], index.shape[-1])
    inside = unflatten(logits_BKnXS.gather(-1, index), -1, rest_BKngm.shape[3:])
    return inside.softmax(-1).mean(3)


def _last_weights(
    q_BHnCD: Tensor, rest_k_BKngmD: Tensor, rest_BKngm: Tensor, scale: float
) -> Tensor:
    """Weigh by the attention of the query at each group's last member, mean over heads."""
    wide = torch.promote_types(q_BHnCD.dtype, torch.float32)
    q_BKGnCD = unflatten(q_BHnCD, 1, (rest_BKngm.shape[1], -1))
    index = rest_BKngm[..., -1][:, :, None, :, :, None]
    index = index.expand(*q_BKGnCD.shape[:4], rest_BKngm.shape[3], q_BKGnCD.shape[-1])
    q_BKGngD = q_BKGnCD.gather(4, index).to(wide)
    logits = torch.einsum("bkxngd,bkngmd->bkxngm", q_BKGngD, rest_k_BKngmD.to(wide)) * scale
    return logits.softmax(-1).mean(2)


def group_bias(w_BKngm: Tensor, config: DGAConfig) -> Tensor:
    """Return the bias of groups from their weights [..., m]: [...]."""
    if config.bias == "entropy":
        return -(w_BKngm * w_BKngm.clamp_min(torch.finfo(w_BKngm.dtype).tiny).log()).sum(-1)
    return w_BKngm.new_zeros(w_BKngm.shape[:-1])
