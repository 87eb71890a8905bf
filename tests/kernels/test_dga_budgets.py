"""Budgets by key head from scores: who gets more, within the mean, and caches that go on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from attention_inputs import qkv
from torch import Tensor

from fdvs.kernels.dga import (
    DGACache,
    DGAConfig,
    DGALayerCache,
    HeadsCache,
    by_head,
    dga_attention,
    full_config,
    plan_of_scores,
)
from fdvs.kernels.dga.plan import HeadPlan, units_share

BASE = DGAConfig(chunk=32, window=16, group_size=8, importance_rate=0.0, score_queries=8, sinks=2)
KEY_HEADS, PER_KEY, READ = 3, 2, 96


def flat_and_peaked() -> list[Tensor]:
    """Two layers: head 0 looks at one token a chunk, head 1 at all alike, head 2 at nothing."""
    scores = torch.zeros(1, KEY_HEADS, READ)
    scores[:, 0, ::32] = 1.0
    scores[:, 1] = 0.5
    return [scores, torch.zeros_like(scores)]


def test_heads_that_would_lose_most_get_most() -> None:
    wide = replace(BASE, importance_rate=0.5)  # 18 of 32 units: 3.4 heads of 6 may keep all
    plan = plan_of_scores(flat_and_peaked(), wide)
    configs = plan.layer_configs()
    peaked, flat, idle = configs[0]  # type: ignore[misc]
    assert flat.is_dense
    assert peaked.units_per_chunk == idle.units_per_chunk == 2
    assert {one.units_per_chunk for one in configs[1]} == {2}  # type: ignore[union-attr]


@pytest.mark.parametrize("rate", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_mean_stays_within_that_of_the_settings(rate: float, seed: int) -> None:
    config = replace(BASE, importance_rate=rate)
    drawn = torch.Generator().manual_seed(seed)
    scores = [torch.rand(1, KEY_HEADS, READ, generator=drawn) ** (4 * at + 1) for at in range(4)]
    plan = plan_of_scores(scores, config)
    assert plan.units_share() <= units_share(config) + 1e-9
    for layer in plan.layer_configs().values():
        for one in layer:  # type: ignore[union-attr]
            assert one.is_dense or replace(
                one, importance_rate=rate, group_size=config.group_size
            ) == config  # fmt: skip


def test_a_text_goes_on_as_if_it_had_had_its_budgets_from_the_start() -> None:
    text = qkv(
        160, heads=KEY_HEADS * PER_KEY, key_heads=KEY_HEADS, dtype=torch.float32, first_seed=4
    )  # fmt: skip
    first, rest = [x[:, :, :READ] for x in text], [x[:, :, READ:] for x in text]
    plan = HeadPlan(
        model="m", levels=(BASE, replace(BASE, importance_rate=0.5), full_config()),
        heads=((0, 2, 1),),
    )  # fmt: skip
    scores = torch.rand(2, KEY_HEADS, READ)
    whole = DGACache(full_config())
    dga_attention(*first, config=full_config(), cache=whole.layer(0))
    made = by_head(whole, BASE, plan)
    configs = made.layer(0).config
    assert all(one.dense_threshold == READ for one in configs)  # type: ignore[union-attr]
    other = HeadsCache(configs)  # type: ignore[arg-type]
    dga_attention(*first, config=configs, cache=other)
    for one in (made.layer(0), other):
        assert one.num_seen == [READ, READ]
    made.layer(0).commit(scores)
    fresh = HeadsCache(configs)  # type: ignore[arg-type]
    for at in range(0, READ, 32):  # no chunk is due before its scores are there
        dga_attention(*[x[:, :, at : at + 32] for x in text], config=configs, cache=fresh)
        fresh.commit(scores[:, :, at : at + 32])
    got = dga_attention(*rest, config=configs, cache=made.layer(0))
    want = dga_attention(*rest, config=configs, cache=fresh)
    judged = dga_attention(*rest, config=configs, cache=other)
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(got, judged, atol=1e-3)  # type: ignore[arg-type]


def test_what_has_no_budgets_says_why() -> None:
    with pytest.raises(ValueError, match="pool=False"):
        plan_of_scores(flat_and_peaked(), full_config())
    with pytest.raises(ValueError, match="pool=False"):
        plan_of_scores(flat_and_peaked(), replace(BASE, pool=True, importance_rate=0.5))
    with pytest.raises(ValueError, match="whole chunks of 32"):
        plan_of_scores([torch.rand(1, KEY_HEADS, 40)], BASE)


def test_only_what_was_read_whole_can_be_split() -> None:
    plan = plan_of_scores(flat_and_peaked()[:1], BASE)
    text = qkv(READ, heads=KEY_HEADS * PER_KEY, key_heads=KEY_HEADS)
    grouped = DGACache(BASE)
    dga_attention(*text, config=BASE, cache=grouped.layer(0))
    with pytest.raises(ValueError, match="layer 0 is not one of full attention"):
        by_head(grouped, BASE, plan)
    whole = DGACache(full_config())
    with pytest.raises(ValueError, match="the plan 1"):
        by_head(whole, BASE, plan)
    assert isinstance(whole.layer(0), DGALayerCache)
