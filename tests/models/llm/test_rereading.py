"""Texts read twice: what is kept against brute force, who is read twice, and what that leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.kernels.dga import (
    DGAConfig,
    LayerConfig,
    full_config,
    plan_of_scores,
    quality_config,
)
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.attention import enable, generate, load_causal_lm, make_cache
from fdvs.models.llm.attention_options import DEFAULT
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.llm.rereading import (
    INSTRUCTION as INSTRUCTION_TEXT,
)
from fdvs.models.llm.rereading import (
    LEAD_TOKENS,
    MOST_TOKENS,
    num_read_twice,
    passage_tokens,
    read_into,
    read_twice,
    why_not,
)

SMALL = DGAConfig(chunk=16, window=40, group_size=8, importance_rate=0.0, score_queries=8, sinks=2)
MIXED: tuple[DGAConfig, ...] = (full_config(), replace(SMALL, importance_rate=0.5))
INSTRUCTION = [3, 5, 4]
PASSAGE, CONTEXT, KEY_HEADS, PER_KEY, DIM = 48, 512, 2, 2, 8


def read_prompt(model: Any, tokenizer: Any, ids: Sequence[int]) -> Any:
    """Read a prompt twice, as a program does that has no writer."""
    cache = make_cache(model)
    instruction = tokenizer(INSTRUCTION_TEXT, add_special_tokens=False)["input_ids"]
    context = model.config.max_position_embeddings
    read_into(cache, model, ids, instruction=instruction, most_positions=context)
    return cache


@pytest.fixture(scope="session")
def folder(save_llama: Callable[..., Path]) -> Path:
    """A random Llama of one layer: its keys and queries depend on nothing but the tokens."""
    return save_llama(
        seed=6, num_hidden_layers=1, num_attention_heads=KEY_HEADS * PER_KEY,
        num_key_value_heads=KEY_HEADS, head_dim=DIM, max_position_embeddings=CONTEXT,
        initializer_range=0.5,
    )  # fmt: skip


@pytest.fixture
def model(folder: Path) -> Any:
    return load_causal_lm(folder)[0]


def text_ids(model: Any, count: int) -> Tensor:
    made = torch.Generator().manual_seed(2)
    return torch.randint(0, model.config.vocab_size, (count,), generator=made)


def read(
    model: Any, ids: Tensor, config: LayerConfig, context: int = CONTEXT
) -> tuple[Tensor, Any]:
    own = {0: config} if isinstance(config, tuple) else None
    cache = make_cache(model, SMALL if own else config, layer_configs=own)  # type: ignore[arg-type]
    parts = read_twice(model, ids, cache, instruction=INSTRUCTION, most_positions=context)
    return torch.cat(list(parts), 1), cache


def rotated(model: Any, ids: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """Return queries [H, L, D] and keys [K, L, D] of tokens at positions from `start` on."""
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    layer = model.model.layers[0]
    with torch.no_grad():
        x = layer.input_layernorm(model.model.embed_tokens(ids)[None])
        cos, sin = model.model.rotary_emb(x, torch.arange(start, start + len(ids))[None])
        q = layer.self_attn.q_proj(x).unflatten(-1, (-1, DIM)).transpose(1, 2)
        k = layer.self_attn.k_proj(x).unflatten(-1, (-1, DIM)).transpose(1, 2)
        q, k = apply_rotary_pos_emb(q, k, cos, sin)
    return q[0], k[0]


def scores_by_brute_force(model: Any, ids: Tensor, head: int) -> list[float]:
    """Repeat each passage by the definition; return the score of each token."""
    keys_LD, scores = rotated(model, ids, 0)[1][head], []
    for first in range(0, len(ids) // PASSAGE * PASSAGE, PASSAGE):
        last = first + PASSAGE
        lead = ids[max(0, first - LEAD_TOKENS) : first].tolist()
        again = torch.tensor([*INSTRUCTION, *lead, *ids[first:last].tolist()])
        q, k = rotated(model, again, last)
        best = [0.0] * PASSAGE
        for at in range(len(again) - PASSAGE, len(again)):
            among = torch.cat((keys_LD[first:last], k[head, : at + 1])).double()
            for query_head in range(head * PER_KEY, (head + 1) * PER_KEY):
                weights = (among @ q[query_head, at].double() * DIM**-0.5).softmax(0)
                best = [max(a, float(b)) for a, b in zip(best, weights, strict=False)]
        scores += best
    return scores


def kept_by_brute_force(model: Any, ids: Tensor, config: DGAConfig, head: int) -> list[int]:
    """Return the positions that stay."""
    scores, kept = scores_by_brute_force(model, ids, head), []
    for chunk in range(0, len(scores), config.chunk):
        places = range(chunk, chunk + config.chunk)
        ranked = sorted(places, key=lambda p: (p >= config.sinks, -scores[p]))
        kept += sorted(ranked[: config.units_per_chunk])
    return kept


def test_what_stays_is_what_the_repetition_looked_at(model: Any) -> None:
    ids = text_ids(model, 3 * PASSAGE + 7)
    _, cache = read(model, ids, SMALL)
    [state] = cache.store.layer(0).states
    assert state.num_seen == len(ids)
    keys_KLD = rotated(model, ids, 0)[1]
    for head in range(KEY_HEADS):
        want = kept_by_brute_force(model, ids, SMALL, head)
        torch.testing.assert_close(
            state.units.keys_BKND[0, head], keys_KLD[head, want], rtol=1e-4, atol=1e-5
        )


def test_each_key_head_keeps_by_its_own_settings(model: Any) -> None:
    ids = text_ids(model, 2 * PASSAGE)
    _, cache = read(model, ids, MIXED)
    full, half = cache.store.layer(0).states
    assert (full.units, full.raw_start) == (None, 0)
    want = kept_by_brute_force(model, ids, MIXED[1], 1)
    torch.testing.assert_close(
        half.units.keys_BKND[0, 0], rotated(model, ids, 0)[1][1, want], rtol=1e-4, atol=1e-5
    )


def test_the_beginning_says_what_each_key_head_keeps(model: Any) -> None:
    """Budgets come from the exact beginning (two passages here), and hold for all of the text."""
    with torch.no_grad():  # a head that looks at everything alike
        model.model.layers[0].self_attn.k_proj.weight[DIM:] *= 0.01
    config = replace(SMALL, importance_rate=0.5, dense_threshold=2 * PASSAGE + 7)
    ids = text_ids(model, 4 * PASSAGE)
    cache = make_cache(model, config)
    parts = read_twice(
        model, ids, cache, instruction=INSTRUCTION, most_positions=CONTEXT, budgets=True
    )
    hidden = torch.cat(list(parts), 1)
    start = ids[: 2 * PASSAGE]
    scores = [scores_by_brute_force(model, start, head) for head in range(KEY_HEADS)]
    want = plan_of_scores([torch.tensor(scores)[None]], config).layer_configs(
        dense_threshold=config.dense_threshold
    )
    assert cache.store.layer_configs == want
    states = cache.store.layer(0).states
    heads = {one: head for head, one in enumerate(want[0])}  # type: ignore[arg-type]
    assert len(heads) == KEY_HEADS, "the heads should differ"
    for own, state in zip(want[0], states, strict=True):  # type: ignore[arg-type]
        if own.is_dense:
            assert state.k_BKRD.shape[2] == len(ids)
            continue
        kept = kept_by_brute_force(model, ids, own, heads[own])
        keys_LD = rotated(model, ids, 0)[1][heads[own]]
        torch.testing.assert_close(state.units.keys_BKND[0, 0], keys_LD[kept], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        full = model.base_model(ids[None], past_key_values=make_cache(model, full_config()))
    exact = config.dense_threshold
    torch.testing.assert_close(
        hidden[:, :exact], full.last_hidden_state[:, :exact], rtol=1e-4, atol=1e-5
    )


def test_a_prompt_is_read_as_a_writer_reads_it(folder: Path, model_cache: Path) -> None:
    config = replace(SMALL, importance_rate=0.5)
    writer = writer_of(folder, config)
    reading = writer.read("a", "the red car moves and a rabbit seen in the picture moves " * 12)
    model, tokenizer, _ = load_causal_lm(folder, config=config)
    cache = read_prompt(model, tokenizer, reading.opening.ids)
    assert cache.store.layer_configs == reading.cache.store.layer_configs
    assert cache.num_bytes() == reading.cache.num_bytes()
    ids = torch.tensor([[*reading.opening.ids, 7, 8]])
    made = [
        generate(model, ids, max_new_tokens=12, cache=one).new_tokens
        for one in (cache, reading.cache.fork(), make_cache(model))
    ]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def test_layers_with_budgets_keep_them(model: Any) -> None:
    cache = make_cache(model, SMALL, layer_configs={0: MIXED})
    told = read_twice(
        model, text_ids(model, 2 * PASSAGE), cache, instruction=INSTRUCTION,
        most_positions=CONTEXT, budgets=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match="budgets=False"):
        list(told)


def test_a_text_of_less_than_a_passage_is_read_as_usual(model: Any) -> None:
    ids = text_ids(model, PASSAGE - 1)
    hidden, cache = read(model, ids, SMALL)
    once = make_cache(model, SMALL)
    with torch.no_grad():
        want = model.base_model(ids[None], past_key_values=once).last_hidden_state
    assert torch.equal(hidden, want)
    [state], [other] = cache.store.layer(0).states, once.store.layer(0).states
    assert state.num_built == other.num_built == 0
    assert torch.equal(state.k_BKRD, other.k_BKRD)


def test_the_repetition_is_not_part_of_the_text(model: Any) -> None:
    """As far as nothing has been dropped, the text is read as if nothing had been repeated."""
    ids = text_ids(model, 2 * PASSAGE + 5)
    hidden, cache = read(model, ids, SMALL)
    with torch.no_grad():
        want = model.base_model(ids[None], past_key_values=make_cache(model, full_config()))
    exact = SMALL.commit_time(0)
    torch.testing.assert_close(
        hidden[:, :exact], want.last_hidden_state[:, :exact], rtol=1e-4, atol=1e-5
    )
    assert not torch.allclose(hidden[:, exact:], want.last_hidden_state[:, exact:], atol=1e-4)
    assert cache.get_seq_length() == len(ids)
    assert cache.num_seen == [len(ids)]


def test_a_passage_is_of_whole_chunks_and_none_is_due_when_it_is_repeated(model: Any) -> None:
    for config, want in (
        (SMALL, PASSAGE),
        (DEFAULT, 640),
        (quality_config(), MOST_TOKENS),
        (replace(SMALL, window=1, score_queries=1), 16),
        (replace(DEFAULT, chunk=800, group_size=80), 800),
    ):
        size = passage_tokens(make_cache(model, config))
        assert size == want
        assert size % config.chunk == 0
        assert config.chunks_built(size) == 0


def test_passages_that_do_not_fit_the_context_are_read_once(model: Any) -> None:
    cache = make_cache(model, SMALL)
    extra = len(INSTRUCTION) + LEAD_TOKENS + PASSAGE
    assert num_read_twice(cache, 200, INSTRUCTION, 200 + extra) == 192
    assert num_read_twice(cache, 192, INSTRUCTION, 192 + extra) == 192
    assert num_read_twice(cache, 192, INSTRUCTION, 191 + extra) == 144
    assert num_read_twice(cache, 192, INSTRUCTION, 40) == 0
    ids = text_ids(model, 200)
    _, cache = read(model, ids, SMALL, context=150 + extra)
    [state] = cache.store.layer(0).states
    assert state.num_built == max(144 // SMALL.chunk, SMALL.chunks_built(200))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (full_config(), "nothing is grouped"),
        (replace(SMALL, pool=True, importance_rate=0.5), "pooled"),
        ((SMALL, replace(SMALL, chunk=32)), "several sizes"),
        (replace(SMALL, window=0, score_queries=1), "without a window"),
    ],
)
def test_what_cannot_be_judged_so_says_why(model: Any, config: Any, reason: str) -> None:
    layers = {0: config} if isinstance(config, tuple) else None
    cache = make_cache(model, SMALL if layers else config, layer_configs=layers)
    assert reason in why_not(cache)
    with pytest.raises(ValueError, match=reason):
        passage_tokens(cache)


def writer_of(folder: Path, config: DGAConfig | None, *, reread: bool = True) -> LocalLanguageModel:
    card = Card(name="w", role="llm", backend="transformers", target=str(folder))
    attention = "sdpa" if config is None else "dga"
    writer = LocalLanguageModel.load(
        card, LoadSettings(device="cpu", attention=attention, reread=reread)
    )
    if config is not None:
        enable(writer.model, config)
    return writer


def test_a_writer_reads_twice_what_it_will_drop_and_says_so(
    folder: Path, model_cache: Path
) -> None:
    text = "the red car moves and a rabbit seen in the picture moves " * 12
    writer = writer_of(folder, SMALL)
    reading = writer.read("a", text)
    twice = reading.num_tokens // PASSAGE * PASSAGE
    assert twice > 96
    said = f"; {twice} read twice, budgets by key head from the text"
    assert said in writer.attention
    for use in (lambda: reading.write("what", max_tokens=4), lambda: reading.score("what", ["a"])):
        writer.attention = ""
        use()
        assert said in writer.attention
    once = writer_of(folder, SMALL, reread=False)
    other = once.read("a", text)
    assert "read twice" not in once.attention
    assert set(reading.cache.store.layer_configs) == {0}
    assert not other.cache.store.layer_configs


def test_a_prompt_that_is_not_kept_is_read_twice_too(folder: Path, model_cache: Path) -> None:
    writer = writer_of(folder, replace(SMALL, importance_rate=0.5))
    user = "the red car moves and a rabbit seen in the picture moves " * 12
    said = writer.write("a", user, max_tokens=9)
    ids = writer.chat.ids(writer.chat.prompt("a", user))
    twice = (len(ids) - 1) // PASSAGE * PASSAGE
    assert f"; {twice} read twice" in writer.attention
    assert said.num_prompt_tokens == len(ids)
    cache = read_prompt(writer.model, writer.chat.tokenizer, ids[:-1])
    made = generate(writer.model, torch.tensor([ids]), max_new_tokens=9, cache=cache)
    assert writer.chat.text(made.new_tokens[0].tolist()).strip() == said.text
    short = writer.write("a", "the red car", max_tokens=4)
    assert "read twice" not in writer.attention
    assert short.num_tokens == 4


def test_a_writer_with_budgets_of_its_own_keeps_them(folder: Path, model_cache: Path) -> None:
    writer = writer_of(folder, SMALL)
    enable(writer.model, SMALL, layer_configs={0: MIXED})
    reading = writer.read("a", "the red car moves and a rabbit seen in the picture moves " * 12)
    assert "read twice" in writer.attention
    assert "from the text" not in writer.attention
    assert reading.cache.store.layer_configs == {0: MIXED}


POOLED = replace(SMALL, pool=True, importance_rate=0.5)
LATE = replace(SMALL, dense_threshold=400)


@pytest.mark.parametrize("config", [None, DEFAULT, LATE, POOLED])
def test_nothing_is_read_twice_where_that_would_change_nothing(
    folder: Path, model_cache: Path, config: DGAConfig | None
) -> None:
    writer = writer_of(folder, config)
    writer.read("a", "the red car moves and a rabbit seen in the picture moves " * 12)
    assert "read twice" not in writer.attention
