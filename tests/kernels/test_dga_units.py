"""The unit table and the dense oracle: cover, mass, bound, and the formulas they must equal."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt, tanh

import pytest
import torch
from attention_inputs import STREAM, draw, qkv
from torch import Tensor

from fdvs.kernels.dga import DGAConfig, cca_config, dga_attention, full_config, paper_config
from fdvs.kernels.dga.reference import (
    NEVER,
    UnitTable,
    attend_table,
    build_table,
    reference_attention,
)

MODES = {
    "stream": STREAM,
    "late": replace(STREAM, dense_threshold=61),
    "lastq": replace(STREAM, weight="lastq"),
    "cca": cca_config(group_size=4, window=9),
    "paper": paper_config(importance_rate=0.15, group_size=4),
    "global_window": replace(STREAM, select="global"),
    "full": full_config(),
}


def cover(table: UnitTable, num_tokens: int) -> torch.Tensor:
    """Return how many of the units that query i sees hold token j: [K, L (i), L (j)]."""
    num_heads, num_units, _ = table.members_KNM.shape
    holds_KNL = torch.zeros(num_heads, num_units, num_tokens + 1, dtype=torch.float64)
    index_KNM = torch.where(table.members_KNM < 0, num_tokens, table.members_KNM)
    holds_KNL.scatter_(2, index_KNM, 1.0)
    return torch.bmm(table.visible(num_tokens).double(), holds_KNL[..., :-1]).long()


def sequence(tokens: int, heads: int = 2, key_heads: int = 1, dim: int = 8) -> list[Tensor]:
    return qkv(tokens, rows=None, heads=heads, key_heads=key_heads, dim=dim)


def groups_of(table: UnitTable) -> list[int]:
    return [u for u in range(table.bias_KN.shape[1]) if (table.members_KNM[0, u] >= 0).sum() > 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("tokens", [1, 27, 28, 29, 83, 121])
def test_every_query_covers_every_earlier_token_once(mode: str, tokens: int) -> None:
    q, k, v = sequence(tokens, heads=4, key_heads=2)
    table = build_table(q, k, v, config=MODES[mode], scale=0.3)
    want = torch.ones(tokens, tokens, dtype=torch.long).tril()
    assert (cover(table, tokens) == want).all()


@pytest.mark.parametrize("score", ["attention", "random"])
def test_without_pooling_as_many_units_stay_and_the_rest_is_seen_by_nobody(score: str) -> None:
    q, k, v = sequence(121, heads=4, key_heads=2)
    pooled = replace(STREAM, score=score)
    single = replace(pooled, pool=False)
    assert single.units_per_chunk == pooled.units_per_chunk == single.num_focal
    table = build_table(q, k, v, config=single, scale=0.3)
    seen = cover(table, 121)
    assert seen.max() == 1
    for i in range(121):
        old = single.chunks_visible(i) * single.chunk
        assert (seen[:, i, old : i + 1] == 1).all()
        assert (seen[:, i, :old].sum(-1) == old // single.chunk * single.units_per_chunk).all()


def test_without_pooling_the_pooled_ones_singles_stay_too() -> None:
    q, k, v = sequence(90)
    kept = [
        {int(j) for row, b in zip(t.members_KNM[0], t.appears_KN[0], strict=True)
         if (row >= 0).sum() == 1 and b != row[0] for j in row[:1]}
        for t in (build_table(q, k, v, config=replace(STREAM, pool=p), scale=0.3)
                  for p in (True, False))
    ]  # fmt: skip
    assert kept[0] < kept[1]


@pytest.mark.parametrize("mode", ["stream", "lastq", "global_window", "paper"])
def test_constant_values_give_constant_output(mode: str) -> None:
    q, k, v = sequence(90)
    out, _ = reference_attention(q, k, torch.full_like(v, 2.5), config=MODES[mode], scale=0.3)
    torch.testing.assert_close(out, torch.full_like(out, 2.5))


@pytest.mark.parametrize("weight", ["lastq", "meanq"])
@pytest.mark.parametrize(("bias", "exact"), [("entropy", True), ("none", False)])
def test_groups_of_equal_keys_are_exact_if_the_bias_counts_them(
    weight: str, bias: str, exact: bool
) -> None:
    config = DGAConfig(
        importance_rate=0.0, group_size=4, pool=True, chunk=8, window=5, sinks=0, score_queries=3,
        weight=weight, bias=bias,
    )  # fmt: skip
    q, k, v = sequence(60)
    k = k[:, ::4].repeat_interleave(4, 1)[:, :60]
    out, lse = reference_attention(q, k, v, config=config, scale=0.4)
    dense, dense_lse = reference_attention(q, k, v, config=full_config(), scale=0.4)
    assert ((out - dense).abs().max().item() < 1e-12) == exact
    assert ((lse - dense_lse).abs().max().item() < 1e-12) == exact


def test_the_judging_query_sees_its_group_exactly() -> None:
    config = DGAConfig(
        importance_rate=0.0, group_size=6, pool=True, chunk=6, window=4, sinks=0, score_queries=2,
        weight="lastq",
    )  # fmt: skip
    q, k, v = sequence(20, heads=1)
    table = build_table(q, k, v, config=config, scale=0.7)
    group = groups_of(table)[0]
    judge = q[0, 5]
    logits = k[0, :6] @ judge * 0.7
    mass = judge @ table.keys_KND[0, group] * 0.7 + table.bias_KN[0, group]
    torch.testing.assert_close(mass, logits.logsumexp(0))
    torch.testing.assert_close(table.values_KNE[0, group], logits.softmax(0) @ v[0, :6])


@pytest.mark.parametrize("mode", ["stream", "lastq", "global_window"])
def test_the_entropy_bias_never_overstates_the_mass(mode: str) -> None:
    q, k, v = sequence(90, heads=4, key_heads=2)
    table = build_table(q, k, v, config=MODES[mode], scale=0.5)
    queries = draw(50, 8, seed=9)
    for unit in groups_of(table):
        members = table.members_KNM[0, unit]
        members = members[members >= 0]
        true = (queries @ k[0, members].T * 0.5).logsumexp(1)
        ours = queries @ table.keys_KND[0, unit] * 0.5 + table.bias_KN[0, unit]
        assert (ours <= true + 1e-12).all()


def test_the_error_stays_below_its_bound() -> None:
    """Total variation of the weights inside groups plus the spread of the lost mass."""
    for seed in range(8):
        q, k, v = (draw(1, 70, 8, seed=10 * seed + n) for n in range(3))
        table = build_table(q, k, v, config=STREAM, scale=0.5)
        out, _ = attend_table(q, table, scale=0.5)
        for i in range(28, 70):
            assert (out[0, i] - _dense_row(q, k, v, i)).norm() <= _bound(q, k, v, table, i) + 1e-12


def _dense_row(q: Tensor, k: Tensor, v: Tensor, i: int) -> Tensor:
    return (k[0, : i + 1] @ q[0, i] * 0.5).softmax(0) @ v[0, : i + 1]


def _bound(q: Tensor, k: Tensor, v: Tensor, table: UnitTable, i: int) -> Tensor:
    logits = k[0, : i + 1] @ q[0, i] * 0.5
    seen = table.visible(70)[0, i].nonzero().flatten().tolist()
    inner, lost = torch.zeros(()), []
    for unit in seen:
        members = table.members_KNM[0, unit]
        members = members[members >= 0]
        mine = logits[members]
        mass = q[0, i] @ table.keys_KND[0, unit] * 0.5 + table.bias_KN[0, unit]
        lost.append(mine.logsumexp(0) - mass)
        if len(members) > 1:
            share = (mine.logsumexp(0) - logits.logsumexp(0)).exp()
            diam = torch.cdist(v[0, members], v[0, members]).max()
            w = _weights_of(k[0, members], table.keys_KND[0, unit])
            inner = inner + share * 0.5 * (mine.softmax(0) - w).abs().sum() * diam
    values = table.values_KNE[0, seen]
    spread = torch.stack(lost).max() - torch.stack(lost).min()
    return inner + tanh(spread.item() / 4) * torch.cdist(values, values).max()


def _weights_of(keys_MD: Tensor, pooled_D: Tensor) -> Tensor:
    """Solve for the pooling weights (4 members in 8 dimensions: unique)."""
    return torch.linalg.lstsq(keys_MD.T, pooled_D[:, None]).solution[:, 0]


def test_more_single_tokens_or_smaller_groups_lower_the_mean_error() -> None:
    q, k, v = sequence(400, heads=4, key_heads=2)
    q = q * 2
    dense, _ = reference_attention(q, k, v, config=full_config(), scale=0.4)

    def error(**change: float) -> float:
        base = {"importance_rate": 0.1, "group_size": 8, "chunk": 40, "window": 16, "sinks": 0}
        config = DGAConfig(**{**base, "pool": True, "score_queries": 8, **change})  # type: ignore[arg-type]
        out, _ = reference_attention(q, k, v, config=config, scale=0.4)
        return (out - dense).norm().item()

    rates = [error(importance_rate=rate) for rate in (0.1, 0.4, 0.8)]
    sizes = [error(group_size=size, importance_rate=0.2) for size in (8, 4, 2)]
    assert rates == sorted(rates, reverse=True)
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize(("group", "window"), [(4, 8), (4, 9), (5, 3), (8, 24)])
def test_the_cca_preset_equals_its_formula(group: int, window: int) -> None:
    """One softmax over core tokens and local tokens (arXiv 2412.12465), positions from 1."""
    q, k, v = sequence(61)
    config = cca_config(group_size=group, window=window)
    out, _ = reference_attention(q, k, v, config=config, scale=1 / sqrt(8))
    for head in range(2):
        want = [_cca_row(q, head, k[0], v[0], i, group, window) for i in range(1, 62)]
        torch.testing.assert_close(out[head], torch.stack(want))


def _cca_row(q: Tensor, head: int, k: Tensor, v: Tensor, i: int, group: int, window: int) -> Tensor:
    keys, values = [], []
    num_core = max(0, (i - window) // group)
    for first in range(0, num_core * group, group):
        span, judge = slice(first, first + group), first + group - 1
        weights = (q[:, judge] @ k[span].T / sqrt(8)).softmax(-1).mean(0)
        keys.append(weights @ k[span])
        values.append(weights @ v[span])
    keys += list(k[num_core * group : i])
    values += list(v[num_core * group : i])
    return (torch.stack(keys) @ q[head, i - 1] / sqrt(8)).softmax(0) @ torch.stack(values)


def test_the_core_of_no_query_is_still_raw_for_it() -> None:
    """Queries between s and s + g must not see group 0 beside its own tokens."""
    q, k, v = sequence(40)
    table = build_table(q, k, v, config=cca_config(group_size=8, window=24), scale=0.3)
    first = groups_of(table)[0]
    assert table.appears_KN[0, first] == 31
    assert (table.expires_KN[0, :8] == 31).all()


def test_permuting_a_group_leaves_its_unit_unless_the_judge_moves() -> None:
    config = DGAConfig(
        importance_rate=0.0, group_size=6, pool=True, chunk=6, window=4, sinks=0, score_queries=2,
        weight="lastq",
    )  # fmt: skip
    q, k, v = sequence(20)
    order = torch.tensor([3, 1, 4, 0, 2, 5, *range(6, 20)])
    one = build_table(q, k, v, config=config, scale=0.7)
    two = build_table(q, k[:, order], v[:, order], config=config, scale=0.7)
    for name in ("keys_KND", "values_KNE", "bias_KN"):
        torch.testing.assert_close(getattr(one, name)[0, 20], getattr(two, name)[0, 20])


def test_sinks_stay_single() -> None:
    q, k, v = sequence(60)
    table = build_table(q, -10 * k, v, config=STREAM, scale=0.7)
    single = {
        int(table.members_KNM[0, u, 0])
        for u in range(60, table.bias_KN.shape[1])
        if u not in groups_of(table)
    }
    assert {0, 1} <= single


def test_equal_scores_keep_the_lower_position() -> None:
    k = torch.zeros(1, 28, 4, dtype=torch.float64)
    q, v = draw(1, 28, 4), draw(1, 28, 4)
    table = build_table(q, k, v, config=replace(STREAM, sinks=0), scale=0.7)
    assert table.members_KNM[0, 28:32, 0].tolist() == [0, 1, 2, 3]


def test_raw_tokens_of_an_open_chunk_never_expire() -> None:
    q, k, v = sequence(50)
    table = build_table(q, k, v, config=STREAM, scale=0.7)
    assert (table.expires_KN[0, 40:50] == NEVER).all()


@pytest.mark.parametrize("weight", ["meanq", "lastq"])
def test_gradients_of_the_reference_are_right(weight: str) -> None:
    config = DGAConfig(
        importance_rate=0.25, group_size=3, pool=True, chunk=8, window=3, sinks=0, score_queries=3,
        weight=weight,
    )  # fmt: skip
    inputs = tuple(draw(1, 2, 19, 3, seed=s).requires_grad_() for s in range(3))

    def run(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out = dga_attention(q, k, v, config=config, backend="reference")
        assert isinstance(out, Tensor)
        return out

    assert torch.autograd.gradcheck(run, inputs, atol=1e-6)
