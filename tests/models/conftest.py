"""An own model cache for each test that asks, and tiny checkpoints written to disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.models.cards import Card
from fdvs.models.describe.objectwords import COCO_NAMES
from fdvs.models.describe.vlm_prompts import PLAIN, question

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
def cuda() -> str:
    """The GPU of this machine; without one a test is skipped, or fails where one is required."""
    import torch

    if not torch.cuda.is_available():
        if os.environ.get("FDVS_REQUIRE_CUDA") == "1":
            pytest.fail("FDVS_REQUIRE_CUDA=1, but there is no CUDA GPU")
        pytest.skip("there is no CUDA GPU")
    return "cuda"


@pytest.fixture
def use_cards(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let only the given cards exist."""

    from fdvs.models.weights import fetch

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
def save_llama(
    tmp_path_factory: pytest.TempPathFactory, word_tokenizer: Callable[..., Any]
) -> Callable[..., Path]:
    """Save a random Llama with grouped key heads as safetensors; `changes` are to its config."""

    def save(*, seed: int, **changes: Any) -> Path:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        torch.manual_seed(seed)
        folder, tokenizer = tmp_path_factory.mktemp("llama"), word_tokenizer()
        settings = {
            "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
            "bos_token_id": None, "eos_token_id": tokenizer.eos_token_id,
        }  # fmt: skip
        LlamaForCausalLM(LlamaConfig(**settings | changes)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def llama_folder(save_llama: Callable[..., Path]) -> Path:
    """A random Llama with 64 positions."""
    return save_llama(seed=0, max_position_embeddings=64)


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


# -- captioners ----------------------------------------------------------------------

VLM_WORDS = (
    "a the of and in on red green blue dark bright man woman dog cat car tree road house sky "
    "water walks runs sits stands holds drives opens small large left right near far two three"
)
VOCAB_SIZE = 128


def save_tokenizer(folder: Path, specials: list[str], *, chat_template: str = "") -> Any:
    """Write a word tokenizer: specials first, then VLM_WORDS and the words of the prompts."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    asked = f"{question(1)} {question(2)} {PLAIN} user assistant".split()
    vocab = ["<pad>", "<s>", "</s>", "<unk>", *specials, *VLM_WORDS.split()]
    vocab += [word for word in dict.fromkeys(asked) if word not in vocab]
    model = models.WordLevel({t: i for i, t in enumerate(vocab[:VOCAB_SIZE])}, unk_token="<unk>")
    raw = Tokenizer(model)
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        additional_special_tokens=specials,
    )
    if chat_template:
        tokenizer.chat_template = chat_template
    tokenizer.save_pretrained(folder)
    return tokenizer


def chat_template(image: str, video: str = "") -> str:
    return (
        "{% for m in messages %}<s> {{ m['role'] }} {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + image + " {% elif c['type'] == 'video' %}" + video + " "
        "{% else %}{{ c['text'] }} {% endif %}"
        "{% endfor %}</s> {% endfor %}{% if add_generation_prompt %}<s> assistant {% endif %}"
    )


def tiny_text(**more: Any) -> dict[str, Any]:
    return {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 1024,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        **more,
    }


def smolvlm(folder: Path) -> None:
    from transformers import (
        SmolVLMConfig,
        SmolVLMForConditionalGeneration,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )

    specials = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    specials += [f"<row_{r}_col_{c}>" for r in (1, 2) for c in (1, 2)]
    template = chat_template("<image>")
    tokenizer = save_tokenizer(folder, specials, chat_template=template)
    sizes = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": 32}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**sizes),
        tokenizer,
        SmolVLMVideoProcessor(**sizes),
        image_seq_len=4,
        chat_template=template,
    )
    processor.save_pretrained(folder)
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    vision |= {"num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    vision |= {"initializer_range": 0.3}
    config = SmolVLMConfig(
        text_config={"model_type": "llama", **tiny_text()},
        vision_config=vision,
        scale_factor=2,
        image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    SmolVLMForConditionalGeneration(config).save_pretrained(folder)


QWEN_SPECIALS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def qwen_processor(folder: Path, kind: Any, video_kind: Any, patch_size: int) -> Any:
    from transformers import Qwen2VLImageProcessor

    template = chat_template(
        "<|vision_start|> <|image_pad|> <|vision_end|>",
        "<|vision_start|> <|video_pad|> <|vision_end|>",
    )
    tokenizer = save_tokenizer(folder, QWEN_SPECIALS, chat_template=template)
    sizes: dict[str, Any] = {"patch_size": patch_size, "temporal_patch_size": 2, "merge_size": 2}
    sizes |= {"size": {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}}
    processor = kind(
        Qwen2VLImageProcessor(**sizes), tokenizer, video_kind(**sizes), chat_template=template
    )
    processor.save_pretrained(folder)
    return tokenizer


def qwen_ids(tokenizer: Any) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {
        name: tokenizer.convert_tokens_to_ids(token)
        for name, token in zip(names, QWEN_SPECIALS, strict=True)
    }


def qwen2_vl(folder: Path) -> None:
    from transformers import (
        Qwen2VLConfig,
        Qwen2VLForConditionalGeneration,
        Qwen2VLProcessor,
        Qwen2VLVideoProcessor,
    )

    tokenizer = qwen_processor(folder, Qwen2VLProcessor, Qwen2VLVideoProcessor, 8)
    config = Qwen2VLConfig(
        text_config=tiny_text(
            rope_parameters={"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
        ),
        vision_config={
            **{"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2},
            **{"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2},
            **{"initializer_range": 0.3},
        },
        **qwen_ids(tokenizer),
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    )
    Qwen2VLForConditionalGeneration(config).save_pretrained(folder)


def qwen3_vl(folder: Path) -> None:
    from transformers import (
        Qwen3VLConfig,
        Qwen3VLForConditionalGeneration,
        Qwen3VLProcessor,
        Qwen3VLVideoProcessor,
    )

    tokenizer = qwen_processor(folder, Qwen3VLProcessor, Qwen3VLVideoProcessor, 8)
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    config = Qwen3VLConfig(
        text_config=tiny_text(head_dim=8, rope_parameters={**rope, "rope_theta": 1e4}),
        vision_config={
            **{"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4},
            **{"patch_size": 8, "spatial_merge_size": 2, "temporal_patch_size": 2},
            **{"out_hidden_size": 32, "num_position_embeddings": 64, "initializer_range": 0.3},
            "deepstack_visual_indexes": [0],
        },
        **qwen_ids(tokenizer),
        **{"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    )
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder)


def blip2(folder: Path, *, text: dict[str, Any]) -> None:
    from transformers import (
        Blip2Config,
        Blip2ForConditionalGeneration,
        Blip2Processor,
        BlipImageProcessor,
    )

    tokenizer = save_tokenizer(folder, ["<image>"])
    image_processor = BlipImageProcessor(size={"height": 32, "width": 32})
    Blip2Processor(image_processor, tokenizer, num_query_tokens=4).save_pretrained(folder)
    layers = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    layers |= {"num_attention_heads": 4, "initializer_range": 0.3}
    config = Blip2Config(
        vision_config={**layers, "image_size": 32, "patch_size": 8},
        qformer_config={**layers, "vocab_size": VOCAB_SIZE, "encoder_hidden_size": 32},
        text_config=text,
        num_query_tokens=4,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    model = Blip2ForConditionalGeneration(config)
    model.query_tokens.data.normal_()
    if text["model_type"] == "t5":  # else its likeliest word is the padding that it starts from
        model.language_model.lm_head.weight.data.normal_()[:4] = 0
    model.save_pretrained(folder)


def blip2_opt(folder: Path) -> None:
    more = {"word_embed_proj_dim": 32, "ffn_dim": 48, "init_std": 0.3}
    blip2(folder, text={"model_type": "opt", **tiny_text(**more)})


def blip2_t5(folder: Path) -> None:
    blip2(
        folder,
        text={
            **{"model_type": "t5", "vocab_size": VOCAB_SIZE, "d_model": 32, "d_kv": 8, "d_ff": 48},
            **{"num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0, "pad_token_id": 0},
            **{"eos_token_id": 2, "tie_word_embeddings": False},
        },
    )


MAKERS: dict[str, Callable[[Path], None]] = {
    "smolvlm": smolvlm,
    "qwen2_vl": qwen2_vl,
    "qwen3_vl": qwen3_vl,
    "blip2_opt": blip2_opt,
    "blip2_t5": blip2_t5,
}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Write a family's checkpoint once and return its folder."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        import torch

        if name not in made:
            torch.manual_seed(3)
            folder = tmp_path_factory.mktemp(name)
            MAKERS[name](folder)
            made[name] = folder
        return made[name]

    return get


# -- objects and actions --------------------------------------------------------------


@pytest.fixture(scope="session")
def detector_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GroundingDINO with random weights, its processor and a word tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import (
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        PreTrainedTokenizerFast,
    )

    folder = tmp_path_factory.mktemp("detector")
    words = sorted({word for name in COCO_NAMES for word in name.split()})
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", ".", *words]
    raw = Tokenizer(models.WordLevel({t: n for n, t in enumerate(vocab)}, unk_token="[UNK]"))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        **{"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    )
    size = {"shortest_edge": 64, "longest_edge": 96}
    GroundingDinoProcessor(GroundingDinoImageProcessor(size=size), tokenizer).save_pretrained(
        folder
    )
    torch.manual_seed(0)
    config = GroundingDinoConfig(
        backbone_config={
            **{"model_type": "swin", "embed_dim": 8, "depths": [1, 1, 1, 1], "image_size": 64},
            **{"num_heads": [1, 1, 2, 2], "window_size": 4, "patch_size": 2},
            "out_features": ["stage2", "stage3", "stage4"],
        },
        text_config={
            **{"model_type": "bert", "vocab_size": len(vocab), "hidden_size": 32},
            **{"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
        },
        **{"num_queries": 12, "d_model": 32, "encoder_layers": 1, "decoder_layers": 2},
        **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2},
        **{"decoder_attention_heads": 2, "max_text_len": 64, "disable_custom_kernels": True},
    )
    GroundingDinoForObjectDetection(config).save_pretrained(folder)
    return folder


ACTIONS = {0: "riding_a_bike", 1: "cooking", 2: "playing chess"}


@pytest.fixture(scope="session")
def classifier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import (
        VideoMAEConfig,
        VideoMAEForVideoClassification,
        VideoMAEImageProcessor,
    )

    folder = tmp_path_factory.mktemp("classifier")
    size = {"height": 32, "width": 32}
    VideoMAEImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    torch.manual_seed(0)
    config = VideoMAEConfig(
        **{"image_size": 32, "patch_size": 16, "num_frames": 8, "hidden_size": 32},
        **{"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        **{"initializer_range": 0.5, "id2label": ACTIONS},
    )
    VideoMAEForVideoClassification(config).save_pretrained(folder)
    return folder
