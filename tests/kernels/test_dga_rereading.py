"""Rereading: scores against brute force, commits from given scores, and nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from attention_inputs import qkv
from torch import Tensor

from fdvs.kernels.dga import (
    DGACache,
    DGAConfig,
    DGALayerCache,
    HeadsCache,
    dga_attention,
    from_disk,
    full_config,
    reread,
    rereading,
    to_disk,
)

SMALL = DGAConfig(chunk=16, window=24, group_size=8, importance_rate=0.0, score_queries=8, sinks=2)
WIDE = replace(SMALL, importance_rate=0.5)
FULL = full_config()
MIXED = (FULL, SMALL, WIDE)
READ, PASSAGE, INSTRUCTION = 96, range(64, 96), 3
KEY_HEADS, PER_KEY, DIM = 3, 2, 8


def made(tokens: int, seed: int = 1) -> list[Tensor]:
    return qkv(
        tokens, heads=KEY_HEADS * PER_KEY, key_heads=KEY_HEADS, dim=DIM, dtype=torch.float32,
        first_seed=seed,
    )  # fmt: skip


def filled(config: DGAConfig | tuple[DGAConfig, ...]) -> tuple[DGACache, list[Tensor]]:
    """Read a text of which the first chunks are judged as usual."""
    own = {0: config} if isinstance(config, tuple) else {}
    cache = DGACache(SMALL if own else config, layer_configs=own)
    text = made(READ)
    dga_attention(*text, config=config, cache=cache.layer(0))
    return cache, text


def held(state: object, row: int, head: int, config: DGAConfig) -> tuple[Tensor, Tensor]:
    """Return the keys and values that the next token sees: units, then raw tokens."""
    parts_k, parts_v = [], []
    visible = state.raw_start // config.chunk  # type: ignore[attr-defined]
    if visible:
        count = visible * config.units_per_chunk
        parts_k.append(state.units.keys_BKND[row, head, :count])  # type: ignore[attr-defined]
        parts_v.append(state.units.values_BKNE[row, head, :count])  # type: ignore[attr-defined]
    parts_k.append(state.k_BKRD[row, head])  # type: ignore[attr-defined]
    parts_v.append(state.v_BKRE[row, head])  # type: ignore[attr-defined]
    return torch.cat(parts_k).double(), torch.cat(parts_v).double()


def brute(
    q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, passage_k: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend one query after the other; return outputs [N, E] and scores [C]."""
    outs, best = [], torch.zeros(len(passage_k), dtype=torch.float64)
    for at in range(len(q)):
        seen = torch.cat((keys, k[: at + 1].double()))
        weights = (seen @ q[at].double() * scale).softmax(0)
        outs.append(weights @ torch.cat((values, v[: at + 1].double())))
        if at >= len(q) - len(passage_k):
            among = torch.cat((passage_k.double(), k[: at + 1].double())) @ q[at].double() * scale
            best = torch.maximum(best, among.softmax(0)[: len(passage_k)])
    return torch.stack(outs), best


@pytest.mark.parametrize("backend", ["cpp", "eager"])
@pytest.mark.parametrize("kind", ["one setting", "full", "by head"])
def test_outputs_and_scores_equal_brute_force(
    kind: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice = SimpleNamespace(name=backend)
    monkeypatch.setattr(rereading, "choose_backend", lambda **_: choice)
    config = {"one setting": SMALL, "full": FULL, "by head": MIXED}[kind]
    cache, text = filled(config)
    layer = cache.layer(0)
    again = made(INSTRUCTION + len(PASSAGE), seed=7)
    scale = 0.4
    out, scores = reread(layer, *again, tokens=PASSAGE, scale=scale)
    order = [0, 1, 2]  # MIXED has three settings: a group, and a state, for each head
    for row in range(2):
        for head in order:
            own = config[head] if isinstance(config, tuple) else config
            state = layer.states[head if isinstance(config, tuple) else 0]
            keys, values = held(state, row, 0 if isinstance(config, tuple) else head, own)
            best = torch.zeros(len(PASSAGE), dtype=torch.float64)
            for query_head in range(head * PER_KEY, (head + 1) * PER_KEY):
                want, got_BC = brute(
                    again[0][row, query_head], again[1][row, head], again[2][row, head],
                    keys, values, text[1][row, head, PASSAGE.start : PASSAGE.stop], scale,
                )  # fmt: skip
                torch.testing.assert_close(
                    out[row, query_head].double(), want, rtol=1e-4, atol=1e-5
                )
                best = torch.maximum(best, got_BC)
            torch.testing.assert_close(scores[row, head].double(), best, rtol=1e-4, atol=1e-6)


def test_rereading_leaves_the_layer_as_it_was() -> None:
    for config in (SMALL, MIXED):
        cache, _ = filled(config)
        layer = cache.layer(0)
        before = list(layer.states)
        reread(layer, *made(INSTRUCTION + len(PASSAGE), seed=7), tokens=PASSAGE, scale=1.0)
        assert all(a is b for a, b in zip(before, layer.states, strict=True))


def kept_tokens(scores: Tensor, config: DGAConfig, first: int) -> set[int]:
    """Return the positions that chunks of scores [S] leave, by the definition."""
    kept = set()
    for at in range(0, len(scores), config.chunk):
        told = {first + at + j: float(scores[at + j]) for j in range(config.chunk)}
        ranked = sorted(told, key=lambda p: (p >= config.sinks, -told[p], p))
        kept |= set(ranked[: config.units_per_chunk])
    return kept


@pytest.mark.parametrize("backend", ["eager", "cpp"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_given_scores_decide_what_later_queries_see(backend: str, pieces: int) -> None:
    """Judge all chunks of a text by numbers; every later query sees what a mask says."""
    total = READ + 60
    text = made(total)
    layer = DGALayerCache(SMALL)
    drawn = torch.rand(2, KEY_HEADS, READ, generator=torch.Generator().manual_seed(3))
    outs = []
    for first in range(0, READ, 32):
        part = [x[:, :, first : first + 32] for x in text]
        outs.append(dga_attention(*part, config=SMALL, cache=layer, backend=backend))
        layer.commit(drawn[:, :, first : first + 32])
    for first in range(READ, total, 60 // pieces):
        part = [x[:, :, first : first + 60 // pieces] for x in text]
        outs.append(dga_attention(*part, config=SMALL, cache=layer, backend=backend))
    got = torch.cat(outs, 2)  # type: ignore[arg-type]
    scale, q, k, v = DIM**-0.5, *text
    for row in range(2):
        for head in range(KEY_HEADS):
            kept = kept_tokens(drawn[row, head], SMALL, 0)
            for at in range(READ + 24 + SMALL.chunk - 1):  # before a usual commit
                gone = SMALL.chunks_visible(at) * SMALL.chunk
                seen = [j for j in range(at + 1) if j >= gone or j in kept]
                logits = k[row, head, seen].double() @ q[row, head * PER_KEY, at].double() * scale
                want = logits.softmax(0) @ v[row, head, seen].double()
                torch.testing.assert_close(
                    got[row, head * PER_KEY, at].double(), want, rtol=1e-4, atol=1e-5
                )


@pytest.mark.parametrize("backend", ["eager", "cpp"])
def test_tokens_after_a_rereading_may_come_in_any_cuts(backend: str) -> None:
    text, drawn = made(170), torch.rand(2, KEY_HEADS, 32)
    outs = []
    for size in (1, 7, 138):
        layer = DGALayerCache(SMALL)
        dga_attention(*[x[:, :, :32] for x in text], config=SMALL, cache=layer, backend=backend)
        layer.commit(drawn)
        parts = [
            dga_attention(
                *[x[:, :, at : at + size] for x in text], config=SMALL, cache=layer,
                backend=backend,
            )
            for at in range(32, 170, size)
        ]  # fmt: skip
        outs.append(torch.cat(parts, 2))  # type: ignore[arg-type]
    torch.testing.assert_close(outs[0], outs[2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outs[1], outs[2], rtol=1e-4, atol=1e-5)


def test_sinks_stay_whatever_their_score() -> None:
    text = made(48)
    scores = torch.rand(2, KEY_HEADS, 48) + 1.0
    scores[..., [0, 1]] = 0.0
    fresh = DGALayerCache(replace(SMALL, window=48))
    dga_attention(*text, config=fresh.config, cache=fresh)
    fresh.commit(scores)
    units = fresh.states[0].units  # type: ignore[union-attr]
    assert units is not None
    for at in (0, 1):
        assert torch.equal(units.keys_BKND[:, :, at], text[1][:, :, at])


def test_heads_with_settings_of_their_own_take_their_own_scores() -> None:
    text = made(32)
    layer = HeadsCache(MIXED)
    dga_attention(*text, config=MIXED, cache=layer)
    drawn = torch.rand(2, KEY_HEADS, 32)
    layer.commit(drawn)
    full, small, wide = layer.states
    assert full is not None
    assert full.units is None
    for state, head, config in ((small, 1, SMALL), (wide, 2, WIDE)):
        assert state is not None
        assert state.units is not None
        for row in range(2):
            want = sorted(kept_tokens(drawn[row, head], config, 0))
            assert torch.equal(state.units.keys_BKND[row, 0], text[1][row, head, want])


def test_early_units_go_through_disk_forks_and_crops(tmp_path: Path) -> None:
    text = made(120)
    cache = DGACache(SMALL)
    layer = cache.layer(0)
    first = [x[:, :, :34] for x in text]
    dga_attention(*first, config=SMALL, cache=layer)
    assert isinstance(layer, DGALayerCache)
    layer.commit(torch.rand(2, KEY_HEADS, 32))
    read, _ = from_disk(to_disk(cache, tmp_path / "kept"))
    copies = [layer.fork(), read.layer(0)]
    cropped = layer.fork()
    cropped.crop(2)
    with pytest.raises(ValueError, match="at most 0"):
        cropped.crop(1)
    dga_attention(*[x[:, :, 32:34] for x in text], config=SMALL, cache=cropped)
    rest = [x[:, :, 34:] for x in text]
    want = dga_attention(*rest, config=SMALL, cache=layer)
    for copy in [*copies, cropped]:
        torch.testing.assert_close(dga_attention(*rest, config=SMALL, cache=copy), want)


def test_a_state_with_more_units_than_tokens_is_refused(tmp_path: Path) -> None:
    cache = DGACache(SMALL)
    dga_attention(*[x[:, :, :32] for x in made(32)], config=SMALL, cache=cache.layer(0))
    cache.layer(0).commit(torch.rand(2, KEY_HEADS, 32))
    folder = to_disk(cache, tmp_path / "kept")
    told = (folder / "manifest.json").read_text("utf-8")
    (folder / "manifest.json").write_text(told.replace('"num_built": 2', '"num_built": 3'))
    with pytest.raises(ValueError, match="fit"):
        from_disk(folder)


def test_rows_of_unequal_length_each_take_their_scores() -> None:
    text = made(40)
    layer = DGALayerCache(SMALL)
    dga_attention(*text, config=SMALL, cache=layer, lengths=[38, 33])
    drawn = torch.rand(2, KEY_HEADS, 32)
    layer.commit(drawn)
    for row, state in enumerate(layer.states):
        assert state is not None
        assert state.units is not None
        want = sorted(kept_tokens(drawn[row, 1], SMALL, 0))
        assert torch.equal(state.units.keys_BKND[0, 1], text[1][row, 1, want])


def test_what_cannot_be_reread_says_why() -> None:
    cache, text = filled(SMALL)
    layer = cache.layer(0)
    again = made(INSTRUCTION + 16, seed=7)
    with pytest.raises(ValueError, match="not all raw"):
        reread(layer, *again, tokens=range(0, 16), scale=1.0)
    with pytest.raises(ValueError, match="not all raw"):
        reread(layer, *again, tokens=range(90, 106), scale=1.0)
    with pytest.raises(ValueError, match="read them first"):
        reread(DGALayerCache(SMALL), *again, tokens=range(16), scale=1.0)
    uneven = DGALayerCache(SMALL)
    dga_attention(*text, config=SMALL, cache=uneven, lengths=[96, 80])
    with pytest.raises(ValueError, match="equal length"):
        reread(uneven, *again, tokens=range(64, 80), scale=1.0)


@pytest.mark.parametrize("count", [0, 8, 48])
def test_scores_must_be_those_of_whole_chunks_that_were_read(count: int) -> None:
    cache, _ = filled(SMALL)  # 4 of 6 chunks have units
    with pytest.raises(ValueError, match="whole chunks of 16"):
        cache.layer(0).commit(torch.rand(2, KEY_HEADS, count))


def test_pooled_groups_need_their_judges() -> None:
    pooled = replace(WIDE, pool=True)
    cache, _ = filled(pooled)
    with pytest.raises(ValueError, match="pool=False"):
        reread(cache.layer(0), *made(INSTRUCTION + 16, seed=7), tokens=range(64, 80), scale=1.0)
    with pytest.raises(ValueError, match="pool=False"):
        cache.layer(0).commit(torch.rand(2, KEY_HEADS, 32))
