"""Grouped attention inside transformers, on tiny random models made here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.kernels.dga import DGAConfig, paper_config
from fdvs.models.llm.attention import (
    describe_attention,
    enable,
    generate,
    load_cache,
    load_causal_lm,
    make_cache,
    register,
    save_cache,
)
from fdvs.models.llm.attention_options import DEFAULT, settings_of

SMALL = DGAConfig(
    importance_rate=0.25, group_size=4, pool=True, chunk=16, window=8, sinks=2, score_queries=4
)  # fmt: skip
EXACT = replace(SMALL, importance_rate=1.0)
FAMILIES = ["Llama", "Qwen2", "Qwen3", "Mistral"]


def tiny(family: str, **change: Any) -> Any:
    """Make a random model with sharp attention, so that greedy text is not a coin toss."""
    import transformers

    options = {
        "vocab_size": 97, "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 8,
        "max_position_embeddings": 2048, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": None,
        "tie_word_embeddings": False, "initializer_range": 0.3,
    }  # fmt: skip
    if family == "Mistral":
        options["sliding_window"] = None
    config = getattr(transformers, f"{family}Config")(**{**options, **change})
    torch.manual_seed(3)
    return getattr(transformers, f"{family}ForCausalLM")(config).eval()


@pytest.fixture(scope="session")
def models() -> Callable[[str], Any]:
    made: dict[str, Any] = {}

    def get(family: str) -> Any:
        if family not in made:
            made[family] = tiny(family)
        return made[family]

    return get


def dga_copy(model: Any, config: DGAConfig) -> Any:
    import copy

    twin = copy.deepcopy(model)
    enable(twin, config)
    return twin


def prompt(tokens: int, rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randint(2, 97, (rows, tokens), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", FAMILIES)
def test_keeping_every_token_writes_the_same_text_as_sdpa(
    family: str, models: Callable[[str], Any]
) -> None:
    plain = models(family)
    ids = prompt(70)
    want = plain.generate(ids, max_new_tokens=30, do_sample=False)
    assert torch.equal(
        dga_copy(plain, EXACT).generate(ids, max_new_tokens=30, do_sample=False), want
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_logits_before_the_first_commit_equal_sdpa_and_differ_after(
    family: str, models: Callable[[str], Any]
) -> None:
    plain = models(family)
    ids = prompt(60)
    with torch.no_grad():
        gap = (dga_copy(plain, SMALL)(ids).logits - plain(ids).logits).abs().amax((0, 2))
    first = SMALL.window + SMALL.chunk - 1
    assert gap[:first].max() < 1e-3
    assert gap[first:].max() > 1e-2


@pytest.mark.parametrize("family", FAMILIES)
def test_decode_equals_prefill(family: str, models: Callable[[str], Any]) -> None:
    model = dga_copy(models(family), SMALL)
    ids = prompt(90, rows=2)
    cache = make_cache(model)
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        cuts = (0, 31, 32, 33, 70, 71, 90)
        parts = [
            model(ids[:, first:last], past_key_values=cache).logits
            for first, last in pairwise(cuts)
        ]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=2e-4, rtol=1e-3)
    assert cache.num_seen == [90, 90]


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_writes_what_each_row_writes_alone(
    family: str, models: Callable[[str], Any]
) -> None:
    model = dga_copy(models(family), SMALL)
    rows = [prompt(tokens, seed=tokens) for tokens in (64, 41, 9)]
    ids = torch.cat([torch.nn.functional.pad(row, (64 - row.shape[1], 0)) for row in rows])
    mask = torch.cat(
        [torch.nn.functional.pad(torch.ones_like(row), (64 - row.shape[1], 0)) for row in rows]
    )
    together = generate(model, ids, attention_mask=mask, max_new_tokens=25)
    for row, new in zip(rows, together.new_tokens, strict=True):
        alone = generate(model, row, max_new_tokens=25)
        assert torch.equal(new, alone.new_tokens[0])


DRAFTS = {
    "prompt_lookup": {"prompt_lookup_num_tokens": 6, "max_matching_ngram_size": 2},
    "few_tokens": {"prompt_lookup_num_tokens": 2},
}


@pytest.mark.parametrize("threshold", [0, 47, 60])
@pytest.mark.parametrize("drafts", DRAFTS)
def test_prompt_lookup_writes_the_same_text(
    drafts: str, threshold: int, models: Callable[[str], Any]
) -> None:
    """Rejected drafts leave no trace, across commits and across `dense_threshold`."""
    model = dga_copy(models("Llama"), replace(SMALL, dense_threshold=threshold))
    repeated = prompt(9).repeat(1, 4)
    plain = generate(model, repeated, max_new_tokens=60)
    looked_up = generate(model, repeated, max_new_tokens=60, **DRAFTS[drafts])
    assert torch.equal(plain.sequences, looked_up.sequences)


@pytest.mark.parametrize("own_heads", [False, True])
def test_an_assistant_writes_the_same_text(own_heads: bool, models: Callable[[str], Any]) -> None:
    config = replace(SMALL, pool=False, dense_threshold=50)
    model = dga_copy(models("Llama"), config)
    if own_heads:
        heads = (config, replace(config, importance_rate=0.6))
        enable(model, config, layer_configs={1: heads})
    assistant = tiny("Llama", num_hidden_layers=1)
    plain = generate(model, prompt(40), max_new_tokens=50)
    assisted = generate(model, prompt(40), max_new_tokens=50, assistant_model=assistant)
    assert torch.equal(plain.sequences, assisted.sequences)


def test_an_assistant_with_a_grouped_cache_is_refused(models: Callable[[str], Any]) -> None:
    config = replace(SMALL, pool=False, dense_threshold=50)
    model, assistant = models("Llama"), dga_copy(tiny("Llama", num_hidden_layers=1), config)
    with pytest.raises(ValueError, match="only drafts"):
        generate(model, prompt(40), max_new_tokens=50, assistant_model=assistant)


def test_beams_and_samples_come_out(models: Callable[[str], Any]) -> None:
    plain = models("Llama")
    ids = prompt(50, rows=2)
    options: dict[str, Any] = {"max_new_tokens": 20, "num_beams": 3, "do_sample": False}
    want = plain.generate(ids, **options)
    assert torch.equal(dga_copy(plain, EXACT).generate(ids, **options), want)
    assert dga_copy(plain, SMALL).generate(ids, **options).shape == (2, 70)
    torch.manual_seed(1)
    drawn = dga_copy(plain, SMALL).generate(ids, max_new_tokens=20, do_sample=True)
    assert drawn.shape == (2, 70)


def test_the_answer_says_which_attention_ran(models: Callable[[str], Any]) -> None:
    plain = models("Qwen2")
    model = dga_copy(plain, SMALL)
    short, long = (generate(model, prompt(n), max_new_tokens=2) for n in (10, 60))
    assert "none grouped yet" in short.attention
    assert "48 of them as 21 units" in long.attention
    assert generate(plain, prompt(60), max_new_tokens=2).attention == "sdpa: full attention"
    assert "full attention" in describe_attention(dga_copy(plain, EXACT))


def test_without_settings_short_prompts_are_exact(models: Callable[[str], Any]) -> None:
    plain = models("Llama")
    twin = dga_copy(plain, DEFAULT)
    enable(twin)
    assert settings_of(twin) == settings_of(plain) == DEFAULT
    ids = prompt(450)  # past the first commit
    with torch.no_grad():
        torch.testing.assert_close(twin(ids).logits, plain(ids).logits, atol=1e-3, rtol=1e-3)
    assert "exact for the first 2048 tokens" in describe_attention(twin)


def test_only_the_text_part_of_a_multimodal_model_changes() -> None:
    from transformers import (
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        image_size=16, patch_size=8,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=97, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, eos_token_id=None,
        initializer_range=0.3,
    )  # fmt: skip
    config = LlavaConfig(
        text_config=text, vision_config=vision, image_token_id=96, vision_feature_layer=-1
    )
    torch.manual_seed(3)
    model = LlavaForConditionalGeneration(config).eval()
    ids = prompt(50) % 90 + 2
    ids[0, 3:7] = 96
    options = {"pixel_values": torch.randn(1, 3, 16, 16), "max_new_tokens": 8, "do_sample": False}
    want = model.generate(ids, **options)
    enable(model, EXACT)
    assert model.config.vision_config._attn_implementation == "sdpa"
    assert torch.equal(model.generate(ids, **options), want)
    enable(model, SMALL)
    assert "48 of them as 21 units" in generate(model, ids, **options).attention


def test_settings_of_one_model_do_not_reach_another(models: Callable[[str], Any]) -> None:
    plain = models("Llama")
    ids = prompt(80)
    with torch.no_grad():
        before = plain(ids).logits
        one, two = dga_copy(plain, SMALL), dga_copy(plain, replace(SMALL, group_size=8))
        first = one(ids).logits
        assert not torch.equal(first, two(ids).logits)
        assert torch.equal(first, one(ids).logits)
        assert torch.equal(before, plain(ids).logits)
    assert plain.config._attn_implementation == "sdpa"
    assert not plain._forward_pre_hooks
    assert settings_of(two).group_size == 8


def test_single_layers_may_have_settings_of_their_own(models: Callable[[str], Any]) -> None:
    """Two layers exact and one grouped is neither all exact nor all grouped."""
    plain, ids = models("Llama"), prompt(90)
    outs = []
    for layers in ({}, {0: EXACT, 2: EXACT}, dict.fromkeys(range(3), EXACT)):
        model = dga_copy(plain, SMALL)
        enable(model, SMALL, layer_configs=layers)
        assert make_cache(model).store.layer_configs == layers
        with torch.no_grad():
            with_cache = model(ids).logits
            without = model(ids, use_cache=False).logits
        torch.testing.assert_close(with_cache, without, atol=1e-3, rtol=1e-3)
        outs.append(with_cache)
    with torch.no_grad():
        exact = plain(ids).logits
    gaps = [(out - exact).abs().max().item() for out in outs]
    assert gaps[2] < 1e-3 < min(gaps[:2])
    assert not torch.allclose(outs[0], outs[1], atol=1e-2)
    with pytest.raises(ValueError, match=r"names layers \[3\]; the model has 0 to 2"):
        enable(dga_copy(plain, SMALL), SMALL, layer_configs={3: EXACT})


def test_words_name_the_layers_that_differ(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), SMALL)
    enable(model, replace(SMALL, pool=False), layer_configs={1: SMALL})
    said = describe_attention(model)
    assert "the others dropped" in said
    assert "1 of 3 layers with settings of their own" in said
    assert (
        "as units, more or fewer by layer"
        in generate(model, prompt(90), max_new_tokens=1).attention
    )


def test_the_cache_is_smaller_than_all_keys_and_values(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), replace(SMALL, importance_rate=0.125, sinks=0))
    made = generate(model, prompt(400), max_new_tokens=2)
    full = 3 * 401 * 2 * 2 * 8 * 4
    assert sum(made.cache.num_bytes().values()) < 0.5 * full


def test_a_cache_on_disk_saves_reading_again(models: Callable[[str], Any], tmp_path: Path) -> None:
    model = dga_copy(models("Llama"), SMALL)
    ids = prompt(120)
    want = generate(model, ids, max_new_tokens=12)
    cache = make_cache(model)
    with torch.no_grad():
        model(ids[:, :100], past_key_values=cache)
    save_cache(cache, tmp_path, extra={"text": "abc"})
    back, extra = load_cache(model, tmp_path)
    assert extra == {"text": "abc"}
    assert torch.equal(
        generate(model, ids, max_new_tokens=12, cache=back).sequences, want.sequences
    )
    with pytest.raises(ValueError, match="another model"):
        load_cache(tiny("Llama", num_hidden_layers=2), tmp_path)


def test_a_cache_goes_on_over_turns(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), SMALL)
    ids, more = prompt(70), prompt(20, seed=9)
    first = generate(model, ids, max_new_tokens=8)
    whole = torch.cat((first.sequences, more), 1)
    again = generate(model, whole, max_new_tokens=8, cache=first.cache)
    assert torch.equal(again.sequences, generate(model, whole, max_new_tokens=8).sequences)


def test_from_pretrained_by_name_and_load_agree(
    tmp_path: Path, models: Callable[[str], Any]
) -> None:
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "tiny"
    models("Llama").save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    register()
    by_name = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="dga")
    model, tokenizer, attention = load_causal_lm(folder, config=SMALL)
    assert attention.startswith("dga (")
    assert tokenizer("a b")["input_ids"]
    ids = prompt(60)
    with pytest.raises(ValueError, match=r"enable\(model\)"):
        by_name.generate(ids, max_new_tokens=3, do_sample=False)
    options = {"past_key_values": make_cache(by_name, SMALL), "do_sample": False}
    want = by_name.generate(ids, max_new_tokens=9, **options)
    assert torch.equal(generate(model, ids, max_new_tokens=9).sequences, want)
    plain, _, said = load_causal_lm(folder, attention="sdpa")
    assert said == "sdpa: full attention"
    assert plain.config._attn_implementation == "sdpa"


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "a": 1, "b": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


def test_settings_travel_with_a_saved_model(tmp_path: Path, models: Callable[[str], Any]) -> None:
    from transformers import AutoModelForCausalLM

    dga_copy(models("Llama"), SMALL).save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="dga")
    assert settings_of(again) == SMALL


def test_training_reaches_every_weight(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), SMALL).train()
    ids = prompt(60, rows=2)
    model(ids, labels=ids).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_right_padding_is_ignored_in_a_forward(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), SMALL)
    ids = prompt(60, rows=2)
    mask = torch.ones_like(ids)
    mask[1, 45:] = 0
    with torch.no_grad():
        out = model(ids, attention_mask=mask).logits
        alone = model(ids[1:, :45]).logits
    torch.testing.assert_close(out[1:, :45], alone, atol=2e-4, rtol=1e-3)


def test_what_cannot_be_honoured_is_an_error(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama"), SMALL)
    ids = prompt(40, rows=2)
    mask = torch.ones_like(ids)
    mask[0, 20] = 0
    with pytest.raises(ValueError, match="holes"):
        model(ids, attention_mask=mask)
    packed = torch.cat((torch.arange(25), torch.arange(15)))[None].expand(2, -1)
    with pytest.raises(ValueError, match="packed"):
        model(ids, position_ids=packed, use_cache=False)
    with pytest.raises(ValueError, match="pass the padding"):
        model(ids, attention_mask=torch.ones(2, 1, 40, 40, dtype=torch.bool))
    with pytest.raises(ValueError, match="has no cache"):
        enable(model, paper_config())
    with pytest.raises(ValueError, match="attention='fast'"):
        load_causal_lm("nowhere", attention="fast")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="drop it"):
        load_causal_lm("nowhere", attention="sdpa", config=SMALL)


def test_a_sliding_window_is_refused_only_when_it_would_matter() -> None:
    model = tiny("Mistral", sliding_window=50)
    want = model(prompt(40)).logits
    enable(model, SMALL)
    assert (model(prompt(40)).logits - want).abs()[:, : SMALL.window + SMALL.chunk - 1].max() < 1e-3
    with pytest.raises(ValueError, match="last 50 tokens only"):
        model(prompt(60))


def test_half_precision_runs(models: Callable[[str], Any]) -> None:
    model = dga_copy(models("Llama").to(torch.float32), SMALL).to(torch.bfloat16)
    made = generate(model, prompt(60), max_new_tokens=4)
    assert made.new_tokens.shape == (1, 4)
