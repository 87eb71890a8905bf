"""An own model cache for each test that asks, and tiny checkpoints written to disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.models.cards import Card

WORDS = ["a", "the", "rabbit", "car", "picture", "moves", "seen", "likely", "notes", "question"]
WORDS += ["answer", "what", "where", "red"]
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def model_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache of this test."""
    folder = tmp_path / "model-cache"
    monkeypatch.setenv("FDVS_CACHE", str(folder))
    return folder


@pytest.fixture
def use_cards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let only the given cards exist."""

    from fdvs.models import fetch

    def use(*cards: Card) -> None:
        table = {card.name: card for card in cards}
        monkeypatch.setattr(fetch, "card_names", lambda: sorted(table))
        monkeypatch.setattr(fetch, "load_card", table.__getitem__)

    return use


@pytest.fixture(scope="session")
def word_tokenizer() -> Callable[..., Any]:
    """Make a tokenizer of whole words, with control tokens."""

    def make(*, chat_template: str | None = CHAT_TEMPLATE) -> Any:
        from tokenizers import Tokenizer, models, pre_tokenizers
        from transformers import PreTrainedTokenizerFast

        controls = ["<unk>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "[PAD]"]
        vocabulary = {word: i for i, word in enumerate([*controls, *WORDS])}
        raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
        raw.pre_tokenizer = pre_tokenizers.Whitespace()
        made = PreTrainedTokenizerFast(
            tokenizer_object=raw,
            unk_token="<unk>",
            eos_token="<|end|>",
            pad_token="[PAD]",
            additional_special_tokens=["<|system|>", "<|user|>", "<|assistant|>"],
        )
        made.chat_template = chat_template
        return made

    return make


@pytest.fixture(scope="session")
def llama_folder(
    tmp_path_factory: pytest.TempPathFactory, word_tokenizer: Callable[..., Any]
) -> Path:
    """A random Llama with 64 positions and grouped key heads, as safetensors."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("llama")
    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sentence_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT with mean pooling, in sentence-transformers' format."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    torch.manual_seed(0)
    bert = tmp_path_factory.mktemp("bert")
    (bert / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    )
    config = BertConfig(
        vocab_size=len(WORDS) + 5,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(vocab=str(bert / "vocab.txt")).save_pretrained(bert)
    layer = Transformer(str(bert), max_seq_length=16)
    folder = tmp_path_factory.mktemp("sentences")
    SentenceTransformer(modules=[layer, Pooling(16)]).save(str(folder))
    return folder


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random open_clip model of 32-pixel pictures and 12 dimensions, with its config."""
    import open_clip
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("clip")
    model_cfg = {
        "embed_dim": 12,
        "vision_cfg": {
            "image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16,
        },
        "text_cfg": {
            "context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1,
        },
    }  # fmt: skip
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "resize_mode": "shortest"}
    config = {"model_cfg": model_cfg, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    model = open_clip.CLIP(**{**model_cfg, "output_dict": False})
    save_file(
        {k: v.contiguous() for k, v in model.state_dict().items()},
        folder / "open_clip_model.safetensors",
    )
    return folder
