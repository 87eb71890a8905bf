"""Valid model folders to damage: tiny random checkpoints of each kind of loader."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

WORDS = "a the rabbit car picture moves seen likely notes question answer what where red".split()
CONTROLS = ["<unk>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "[PAD]"]
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Seed(NamedTuple):
    """A folder, and the role and backend that load it."""

    role: str
    backend: str
    folder: Path


def word_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate([*CONTROLS, *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", eos_token="<|end|>", pad_token="[PAD]",
        additional_special_tokens=CONTROLS[2:5],
    )  # fmt: skip
    made.chat_template = TEMPLATE
    return made


def save_llama(folder: Path, *, shard_size: str = "50GB") -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = word_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size=shard_size)
    tokenizer.save_pretrained(folder)


def save_shards(folder: Path) -> None:
    save_llama(folder, shard_size="20KB")
    assert (folder / "model.safetensors.index.json").is_file()


def save_sentences(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    bert = folder.with_name(f"{folder.name}-bert")
    bert.mkdir()
    (bert / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])
    )
    config = BertConfig(
        vocab_size=len(WORDS) + 5, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32, max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(bert)
    BertTokenizerFast(vocab=str(bert / "vocab.txt")).save_pretrained(bert)
    modules = [Transformer(str(bert), max_seq_length=16), Pooling(16)]
    SentenceTransformer(modules=modules).save(str(folder))


def save_clip(folder: Path) -> None:
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": 1, "width": 16, "head_width": 8, "patch_size": 16}
    text = {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1}
    config = {"embed_dim": 12, "vision_cfg": vision, "text_cfg": text}
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "resize_mode": "shortest"}
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    )
    state = open_clip.CLIP(**config, output_dict=False).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, folder / "open_clip_model.safetensors")


def save_gguf(folder: Path) -> None:
    import gguf
    import numpy as np

    folder.mkdir()
    writer = gguf.GGUFWriter(folder / "tiny.gguf", "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_tokenizer_model("gpt2")
    tokens = [*CONTROLS, "ab", *map(chr, range(ord("a"), ord("z")))]
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(CONTROLS) + [1] * (len(tokens) - len(CONTROLS)))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(len(tokens))
    writer.add_chat_template(TEMPLATE)
    sizes = {"attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32)}
    sizes |= {"ffn_gate": (48, 32), "ffn_up": (48, 32), "ffn_down": (32, 48)}
    sizes = {f"blk.0.{name}.weight": size for name, size in sizes.items()}
    sizes |= {f"blk.0.{name}.weight": (32,) for name in ("attn_norm", "ffn_norm")}
    vocabulary = (len(tokens), 32)
    sizes |= {"token_embd.weight": vocabulary, "output.weight": vocabulary}
    sizes |= {"output_norm.weight": (32,)}
    random = np.random.default_rng(0)
    for name, size in sizes.items():
        writer.add_tensor(name, random.normal(size=size).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def save_captioner(folder: Path) -> None:
    folder.mkdir()
    shared = runpy.run_path(str(Path(__file__).parents[1] / "models" / "conftest.py"))
    shared["smolvlm"](folder)


MAKERS: dict[str, tuple[str, str, Callable[[Path], None]]] = {
    "llama": ("llm", "transformers", save_llama),
    "shards": ("llm", "transformers", save_shards),
    "gguf": ("llm", "transformers", save_gguf),
    "sentences": ("text_embedder", "sentence-transformers", save_sentences),
    "clip": ("image_embedder", "open_clip", save_clip),
    "captioner": ("captioner", "transformers", save_captioner),
}


def make_seeds(root: Path) -> None:
    """Write a valid folder of each kind below `root`, unless it is there."""
    import torch

    if root.exists():
        return
    root.mkdir(parents=True)
    torch.manual_seed(0)
    for name, (_, _, make) in MAKERS.items():
        make(root / name)


def seeds_in(root: Path) -> list[Seed]:
    return [Seed(role, backend, root / name) for name, (role, backend, _) in MAKERS.items()]
