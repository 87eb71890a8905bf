"""The search for heads that read far text: its losses against true ones, on a tiny random Llama."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.kernels.dga import DGAConfig, full_config
from fdvs.kernels.dga.plan import HeadPlan, read_plan
from fdvs.models.llm.gate import gate_for

FEW = DGAConfig(
    chunk=8, window=8, group_size=8, importance_rate=0.0, score_queries=4, sinks=1,
    dense_threshold=32,
)  # fmt: skip
TOKENS = 64


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("scripts/plan_attention.py")


@pytest.fixture
def model() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=12, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
        initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def ids() -> Any:
    import torch

    return torch.randint(12, (TOKENS,), generator=torch.Generator().manual_seed(1))


def true_loss(model: Any, layer: int, head: int) -> float:
    """KL of the second half where this head alone drops tokens, all others in full."""
    import torch

    from fdvs.models.llm.attention import enable

    heads = tuple(FEW if at == head else full_config() for at in range(2))
    with torch.no_grad():
        enable(model, full_config())
        want = model(ids()[None], use_cache=False).logits[0, TOKENS // 2 :].log_softmax(-1)
        enable(model, full_config(), layer_configs={layer: heads})
        got = model(ids()[None], use_cache=False).logits[0, TOKENS // 2 :].log_softmax(-1)
    return float((want.exp() * (want - got)).sum(-1).mean())


def test_losses_are_close_to_the_divergence_of_each_head_alone(
    script: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "BLOCK", TOKENS)  # effects of all queries on a prediction add up
    got, nothing = script.head_losses(model, ids(), [FEW, full_config()], draws=60)
    assert all(loss < 1e-12 for layer in nothing for loss in layer)
    want = [[true_loss(model, layer, head) for head in range(2)] for layer in range(2)]
    for layer in range(2):
        for mine, true in zip(got[layer], want[layer], strict=True):
            # drawn labels, and second order only: too much where the change is large
            assert 0.6 * true < mine < 2.5 * true
    for ranked in (got, want):  # this model's heads differ by a factor of ten
        assert max(ranked[0]) > 5 * max(ranked[1])


def test_the_model_is_left_as_it_was(script: ModuleType, model: Any) -> None:
    before = model.config._attn_implementation
    script.head_losses(model, ids(), [FEW], draws=1)
    assert model.config._attn_implementation == before
    assert not model.training
    assert not model.is_gradient_checkpointing


def test_levels_are_those_asked_for_and_everything(script: ModuleType) -> None:
    few, many, full = script.level_configs(256, 160, [4, 25], 4)
    assert (few.units_per_chunk, many.units_per_chunk, full.is_dense) == (4, 25, True)


def test_a_plan_may_have_another_window_than_the_measuring(script: ModuleType) -> None:
    levels = script.level_configs(256, 160, [25], 4)
    changed = script.with_window(levels, 512)
    assert [level.window for level in changed if not level.is_dense] == [512]
    assert changed[0].units_per_chunk == levels[0].units_per_chunk
    assert changed[1] == levels[1]  # full attention stays what it is
    assert script.with_window(levels, None) == tuple(levels)


def test_texts_weigh_the_same_whatever_they_lose(script: ModuleType) -> None:
    rows = [
        {"document": "a", "level": "few", "losses": [[9.0, 1.0]]},
        {"document": "a", "level": "full", "losses": [[0.0, 0.0]]},
        {"document": "b", "level": "few", "losses": [[0.01, 0.03]]},
        {"document": "b", "level": "full", "losses": [[0.0, 0.0]]},
    ]
    (few,), (full,) = script.mean_losses(rows, ["few", "full"])
    assert few == pytest.approx([(0.9 + 0.25) / 2, (0.1 + 0.75) / 2])
    assert full == [0.0, 0.0]


class Letters:
    """A tokenizer with a token for every character."""

    model_max_length = 256

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) % 12 for c in text]}


def test_a_run_writes_a_plan_within_its_budget_and_goes_on(
    script: ModuleType, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(script, "load", lambda name, device: (model, Letters()))
    (tmp_path / "texts").mkdir()
    for name in "ab":
        (tmp_path / "texts" / f"{name}.txt").write_text(f"the {name} rabbit runs " * 20)
    arguments = [
        str(tmp_path / "texts"), "--model", "tiny", "--tokens", "128", "--draws", "1",
        "--window", "32", "--chunk", "16", "--units", "4", "8", "--budget", "0.7",
        "--rows", str(tmp_path / "rows.jsonl"), "--plan", str(tmp_path / "plan.json"),
    ]  # fmt: skip
    script.main(arguments)
    plan = read_plan(tmp_path / "plan.json")
    assert plan.units_share() <= 0.7
    assert {at for layer in plan.heads for at in layer} > {0}
    rows = (tmp_path / "rows.jsonl").read_text()
    assert len(rows.splitlines()) == 2 * 3
    assert "rabbit" not in rows
    said = capsys.readouterr().out
    assert "of 4 key heads keep 25.0% of the tokens as units" in said
    monkeypatch.setattr(script, "measure", None)  # nothing is measured twice
    assert not (tmp_path / "plan.gate.safetensors").exists()
    script.main([*arguments, "--budget", "1.0", "--gate"])
    gate = gate_for(model, tmp_path / "plan.gate.safetensors")
    assert gate.weights_NKE.shape == (2, 2, 32)
    assert read_plan(tmp_path / "plan.json").heads == ((2, 2), (2, 2))


def test_a_text_that_is_too_short_is_named(script: ModuleType, model: Any, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the rabbit runs " * 4)
    document = sys.modules["finetune_texts"].read_documents(tmp_path / "a.txt")[0]
    args = script.parse(["texts", "--rows", "r", "--plan", "p", "--tokens", "999"])
    with pytest.raises(ValueError, match="64 tokens, 999 are needed"):
        script.measure(model, Letters(), document, [FEW], args)


def test_a_card_with_the_plan_gives_every_head_its_settings(script: ModuleType) -> None:
    from fdvs.models.cards import Card
    from fdvs.models.llm.attention_options import attention_options

    levels = (replace(FEW, dense_threshold=0), replace(FEW, importance_rate=0.5), full_config())
    levels = (levels[0], replace(levels[1], dense_threshold=0), levels[2])
    heads = ((0, 0), (0, 2), (0, 2), (1, 0), (2, 2))
    plan = HeadPlan(model="m", levels=levels, heads=heads)
    told = json.loads(json.dumps(script.card_options(plan)))
    assert list(told["layers"]) == ["1-2", "3", "4"]
    card = Card(name="m", role="llm", backend="transformers", options={"attention": told})
    made = attention_options(card)
    for layer, row in enumerate(heads):
        own = made.layers.get(layer, made.config)
        each = own if isinstance(own, tuple) else (own,) * 2
        for config, at in zip(each, row, strict=True):
            if levels[at].is_dense:
                assert config.is_dense
            else:
                assert replace(config, dense_threshold=0) == levels[at]
