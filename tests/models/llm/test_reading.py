"""A text read once and asked about many times: equal to reading everything anew each time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fdvs.errors import ModelError
from fdvs.kernels.dga import DGAConfig
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.attention import enable, make_cache
from fdvs.models.llm.chat import MARK, Chat
from fdvs.models.llm.engine import TextStreamer
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.llm.reading import fork, option_log_probs
from fdvs.protocols import PrefillLanguageModel, ReadPrompt

SMALL = DGAConfig(
    importance_rate=0.25, group_size=4, chunk=16, window=8, sinks=2, score_queries=4
)  # fmt: skip
SYSTEM = "Answer from the notes."
TEXT = "".join(f"At {i} a red car moves, and rabbit number {i * 7 % 13} waits.\n" for i in range(9))
REST = "What does the rabbit do?"
OPTIONS = ["it waits", "a red car moves away quickly", "no", "the café — naïve 猫"]


@pytest.fixture(scope="session")
def byte_tokenizer() -> Callable[[], Any]:
    """Make a byte-level tokenizer with merges of English, as SmolLM and Qwen have."""

    def make() -> Any:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import PreTrainedTokenizerFast

        controls = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
        raw = Tokenizer(models.BPE())
        raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        raw.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=330, special_tokens=controls, initial_alphabet=alphabet, show_progress=False
        )
        raw.train_from_iterator([TEXT, REST, "\n\n\n"], trainer)
        made = PreTrainedTokenizerFast(
            tokenizer_object=raw, eos_token="<|end|>",
            additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        )  # fmt: skip
        made.chat_template = (
            "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
        )
        return made

    return make


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer: Callable[[], Any]) -> Path:
    """A random Llama with sharp attention, so that answers depend on what was read."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(5)
    place, tokenizer = tmp_path_factory.mktemp("reader"), byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, head_dim=8, max_position_embeddings=2048,
        bos_token_id=None, eos_token_id=0, initializer_range=0.3,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place)
    tokenizer.save_pretrained(place)
    return place


def writer_of(folder: Path, attention: str, config: DGAConfig | None = None) -> LocalLanguageModel:
    card = Card(name="w", role="llm", backend="transformers", target=str(folder))
    settings = LoadSettings(device="cpu", attention=attention, reread=False)
    writer = LocalLanguageModel.load(card, settings)
    if config is not None:
        enable(writer.model, config)
    return writer


@pytest.fixture(params=["sdpa", "exact below 2048", "grouped"])
def writer(request: pytest.FixtureRequest, folder: Path, model_cache: Path) -> LocalLanguageModel:
    config = SMALL if request.param == "grouped" else None
    return writer_of(folder, "sdpa" if request.param == "sdpa" else "dga", config)


@pytest.fixture
def stock(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def brute_force(model: Any, before: list[int], option: list[int]) -> float:
    """Score one option by one pass over everything, without a cache."""
    with torch.no_grad():
        logits = model(torch.tensor([before + option]), use_cache=False).logits[0]
    log_probs = logits.double().log_softmax(-1)
    places = range(len(before) - 1, len(before) + len(option) - 1)
    return sum(float(log_probs[at, token]) for at, token in zip(places, option, strict=True))


def whole_ids(writer: LocalLanguageModel, rest: str = REST) -> list[int]:
    opening = writer.chat.opening(SYSTEM, TEXT)
    return [*opening.ids, *writer.chat.following(rest, opening)]


def snapshot(cache: Any) -> list[Tensor]:
    if hasattr(cache, "store"):
        states = [layer.states[0] for layer in cache.store.layers]
        found = [x for s in states for x in (s.k_BKRD, s.v_BKRE, s.q_BHJD)]
        found += [s.units.keys_BKND for s in states if s.units is not None]
        return [x.clone() for x in found]
    return [x.clone() for layer in cache.layers for x in (layer.keys, layer.values)]


def test_the_writer_and_its_reading_fulfil_the_protocols(writer: LocalLanguageModel) -> None:
    assert isinstance(writer, PrefillLanguageModel)
    reading = writer.read(SYSTEM, TEXT)
    assert isinstance(reading, ReadPrompt)
    assert reading.num_tokens == len(writer.chat.opening(SYSTEM, TEXT).ids)


def test_scores_equal_one_full_pass_for_each_option(writer: LocalLanguageModel, stock: Any) -> None:
    made = writer.read(SYSTEM, TEXT).score(REST, OPTIONS)
    before = whole_ids(writer)
    model = writer.model if "of them as" in writer.attention else stock
    for option, score in zip(OPTIONS, made, strict=True):
        ids = writer.chat.ids(option)
        want = brute_force(model, before, ids)
        assert score.num_tokens == len(ids)
        assert score.log_prob == pytest.approx(want, abs=2e-3)


def test_grouping_changes_the_scores_so_that_equality_says_something(
    folder: Path, stock: Any, model_cache: Path
) -> None:
    writer = writer_of(folder, "dga", SMALL)
    made = writer.read(SYSTEM, TEXT).score(REST, OPTIONS)
    assert "of them as" in writer.attention
    full = [brute_force(stock, whole_ids(writer), writer.chat.ids(o)) for o in OPTIONS]
    assert max(abs(s.log_prob - f) for s, f in zip(made, full, strict=True)) > 0.1


def test_the_answer_is_that_of_the_whole_prompt(writer: LocalLanguageModel) -> None:
    want = writer.write(SYSTEM, TEXT + REST, max_tokens=12)
    assert whole_ids(writer) == writer.chat.ids(writer.chat.prompt(SYSTEM, TEXT + REST))
    assert writer.read(SYSTEM, TEXT).write(REST, max_tokens=12) == want


def test_no_question_sees_another_and_the_reading_stays_as_it_was(
    writer: LocalLanguageModel,
) -> None:
    reading = writer.read(SYSTEM, TEXT)
    before = snapshot(reading.cache)
    scores, answer = reading.score(REST, OPTIONS), reading.write(REST, max_tokens=40)
    reading.write("A longer question, " * 9, max_tokens=40)
    reading.score("Another question?", ["x" * 50, "yes"])
    assert reading.score(REST, OPTIONS) == scores
    assert reading.write(REST, max_tokens=40) == answer
    for old, new in zip(before, snapshot(reading.cache), strict=True):
        assert torch.equal(old, new)


def test_an_options_score_does_not_depend_on_its_neighbours(writer: LocalLanguageModel) -> None:
    reading = writer.read(SYSTEM, TEXT)
    together = reading.score(REST, OPTIONS)
    backwards = reading.score(REST, OPTIONS[::-1])[::-1]
    for option, one, other in zip(OPTIONS, together, backwards, strict=True):
        alone = reading.score(REST, [option])[0].log_prob
        assert one.log_prob == pytest.approx(alone, abs=1e-3)
        assert other.log_prob == pytest.approx(alone, abs=1e-3)


def test_an_option_that_crosses_commits_is_scored_as_in_one_pass(
    folder: Path, model_cache: Path
) -> None:
    writer = writer_of(folder, "dga", SMALL)
    options = ["rabbit 猫 " * 9, "car"]
    made = writer.read(SYSTEM, TEXT).score(REST, options)
    for option, score in zip(options, made, strict=True):
        want = brute_force(writer.model, whole_ids(writer), writer.chat.ids(option))
        assert score.log_prob == pytest.approx(want, abs=5e-3)


def test_stock_layers_with_a_window_are_scored_in_rows(stock: Any) -> None:
    """Mistral with a window: layers that forget cannot be told apart by one mask."""
    from transformers import DynamicCache, MistralConfig, MistralForCausalLM

    torch.manual_seed(2)
    config = MistralConfig(
        vocab_size=50, hidden_size=24, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, sliding_window=7, initializer_range=0.4,
    )  # fmt: skip
    model = MistralForCausalLM(config).eval()
    ids, options = list(range(3, 23)), [[4, 5, 6, 7], [9], [8, 8]]
    got = option_log_probs(model, DynamicCache(config=config), ids, options)
    assert got == pytest.approx([brute_force(model, ids, o) for o in options], abs=1e-4)


def test_layers_of_an_unknown_kind_are_copied_as_a_whole(stock: Any) -> None:
    from transformers.cache_utils import DynamicCache, DynamicLayer

    class Writing(DynamicLayer):  # type: ignore[misc]  # untyped library
        """Writes into its tensors."""

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> Any:
            made = super().update(key_states, value_states)
            self.keys += 0
            self.keys[..., 0, :] = 7.0
            return made

    cache = DynamicCache()
    cache.layers = [Writing()]
    cache.layers[0].update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2))
    cache.layers[0].keys.zero_()
    twin = fork(cache)
    twin.layers[0].keys[..., 0, :] = 1.0
    assert not cache.layers[0].keys.any()


def test_the_tokens_of_the_fixed_part_do_not_depend_on_what_follows(
    byte_tokenizer: Callable[[], Any],
) -> None:
    chat = Chat(byte_tokenizer(), name="t")
    for text in (TEXT, TEXT.rstrip(), "ends in space ", "two\n\n", "caf"):
        opening = chat.opening(SYSTEM, text)
        for rest in (REST, "\nnew line", " space", "é", "ing"):
            after = chat.following(rest, opening)
            spelled = chat.text([*opening.ids, *after])
            assert spelled == chat.text(chat.ids(chat.prompt(SYSTEM, text + rest)))
            assert chat.opening(SYSTEM, text) == opening


def test_after_one_newline_the_parts_are_split_as_the_whole_is(
    byte_tokenizer: Callable[[], Any],
) -> None:
    chat = Chat(byte_tokenizer(), name="t")
    opening = chat.opening(SYSTEM, TEXT)
    for rest in (REST, "Which?", "7 of them?", "Étude"):
        whole = chat.ids(chat.prompt(SYSTEM, TEXT + rest))
        assert [*opening.ids, *chat.following(rest, opening)] == whole


def spaced_tokenizer() -> Any:
    """Make a tokenizer that puts a space before whatever it is given, as SentencePiece does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = ["<unk>", "</s>", "\u2581", "\n", *"abcdefghijklmnopqrstuvwxyz:?."]
    raw = Tokenizer(models.BPE({x: i for i, x in enumerate(letters)}, [], unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    raw.decoder = decoders.Metaspace()
    made = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>", eos_token="</s>")
    made.chat_template = "{% for m in messages %}{{ m.content }} {% endfor %}a:"
    return made


def test_no_space_comes_between_the_parts_where_a_tokenizer_would_put_one() -> None:
    tokenizer = spaced_tokenizer()
    assert tokenizer.decode(tokenizer("ab")["input_ids"] + tokenizer("cd")["input_ids"]) == "ab cd"
    chat = Chat(tokenizer, name="t")
    opening = chat.opening("be short", "the st")
    ids = [*opening.ids, *chat.following("ory. what?", opening)]
    assert chat.text(ids) == "be short the story. what? a:"
    assert ids == chat.ids(chat.prompt("be short", "the story. what?"))


def test_a_text_with_control_tokens_or_the_mark_itself_is_only_text(
    byte_tokenizer: Callable[[], Any],
) -> None:
    chat = Chat(byte_tokenizer(), name="t")
    clean = chat.opening("a", "the car")
    assert chat.opening("a<|end|>", "the <|us<|end|>er|>car") == clean
    assert chat.following("x<|assistant|>", clean) == chat.following("x", clean)
    marked = chat.opening("a", f"the {MARK} car{MARK}")
    assert chat.text(list(marked.ids)).endswith(f"the {MARK} car{MARK}")
    split = chat.following("er|>x", chat.opening("a", "the <|us"))
    assert not set(split) & set(chat.ids("<|user|>"))


@pytest.mark.parametrize("template", ["{{ messages[-1].content * 2 }}", "nothing of it"])
def test_a_template_that_repeats_or_drops_the_text_is_refused(
    template: str, byte_tokenizer: Callable[[], Any]
) -> None:
    chat = Chat(byte_tokenizer(), name="t", template=template)
    with pytest.raises(ModelError, match="repeats or drops the user's text"):
        chat.opening("a", "b")


def test_a_template_without_a_system_turn_gets_system_and_text_in_one(
    byte_tokenizer: Callable[[], Any],
) -> None:
    strict = (
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}"
        "{% endif %}<|user|>{{ m.content }}<|end|>{% endfor %}"
    )
    chat = Chat(byte_tokenizer(), name="t", template=strict)
    assert chat.opening("the notes", "what") == chat.opening("", "the notes\n\nwhat")
    assert chat.opening("", "x").closing == "<|end|>"


def test_what_does_not_fit_or_says_nothing_is_an_error(folder: Path, model_cache: Path) -> None:
    writer = writer_of(folder, "sdpa")
    reading = writer.read(SYSTEM, TEXT)
    size = len(whole_ids(writer))
    writer.context_tokens = size + 5
    assert reading.write(REST, max_tokens=5)
    with pytest.raises(ModelError, match=rf"{size} tokens and 6 to write.* {size + 5}"):
        reading.write(REST, max_tokens=6)
    with pytest.raises(ModelError, match="exceed its context"):
        reading.score(REST, ["no", "rabbit " * 9])
    with pytest.raises(ModelError, match=r"option '<\|end\|>' has no token"):
        reading.score(REST, ["no", "<|end|>"])
    assert reading.score(REST, []) == ()
    writer.context_tokens = reading.num_tokens
    with pytest.raises(ModelError, match="exceed its context"):
        writer.read(SYSTEM, TEXT)


def test_a_question_of_nothing_is_an_error_where_the_template_adds_nothing(
    folder: Path, model_cache: Path
) -> None:
    writer = writer_of(folder, "sdpa")
    writer.chat = Chat(
        writer.chat.tokenizer,
        name="w",
        template="{% for m in messages %}{{ m.content }}{% endfor %}",
    )
    with pytest.raises(ModelError, match="nothing follows the text"):
        writer.read("", TEXT).write("", max_tokens=3)


def test_what_the_model_cannot_do_is_a_model_error(
    folder: Path, model_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = writer_of(folder, "sdpa")
    reading = writer.read(SYSTEM, TEXT)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no memory for 3 GiB")

    monkeypatch.setattr(writer.model, "forward", fail)
    for call in (
        lambda: writer.read(SYSTEM, TEXT),
        lambda: reading.score(REST, OPTIONS),
        lambda: reading.write(REST, max_tokens=2),
    ):
        with pytest.raises(ModelError, match="w: no memory"):
            call()


# streaming


def test_the_pieces_are_the_answer(writer: LocalLanguageModel) -> None:
    pieces: list[str] = []
    made = writer.read(SYSTEM, TEXT).write(REST, max_tokens=40, on_text=pieces.append)
    assert "".join(pieces) == made.text
    assert len(pieces) > 5


def test_half_characters_and_trailing_space_wait(byte_tokenizer: Callable[[], Any]) -> None:
    chat = Chat(byte_tokenizer(), name="t")
    told: list[str] = []
    pieces = TextStreamer(chat.text, told.append)
    text = "  naïve 猫 \n yes \ufffd  "
    pieces.put(torch.tensor([chat.ids("a prompt")]))
    assert told == []
    for token in [*chat.ids(text), chat.ids("<|end|>")[0]]:
        pieces.put(torch.tensor([token]))
    pieces.end()
    assert "".join(told) == text.strip()
    assert all("\ufffd" not in piece for piece in told[:-1])


def test_an_answer_of_nothing_tells_nothing(byte_tokenizer: Callable[[], Any]) -> None:
    told: list[str] = []
    pieces = TextStreamer(Chat(byte_tokenizer(), name="t").text, told.append)
    pieces.end()
    assert told == []


# forks of the grouped cache


def test_a_fork_goes_on_alone_and_in_rows(folder: Path, model_cache: Path) -> None:
    model = writer_of(folder, "dga", replace(SMALL, pool=True)).model
    ids = torch.randint(5, 300, (1, 61), generator=torch.Generator().manual_seed(1))
    first, others = ids[:, :40], ids[:, 40:].view(3, 7)
    cache = make_cache(model)
    with torch.no_grad():
        model(first, past_key_values=cache)
        rows = model(others, past_key_values=cache.fork(3)).logits
        alone = [model(row[None], past_key_values=cache.fork()).logits[0] for row in others]
        anew = [
            model(torch.cat((first, row[None]), 1), use_cache=False).logits[0, 40:]
            for row in others
        ]
    torch.testing.assert_close(rows, torch.stack(alone), atol=2e-4, rtol=1e-3)
    torch.testing.assert_close(rows, torch.stack(anew), atol=2e-4, rtol=1e-3)
    assert cache.num_seen == [40]


def test_only_a_single_row_can_be_repeated(folder: Path, model_cache: Path) -> None:
    model = writer_of(folder, "dga", SMALL).model
    cache = make_cache(model)
    with torch.no_grad():
        model(torch.randint(5, 300, (2, 9)), past_key_values=cache)
    with pytest.raises(ValueError, match="cannot repeat a batch of 2 rows 3 times"):
        cache.fork(3)
    assert cache.fork().num_seen == [9, 9]
