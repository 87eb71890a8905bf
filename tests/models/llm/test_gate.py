"""The gate: its regression and what it keeps against brute force, its file, and who uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import fdvs
from fdvs.errors import InvalidValue
from fdvs.kernels.dga import DGAConfig, full_config
from fdvs.kernels.dga.plan import HeadPlan
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.attention import enable, load_causal_lm, make_cache
from fdvs.models.llm.gate import RIDGE, SUFFIX, Gate, GateFit, gate_for, read_gate, read_gated
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.llm.reading_cache import reading_key
from fdvs.models.llm.rereading import read_twice

CHUNK, CONTEXT, KEY_HEADS, HIDDEN = 16, 1024, 2, 32
SMALL = DGAConfig(
    chunk=CHUNK, window=40, group_size=8, importance_rate=0.0, score_queries=8, sinks=2
)
PASSAGE = 48
INSTRUCTION = [3, 5, 4]


@pytest.fixture(scope="module")
def folder(save_llama: Callable[..., Path]) -> Path:
    """A random Llama of one layer: what it sees of a token is the token's embedding."""
    return save_llama(
        seed=6, num_hidden_layers=1, max_position_embeddings=CONTEXT, initializer_range=0.5
    )


@pytest.fixture
def model(folder: Path) -> Any:
    return load_causal_lm(folder)[0]


def text_ids(model: Any, count: int) -> Tensor:
    drawn = torch.Generator().manual_seed(2)
    return torch.randint(0, model.config.vocab_size, (count,), generator=drawn)


def seen(model: Any, ids: Tensor) -> Any:
    """What the only layer sees of each token, by numpy: unit mean square, [L, E]."""
    x_LE = model.model.embed_tokens.weight.detach().numpy()[ids.numpy()].astype(np.float64)
    return x_LE / np.sqrt((x_LE**2).mean(-1, keepdims=True))


def gate_of(seed: int = 0) -> Gate:
    drawn = torch.Generator().manual_seed(seed)
    return Gate(weights_NKE=torch.randn(1, KEY_HEADS, HIDDEN, generator=drawn))


def read(model: Any, ids: Tensor, gate: Gate) -> Any:
    cache = make_cache(model, SMALL)
    assert torch.cat(list(read_gated(model, ids, cache, gate)), 1).shape[1] == len(ids)
    return cache


def test_the_tokens_of_highest_score_stay(model: Any) -> None:
    ids, gate = text_ids(model, 3 * PASSAGE + 7), gate_of()
    [state] = read(model, ids, gate).store.layer(0).states
    whole = make_cache(model, full_config())
    with torch.no_grad():
        model.base_model(ids[None], past_key_values=whole)
    keys_KLD = whole.store.layer(0).states[0].k_BKRD[0]
    scores_LK = seen(model, ids) @ gate.weights_NKE[0].double().numpy().T
    assert state.num_seen == len(ids)
    assert state.num_built == 3 * PASSAGE // CHUNK
    for head in range(KEY_HEADS):
        kept: list[int] = []
        for first in range(0, 3 * PASSAGE, CHUNK):
            places = range(first, first + CHUNK)
            ranked = sorted(places, key=lambda p: (p >= SMALL.sinks, -scores_LK[p, head]))
            kept += sorted(ranked[: SMALL.units_per_chunk])
        units = state.units.keys_BKND[0, head]
        # equal tokens have equal scores: their embedding tells a key only up to its rotation
        same = [ids[p].item() for p in kept]
        assert len(units) == len(same)
        nearest = torch.cdist(units, keys_KLD[head]).argmin(1)
        assert [ids[p].item() for p in nearest.tolist()] == same


def test_the_weights_are_those_of_a_ridge_regression_within_chunks(model: Any) -> None:
    """Targets from a second reading that was made apart, solved by numpy."""
    ids = text_ids(model, 640)  # one passage
    fit = GateFit(model, chunk=CHUNK)
    fit.add([*ids.tolist(), 1], instruction=INSTRUCTION, most_positions=10**6)
    assert fit.num_tokens == len(ids)
    given: list[Tensor] = []
    cache = make_cache(model, replace(SMALL, window=640))
    cache.layers[0].state.commit = given.append  # it keeps everything
    list(read_twice(model, ids, cache, instruction=INSTRUCTION, most_positions=10**6))
    [scores_BKL], [state] = given, cache.store.layer(0).states
    sizes_KL = state.v_BKRE[0].norm(dim=-1).double().numpy()
    y_LK = (np.log(np.maximum(scores_BKL[0].double().numpy(), 1e-4)) + np.log(sizes_KL)).T
    x_nTE = seen(model, ids).reshape(-1, CHUNK, HIDDEN)
    y_nTK = y_LK.reshape(-1, CHUNK, KEY_HEADS)
    x = (x_nTE - x_nTE.mean(1, keepdims=True)).reshape(-1, HIDDEN)
    y = (y_nTK - y_nTK.mean(1, keepdims=True)).reshape(-1, KEY_HEADS)
    strength = RIDGE * np.diag(x.T @ x).mean()
    root = np.sqrt(strength) * np.eye(HIDDEN)
    want = np.linalg.lstsq(np.vstack((x, root)), np.vstack((y, 0 * y[:HIDDEN])), rcond=None)[0].T
    np.testing.assert_allclose(fit.solve().weights_NKE[0].numpy(), want, rtol=1e-2, atol=1e-3)


def test_a_fit_needs_text(model: Any) -> None:
    fit = GateFit(model, chunk=CHUNK)
    with pytest.raises(ValueError, match="no text"):
        fit.solve()
    with pytest.raises(ValueError, match="less than a chunk"):
        fit.add([1] * (CHUNK - 1), instruction=INSTRUCTION, most_positions=CONTEXT)


def test_a_file_holds_the_weights_and_others_are_refused(model: Any, tmp_path: Path) -> None:
    gate, path = gate_of(), tmp_path / f"plan{SUFFIX}"
    gate.write(path)
    assert torch.equal(read_gate(path).weights_NKE, gate.weights_NKE)
    assert gate_for(model, path).digest() == gate.digest() != gate_of(1).digest()
    Gate(weights_NKE=torch.zeros(2, KEY_HEADS, HIDDEN)).write(path)
    with pytest.raises(InvalidValue, match=r"\(1, 2, 32\)"):
        gate_for(model, path)
    Gate(weights_NKE=torch.full((1, 2, 32), float("nan"))).write(path)
    with pytest.raises(InvalidValue, match="not finite"):
        gate_for(model, path)
    path.write_bytes(path.read_bytes()[:40])
    for wrong in (path, tmp_path / "nothing", tmp_path):
        with pytest.raises(ValueError, match="is no gate"):
            read_gate(wrong)


def writer(folder: Path, plan: Path, *, reread: bool) -> LocalLanguageModel:
    card = Card(name="w", role="llm", backend="transformers", target=str(folder))
    settings = LoadSettings(device="cpu", attention="dga", reread=reread, attention_plan=str(plan))
    made = LocalLanguageModel.load(card, settings)
    enable(made.model, SMALL)
    return made


def test_ask_uses_the_gate_beside_its_plan_where_it_reads_once(
    folder: Path, model_cache: Path, tmp_path: Path
) -> None:
    plan, text = tmp_path / "plan.json", "the red car moves and a rabbit seen in the picture " * 12
    HeadPlan(model="m", levels=(SMALL,), heads=((0, 0),)).write(plan)
    once = writer(folder, plan, reread=False)
    plain = once.read("a", text)
    gate_of().write(plan.with_suffix(SUFFIX))
    gated, twice = writer(folder, plan, reread=False), writer(folder, plan, reread=True)
    assert once.gate is None
    assert twice.gate is None
    reading = gated.read("a", text)
    assert "gate" in gated.attention
    want = make_cache(gated.model)
    list(read_gated(gated.model, torch.tensor(reading.opening.ids), want, gate_of()))
    units = [c.store.layer(0).states[0].units.keys_BKND for c in (reading.cache, want, plain.cache)]
    assert torch.equal(units[0], units[1])
    assert not torch.equal(units[0], units[2][:, :, : units[0].shape[2]])
    keys = {reading_key(one, reading.opening) for one in (once, gated, twice)}
    assert len(keys) == 3
    assert gated.write("a", text, max_tokens=3).num_tokens == 3


def test_a_model_of_ones_own_reads_with_a_gate(folder: Path, tmp_path: Path) -> None:
    model, tokenizer, _ = load_causal_lm(folder)
    enable(model, SMALL)
    path, ids = tmp_path / f"p{SUFFIX}", text_ids(model, 200)
    gate_of().write(path)
    cache = fdvs.read_with_dga(model, tokenizer, ids, reread=False, gate=path)
    want = read(model, ids, gate_of())
    got, wanted = (c.store.layer(0).states[0].units.keys_BKND for c in (cache, want))
    assert torch.equal(got, wanted)
