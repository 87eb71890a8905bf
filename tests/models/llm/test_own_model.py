"""Grouped attention for a model that its user loaded: `fdvs.enable_dga`, `fdvs.read_with_dga`."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import fdvs
from fdvs.errors import InvalidValue, ModelUnavailable
from fdvs.kernels.dga import DGAConfig, full_config
from fdvs.kernels.dga.plan import HeadPlan
from fdvs.models.llm.attention import enable

CONTEXT = 512
SMALL = DGAConfig(
    chunk=16, window=40, group_size=8, importance_rate=0.0, score_queries=8, sinks=2,
    dense_threshold=96,
)  # fmt: skip
SHAPE: dict[str, Any] = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "eos_token_id": None,
    "pad_token_id": 0, "max_position_embeddings": CONTEXT, "initializer_range": 0.3,
}  # fmt: skip


@pytest.fixture
def loaded(save_llama: Callable[..., Path]) -> tuple[Any, Any]:
    """A random Llama and its tokenizer as any user of transformers loads them."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = save_llama(seed=6, max_position_embeddings=CONTEXT, initializer_range=0.5)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer


def made(family: str, **change: Any) -> Any:
    import transformers

    torch.manual_seed(3)
    config = getattr(transformers, f"{family}Config")(**{**SHAPE, **change})
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


def text_ids(model: Any, count: int) -> list[int]:
    drawn = torch.randint(
        2, model.config.vocab_size, (count,), generator=torch.Generator().manual_seed(2)
    )
    return [int(token) for token in drawn]


def written(model: Any, ids: list[int], cache: Any = None, **options: Any) -> Tensor:
    usual = {"max_new_tokens": 20, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    made: Tensor = model.generate(
        torch.tensor([ids]), past_key_values=cache, **{**usual, **options}
    )
    return made


def test_a_short_text_is_answered_as_with_full_attention(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    ids = text_ids(model, 200)
    want = written(model, ids)
    assert "exact for the first 2048 tokens" in fdvs.enable_dga(model)
    cache = fdvs.read_with_dga(model, tokenizer, ids[:190])
    assert cache.num_seen == [190]
    assert torch.equal(written(model, ids, cache.fork()), want)
    assert torch.equal(written(model, ids, cache), want)  # the fork left it as it was
    assert torch.equal(written(model, ids), want)  # without a cache of one's own


def test_keeping_every_token_of_a_long_text_is_full_attention(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    ids = text_ids(model, 300)
    want = written(model, ids)
    fdvs.enable_dga(model)
    enable(model, replace(SMALL, importance_rate=1.0))
    assert torch.equal(written(model, ids, fdvs.read_with_dga(model, tokenizer, ids[:290])), want)


@pytest.mark.parametrize("form", ["list", "tensor", "row"])
def test_a_long_text_is_read_twice_or_once_and_kept_in_part(
    form: str, loaded: tuple[Any, Any]
) -> None:
    model, tokenizer = loaded
    fdvs.enable_dga(model)
    enable(model, SMALL)
    ids = torch.tensor(text_ids(model, 300))
    given: Any = {"list": ids.tolist(), "tensor": ids, "row": ids[None]}[form]
    twice = fdvs.read_with_dga(model, tokenizer, given)
    once = fdvs.read_with_dga(model, tokenizer, given, reread=False)
    everything = 300 * 2 * 2 * 2 * 8 * 4  # tokens, keys and values, layers, key heads, size, bytes
    for cache in (twice, once):
        held = cache.num_bytes()
        assert cache.num_seen == [300]
        assert 0 < held["units"] + held["raw"] < 0.6 * everything
    assert twice.store.layer_configs  # its budgets by key head came from the text
    assert not once.store.layer_configs
    assert written(model, [*ids.tolist(), 5, 6], twice).shape == (1, 322)


DRAFTS: dict[str, dict[str, Any]] = {
    "prompt lookup": {"prompt_lookup_num_tokens": 6, "max_matching_ngram_size": 2},
    "assistant": {},
}


@pytest.mark.parametrize("tokens", [90, 97, 150, 300])
@pytest.mark.parametrize("drafts", DRAFTS)
def test_drafts_after_a_text_leave_the_answer_as_it_is(
    drafts: str, tokens: int, loaded: tuple[Any, Any]
) -> None:
    """Before, across and behind `dense_threshold`; chunks are committed while drafts are read."""
    model, tokenizer = loaded
    fdvs.enable_dga(model)
    enable(model, SMALL)
    ids = (text_ids(model, 11) * 40)[:tokens]
    cache = fdvs.read_with_dga(model, tokenizer, ids)
    options = dict(DRAFTS[drafts])
    if drafts == "assistant":
        options["assistant_model"] = made("Llama", vocab_size=len(tokenizer), num_hidden_layers=1)
    prompt, plain = [*ids, *ids[:9]], cache.fork()
    want = written(model, prompt, plain, max_new_tokens=60)
    assert torch.equal(written(model, prompt, cache, max_new_tokens=60, **options), want)
    assert plain.store.layer(0).states[0].raw_start > 0  # chunks were committed


@pytest.mark.parametrize(
    ("family", "change", "why"),
    [
        ("Mistral", {"sliding_window": 64}, "last 64 tokens only"),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1},
         "sliding_attention"),
        ("Gemma2", {"sliding_window": 64}, "sliding_attention"),
        ("Qwen3Next", {"layer_types": ["linear_attention", "full_attention"]}, "linear_attention"),
        ("Gemma2", {"layer_types": ["full_attention"] * 2}, "softcap"),
        ("Mamba", {"state_size": 4}, r"layers \[0, 1\] do not attend"),
        ("Bloom", {"hidden_size": 32, "n_head": 4, "n_layer": 2}, "let its attention be chosen"),
    ],
)  # fmt: skip
def test_other_models_are_refused_or_keep_their_attention(
    family: str, change: dict[str, Any], why: str
) -> None:
    model = made(family, **change)
    ids = torch.tensor([text_ids(model, 100)])
    with torch.no_grad():
        want = model(ids).logits
    with pytest.raises(ModelUnavailable, match=why):
        fdvs.enable_dga(model)
    told = fdvs.enable_dga(model, required=False)
    assert re.search(f"the model's own: .*{why}", told)
    with torch.no_grad():
        assert torch.equal(model(ids).logits, want)


def test_an_attention_of_its_own_code_is_found_by_the_trial(loaded: tuple[Any, Any]) -> None:
    model, _ = loaded
    inside = model.model.layers[1].self_attn
    whole = inside.forward

    def own_code(**given: Any) -> Any:
        return whole(**{**given, "past_key_values": None})

    inside.forward = own_code
    with pytest.raises(ModelUnavailable, match=r"layers \[1\] do not attend"):
        fdvs.enable_dga(model)
    assert model.config._attn_implementation == "sdpa"


def test_a_model_that_kept_its_attention_still_reads(loaded: tuple[Any, Any]) -> None:
    _, tokenizer = loaded
    model = made("Mistral", sliding_window=64, vocab_size=len(tokenizer))
    fdvs.enable_dga(model, required=False)
    ids = text_ids(model, 150)
    cache = fdvs.read_with_dga(model, tokenizer, ids[:140])
    want = written(model, ids)
    assert torch.equal(written(model, ids, copy.deepcopy(cache)), want)
    assert torch.equal(written(model, ids, cache), want)


def test_encoders_and_other_objects_are_refused() -> None:
    from transformers import T5Config, T5ForConditionalGeneration

    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=50, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    )
    with pytest.raises(ModelUnavailable, match="encoder"):
        fdvs.enable_dga(t5)
    with pytest.raises(ModelUnavailable, match="no model of transformers"):
        fdvs.enable_dga(torch.nn.Linear(2, 2))


def test_a_plan_gives_each_key_head_its_budget(loaded: tuple[Any, Any], tmp_path: Path) -> None:
    model, tokenizer = loaded
    plan, levels = tmp_path / "plan.json", (DGAConfig(), full_config())
    HeadPlan(model="m", levels=levels, heads=((0, 1), (1, 1))).write(plan)
    assert "layers with settings of their own" in fdvs.enable_dga(model, plan=plan)
    cache = fdvs.read_with_dga(model, tokenizer, text_ids(model, 30))
    assert [one.is_dense for one in cache.store.layer_configs[0]] == [False, True]
    HeadPlan(model="m", levels=levels, heads=((0, 1),) * 3).write(plan)
    with pytest.raises(InvalidValue, match="2 layers of 2 key heads"):
        fdvs.enable_dga(model, plan=plan)
    plan.write_text(json.dumps({}))
    with pytest.raises(InvalidValue, match="a plan"):
        fdvs.enable_dga(model, plan=plan, required=False)


@pytest.mark.parametrize("wrong", [[], [[1, 2], [3, 4]]])
def test_only_one_text_is_read(wrong: Any, loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    fdvs.enable_dga(model)
    with pytest.raises(InvalidValue, match="one text"):
        fdvs.read_with_dga(model, tokenizer, wrong)


def test_a_model_in_training_stays_in_training(loaded: tuple[Any, Any]) -> None:
    model, _ = loaded
    model.train()
    fdvs.enable_dga(model)
    assert model.training
