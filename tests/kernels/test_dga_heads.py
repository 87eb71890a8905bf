"""Settings by key head: each attends as it would alone, and the cache keeps what each needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from attention_inputs import qkv

from fdvs.kernels.dga import (
    DGACache,
    DGAConfig,
    HeadsCache,
    dga_attention,
    from_disk,
    full_config,
    paper_config,
    to_disk,
)
from fdvs.kernels.dga.heads import head_groups

FEW = DGAConfig(chunk=16, window=16, group_size=8, importance_rate=0.0, score_queries=8, sinks=2)
MANY = replace(FEW, importance_rate=0.5)
FULL = full_config()
MIXED = (FULL, FEW, MANY, FEW)
KEY_HEADS, PER_KEY, TOKENS, DIM = 4, 2, 90, 8
BACKENDS = ["reference", "eager", "cpp"]


def made(rows: int = 2, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return qkv(
        TOKENS, rows=rows, heads=KEY_HEADS * PER_KEY, key_heads=KEY_HEADS, dim=DIM, dtype=dtype
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_head_attends_as_it_would_alone(backend: str) -> None:
    q, k, v = made()
    out, lse = dga_attention(q, k, v, config=MIXED, return_lse=True, backend=backend)
    for head, config in enumerate(MIXED):
        own = slice(head * PER_KEY, (head + 1) * PER_KEY)
        alone = dga_attention(
            q[:, own], k[:, head : head + 1], v[:, head : head + 1], config=config,
            return_lse=True, backend=backend,
        )  # fmt: skip
        torch.testing.assert_close(out[:, own], alone[0], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(lse[:, own], alone[1], rtol=1e-5, atol=1e-6)


def test_heads_of_equal_settings_are_one_call() -> None:
    assert head_groups(MIXED) == [(FULL, [0]), (FEW, [1, 3]), (MANY, [2])]
    q, k, v = made()
    same = dga_attention(q, k, v, config=(FEW,) * KEY_HEADS)
    torch.testing.assert_close(same, dga_attention(q, k, v, config=FEW))


@pytest.mark.parametrize("backend", ["eager", "cpp"])
def test_token_by_token_equals_one_prefill(backend: str) -> None:
    q, k, v = made()
    whole = dga_attention(q, k, v, config=MIXED, backend=backend)
    layer = DGACache(FEW, layer_configs={0: MIXED}).layer(0)
    parts = [
        dga_attention(
            q[:, :, i : i + 1], k[:, :, i : i + 1], v[:, :, i : i + 1], config=MIXED,
            cache=layer, backend=backend,
        )
        for i in range(TOKENS)
    ]  # fmt: skip
    torch.testing.assert_close(torch.cat(parts, 2), whole, rtol=1e-4, atol=1e-5)
    assert layer.num_seen == [TOKENS, TOKENS]
    assert layer.num_rows == 2


def test_padded_rows_write_what_they_write_alone() -> None:
    q, k, v = made()
    spans = torch.tensor([[0, TOKENS], [20, TOKENS]])
    layer = HeadsCache(MIXED)
    out = dga_attention(q, k, v, config=MIXED, lengths=spans, cache=layer)
    alone = dga_attention(q[1:, :, 20:], k[1:, :, 20:], v[1:, :, 20:], config=MIXED)
    torch.testing.assert_close(out[1:, :, 20:], alone, rtol=1e-5, atol=1e-6)
    assert layer.num_seen == [TOKENS, TOKENS - 20]


def test_a_head_that_keeps_all_costs_all_and_the_others_little() -> None:
    q, k, v = made(rows=1)
    layer = HeadsCache(MIXED)
    dga_attention(q, k, v, config=MIXED, cache=layer)
    token = 2 * DIM * 4  # key and value of one head, float32
    built = FEW.chunks_built(TOKENS)
    raw = TOKENS + 3 * (TOKENS - built * FEW.chunk)
    units = built * (2 * FEW.units_per_chunk + MANY.units_per_chunk)
    assert layer.num_bytes()["raw"] == raw * token
    assert layer.num_bytes()["units"] == units * (token + 4)  # and a bias


def test_the_cache_forks_crops_reorders_and_starts_over() -> None:
    q, k, v = made()
    layer = HeadsCache(MIXED)
    first, rest = 66, slice(66, 70)  # a commit is at 64
    cut = [x[:, :, :first] for x in (q, k, v)]
    dga_attention(*cut, config=MIXED, cache=layer)
    fork = layer.fork()
    want = dga_attention(*(x[:, :, rest] for x in (q, k, v)), config=MIXED, cache=fork)
    fork.crop(4)
    again = dga_attention(*(x[:, :, rest] for x in (q, k, v)), config=MIXED, cache=fork)
    torch.testing.assert_close(again, want)
    layer.reorder([1, 0])
    turned = [x[[1, 0]][:, :, rest] for x in (q, k, v)]
    torch.testing.assert_close(
        dga_attention(*turned, config=MIXED, cache=layer), want[[1, 0]], rtol=1e-5, atol=1e-6
    )
    layer.reset()
    assert layer.num_rows == 0


def test_a_crop_that_reaches_too_far_changes_no_head() -> None:
    q, k, v = made()
    layer = HeadsCache(MIXED)
    dga_attention(q, k, v, config=MIXED, cache=layer)
    with pytest.raises(ValueError, match="cannot forget"):
        layer.crop(50)  # the head in full could, the others not
    assert [state.num_seen for state in layer.states if state is not None] == [TOKENS] * 3


def test_a_cache_comes_back_from_disk(tmp_path: Path) -> None:
    q, k, v = made()
    cache = DGACache(FEW, layer_configs={1: MIXED})
    cut = [x[:, :, :70] for x in (q, k, v)]
    for index in range(2):
        dga_attention(*cut, config=(FEW, MIXED)[index], cache=cache.layer(index))
    to_disk(cache, tmp_path)
    back, _ = from_disk(tmp_path)
    assert back.layer_configs == {1: MIXED}
    rest = [x[:, :, 70:] for x in (q, k, v)]
    torch.testing.assert_close(
        dga_attention(*rest, config=MIXED, cache=back.layer(1)),
        dga_attention(*rest, config=MIXED, cache=cache.layer(1)),
    )


def test_gradients_reach_every_head() -> None:
    tensors = made(rows=1, dtype=torch.float64)
    cut = [x[:, :, :40].clone().requires_grad_() for x in tensors]

    def run(*given: torch.Tensor) -> torch.Tensor:
        return dga_attention(*given, config=MIXED, backend="eager")

    assert torch.autograd.gradcheck(run, cut, fast_mode=True)


def test_settings_that_do_not_fit_are_named() -> None:
    q, k, v = made()
    with pytest.raises(ValueError, match=r"settings of 2 heads .* has 4 key heads"):
        dga_attention(q, k, v, config=(FEW, FULL))
    with pytest.raises(ValueError, match="cannot be set by head"):
        dga_attention(q, k, v, config=(*MIXED[:3], paper_config()))
    with pytest.raises(ValueError, match="no settings"):
        HeadsCache(())
    with pytest.raises(ValueError, match="2 states do not divide among 3 groups"):
        HeadsCache(MIXED).states = [None, None]
    with pytest.raises(ValueError, match="the cache was made for"):
        dga_attention(q, k, v, config=FEW, cache=HeadsCache(MIXED))
