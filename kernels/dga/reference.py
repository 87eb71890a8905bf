"""The reference: every mode written out plainly and slowly, for tests and benchmarks.

Builds a table of units (which key, value and bias is visible to which queries), then takes one
dense softmax over it. One sequence at a time, no padding, no cache, float32 or float64. The fast
paths build the same units in bulk (`commit.py`).

A unit (key, value, bias, appears, expires) is visible to query i when appears <= i < expires. For
every i the members of the visible units are exactly the tokens 0..i, each once; with `pool=False`
the evicted tokens of committed chunks are in none.

Shapes: H query heads, K key heads, G = H / K, L tokens, D head dim, E value dim, N units,
M members of the largest unit.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.kernels.dga.config import DGAConfig, random_score

#: Later than any position: a unit that never expires.
NEVER = 2**62


def reference_attention(
    q_HLD: Tensor,
    k_KLD: Tensor,
    v_KLE: Tensor,
    *,
    config: DGAConfig,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """Attend over the unit table of one sequence.

    Args:
        q_HLD, k_KLD, v_KLE: float32 or float64; keys already rotated.

    Returns:
        Output [H, L, E] and log-sum-exp [H, L], in the dtype given.
    """
    table = build_table(q_HLD, k_KLD, v_KLE, config=config, scale=scale)
    return attend_table(q_HLD, table, scale=scale)


def attend_table(q_HLD: Tensor, table: UnitTable, *, scale: float) -> tuple[Tensor, Tensor]:
    """Attend from every query to the units it sees: output [H, L, E], log-sum-exp [H, L]."""
    group = q_HLD.shape[0] // table.keys_KND.shape[0]
    keys_HND = table.keys_KND.repeat_interleave(group, 0)
    values_HNE = table.values_KNE.repeat_interleave(group, 0)
    bias_HN = table.bias_KN.repeat_interleave(group, 0)
    visible_HLN = table.visible(q_HLD.shape[1]).repeat_interleave(group, 0)
    logits_HLN = q_HLD @ keys_HND.mT * scale + bias_HN[:, None]
    logits_HLN = logits_HLN.masked_fill(~visible_HLN, -torch.inf)
    return logits_HLN.softmax(-1) @ values_HNE, logits_HLN.logsumexp(-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTable:
    """The units of one sequence.

    Attributes:
        keys_KND, values_KNE: keys and values.
        bias_KN: added to the scaled logit.
        appears_KN, expires_KN: int64 positions; queries in [appears, expires) see the unit.
        members_KNM: int64 positions of the tokens in the unit, padded with -1.
    """

    keys_KND: Tensor
    values_KNE: Tensor
    bias_KN: Tensor
    appears_KN: Tensor
    expires_KN: Tensor
    members_KNM: Tensor

    def visible(self, num_tokens: int) -> Tensor:
        """Return whether query i sees unit u: bool [K, L, N]."""
        i_1L1 = torch.arange(num_tokens, device=self.appears_KN.device)[None, :, None]
        return (self.appears_KN[:, None] <= i_1L1) & (i_1L1 < self.expires_KN[:, None])


@dataclass(slots=True)
class _Unit:
    key_D: Tensor
    value_E: Tensor
    bias: Tensor
    appears: int
    expires: int
    members: Sequence[int]


def build_table(
    q_HLD: Tensor,
    k_KLD: Tensor,
    v_KLE: Tensor,
    *,
    config: DGAConfig,
    scale: float,
) -> UnitTable:
    """Build the unit table for the mode in `config.select`."""
    heads = []
    group = q_HLD.shape[0] // k_KLD.shape[0]
    for head in range(k_KLD.shape[0]):
        q_GLD = q_HLD[head * group : (head + 1) * group]
        args = (q_GLD, k_KLD[head], v_KLE[head], config, scale)
        if config.is_dense:
            heads.append(_raw_units(k_KLD[head], v_KLE[head], {}))
        elif config.select == "stream":
            heads.append(_stream_units(*args))
        else:
            heads.append(_global_units(*args))
    return _stack(heads)


def _stream_units(
    q_GLD: Tensor, k_LD: Tensor, v_LE: Tensor, config: DGAConfig, scale: float
) -> list[_Unit]:
    num_tokens, expires, committed = k_LD.shape[0], {}, []
    for chunk in range(config.chunks_built(num_tokens)):
        first, time = chunk * config.chunk, config.commit_time(chunk)
        tokens = list(range(first, first + config.chunk))
        judges = list(range(time - config.score_queries + 1, time + 1))
        scores = _scores(q_GLD, k_LD, judges, first, config, scale)
        focal = _best(tokens, scores, config.sinks, config.num_focal)
        start = max(time, config.dense_threshold)
        committed += [_Unit(k_LD[j], v_LE[j], k_LD.new_zeros(()), start, NEVER, [j]) for j in focal]
        others = [j for j in tokens if j not in focal] if config.pool else []
        committed += _groups(others, q_GLD, k_LD, v_LE, config, scale, judges, start)
        expires.update(dict.fromkeys(tokens, start))
    return _raw_units(k_LD, v_LE, expires) + committed


def _global_units(
    q_GLD: Tensor, k_LD: Tensor, v_LE: Tensor, config: DGAConfig, scale: float
) -> list[_Unit]:
    num_tokens = k_LD.shape[0]
    judges = list(range(max(0, num_tokens - config.score_queries), num_tokens))
    scores = _scores(q_GLD, k_LD, judges, 0, config, scale)
    tokens = list(range(num_tokens))
    focal = _best(
        tokens, scores, config.sinks, max(config.focal_of_prompt(num_tokens), config.sinks)
    )
    rest = [j for j in tokens if j not in focal]
    rest = rest[: len(rest) // config.group_size * config.group_size]
    groups = _groups(rest, q_GLD, k_LD, v_LE, config, scale, judges, None)
    expires = {j: unit.appears for unit in groups for j in unit.members}
    return _raw_units(k_LD, v_LE, expires) + groups


def _raw_units(k_LD: Tensor, v_LE: Tensor, expires: dict[int, int]) -> list[_Unit]:
    zero = k_LD.new_zeros(())
    return [
        _Unit(k_LD[j], v_LE[j], zero, j, expires.get(j, NEVER), [j]) for j in range(k_LD.shape[0])
    ]


def _scores(
    q_GLD: Tensor, k_LD: Tensor, judges: list[int], first: int, config: DGAConfig, scale: float
) -> Tensor:
    """Return the importance of each token: [L], the attention it gets from judges and heads.

    Judges attend to the tokens from `first` on.
    """
    if config.score == "random":
        return k_LD.new_tensor([random_score(j) for j in range(k_LD.shape[0])])
    scores_GL = k_LD.new_zeros(q_GLD.shape[0], k_LD.shape[0])
    for head in range(q_GLD.shape[0]):
        for i in judges:
            logits = (k_LD[first : i + 1] @ q_GLD[head, i]) * scale
            scores_GL[head, first : i + 1] += logits.softmax(0)
    return scores_GL.sum(0)


def _best(tokens: list[int], scores_L: Tensor, sinks: int, count: int) -> set[int]:
    """Choose `count` tokens: sinks, then by score; the lower position wins a tie."""
    values = scores_L.tolist()
    return set(sorted(tokens, key=lambda j: (j >= sinks, -values[j], j))[:count])


def _groups(
    tokens: list[int], q_GLD: Tensor, k_LD: Tensor, v_LE: Tensor, config: DGAConfig, scale: float,
    judges: list[int], start: int | None,
) -> list[_Unit]:  # fmt: skip
    units = []
    for at in range(0, len(tokens), config.group_size):
        members = tokens[at : at + config.group_size]
        w_M = _weights(members, q_GLD, k_LD, config, scale, judges)
        bias = _bias(w_M, config)
        time = max(members[-1] + config.window, config.dense_threshold) if start is None else start
        units.append(_Unit(w_M @ k_LD[members], w_M @ v_LE[members], bias, time, NEVER, members))
    return units


def _weights(
    members: list[int], q_GLD: Tensor, k_LD: Tensor, config: DGAConfig, scale: float,
    judges: list[int],
) -> Tensor:  # fmt: skip
    """Return the pooling weights of a group, mean over heads (and judges): [M], sum 1."""
    rows = [members[-1]] if config.weight == "lastq" else judges
    logits_GQM = (q_GLD[:, rows] @ k_LD[members].T) * scale
    return logits_GQM.softmax(-1).mean((0, 1))


def _bias(w_M: Tensor, config: DGAConfig) -> Tensor:
    if config.bias == "entropy":
        return -(w_M * w_M.clamp_min(torch.finfo(w_M.dtype).tiny).log()).sum()
    return w_M.new_zeros(())


def _stack(heads: list[list[_Unit]]) -> UnitTable:
    device = heads[0][0].key_D.device
    widest = max(len(unit.members) for units in heads for unit in units)
    padded = [[[*u.members, *[-1] * (widest - len(u.members))] for u in units] for units in heads]
    return UnitTable(
        keys_KND=torch.stack([torch.stack([u.key_D for u in units]) for units in heads]),
        values_KNE=torch.stack([torch.stack([u.value_E for u in units]) for units in heads]),
        bias_KN=torch.stack([torch.stack([u.bias for u in units]) for units in heads]),
        appears_KN=torch.tensor([[u.appears for u in units] for units in heads], device=device),
        expires_KN=torch.tensor([[u.expires for u in units] for units in heads], device=device),
        members_KNM=torch.tensor(padded, device=device),
    )
