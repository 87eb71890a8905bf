"""Captioners of four families: tiny random checkpoints on disk, through the real loading path.

The weights are random, so words mean nothing; what is checked is that pictures reach the model,
that batches give what single questions give, and that replies come back clean and timed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import (
    BadModelOutput,
    ConfigError,
    InvalidValue,
    ModelError,
    ModelUnavailable,
    UnknownName,
)
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.factory import load_captioner
from fdvs.models.vlm import TransformersCaptioner, VlmOptions
from fdvs.models.vlm_prompts import PLAIN, calls_for, question
from fdvs.types import Clip, ClipView, Frame

WORDS = (
    "a the of and in on red green blue dark bright man woman dog cat car tree road house sky "
    "water walks runs sits stands holds drives opens small large left right near far two three"
)
VOCAB_SIZE = 128
CPU = LoadSettings(device="cpu", dtype="float32")


def save_tokenizer(folder: Path, specials: list[str], *, chat_template: str = "") -> Any:
    """Write a word tokenizer: specials first, then WORDS and the words of the prompts."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    asked = f"{question(1)} {question(2)} {PLAIN} user assistant".split()
    vocab = ["<pad>", "<s>", "</s>", "<unk>", *specials, *WORDS.split()]
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


def chat_template(image: str) -> str:
    return (
        "{% for m in messages %}<s> {{ m['role'] }} {% for c in m['content'] %}"
        "{% if c['type'] == 'image' %}" + image + " {% else %}{{ c['text'] }} {% endif %}"
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

    template = chat_template("<|vision_start|> <|image_pad|> <|vision_end|>")
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
CHAT = ("smolvlm", "qwen2_vl", "qwen3_vl")


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


def card(folder: Path, **options: Any) -> Card:
    options = {"max_new_tokens": 8, **options}
    return Card(
        name="tiny", role="captioner", backend="transformers", target=str(folder), options=options
    )


def view(seed: int, *, num_frames: int, index: int = 0) -> ClipView:
    noise = np.random.default_rng(seed)
    frames = tuple(
        Frame(
            time_s=10.0 * index + t,
            image=(noise.random((48, 64, 3)) * noise.integers(40, 255, 3)).astype(np.uint8),
        )
        for t in range(num_frames)
    )
    clip = Clip(video_id="v", index=index, start_s=10.0 * index, end_s=10.0 * index + 10)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


def texts(captioner: TransformersCaptioner, views: list[ClipView]) -> list[list[str]]:
    return [[o.text for o in found] for found in captioner.describe(views)]


@pytest.mark.parametrize("family", list(MAKERS))
def test_a_batch_says_what_single_clips_say_and_pictures_matter(
    checkpoint: Callable[[str], Path], family: str
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint(family), batch_size=3), CPU)
    views = [view(seed, num_frames=1 + seed % 3, index=seed) for seed in range(5)]
    together = texts(captioner, views)
    assert together == [texts(captioner, [one])[0] for one in views]
    assert len({tuple(found) for found in together}) >= 3
    for found in together:
        for text in found:
            assert not set("<>|") & set(text)
            assert question(1)[:20] not in text


@pytest.mark.parametrize("family", list(MAKERS))
def test_half_size_numbers_describe_too(checkpoint: Callable[[str], Path], family: str) -> None:
    settings = LoadSettings(device="cpu", dtype="bfloat16")
    captioner = TransformersCaptioner.load(card(checkpoint(family)), settings)
    assert str(captioner._model.dtype) == "torch.bfloat16"
    (found,) = texts(captioner, [view(1, num_frames=2)])
    assert len(found) == (1 if captioner.is_chat else 2)


@pytest.mark.parametrize("family", CHAT)
def test_a_chat_model_sees_all_kept_frames_in_one_question_by_default(
    checkpoint: Callable[[str], Path], family: str
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint(family)), CPU)
    (found,) = captioner.describe([view(1, num_frames=3, index=2)])
    assert [(o.source, o.start_s, o.end_s) for o in found] == [("caption", 20.0, 30.0)]


@pytest.mark.parametrize("family", list(MAKERS))
def test_one_question_a_frame_gives_one_timed_caption_a_frame(
    checkpoint: Callable[[str], Path], family: str
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint(family), frames_per_call=1), CPU)
    (found,) = captioner.describe([view(1, num_frames=3, index=2)])
    assert [(o.start_s, o.end_s) for o in found] == [(20, 21), (21, 22), (22, 30)]


def test_a_later_frame_changes_what_is_said(checkpoint: Callable[[str], Path]) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("qwen2_vl")), CPU)
    base, other = view(1, num_frames=2), view(7, num_frames=2)
    changed = ClipView(
        video_path=base.video_path, clip=base.clip, frames=(base.frames[0], other.frames[1])
    )
    first, second = texts(captioner, [base, changed])
    assert first != second


def test_a_model_without_chat_form_refuses_several_frames_a_question(
    checkpoint: Callable[[str], Path],
) -> None:
    with pytest.raises(ConfigError, match="no chat"):
        TransformersCaptioner.load(card(checkpoint("blip2_opt"), frames_per_call=0), CPU)


def test_tiles_are_made_only_on_request(checkpoint: Callable[[str], Path]) -> None:
    def num_tokens(**options: Any) -> int:
        captioner = TransformersCaptioner.load(card(checkpoint("smolvlm"), **options), CPU)
        calls = calls_for([view(1, num_frames=1)], frames_per_call=0)
        inputs = captioner._inputs(calls, [question(1)])
        return int(inputs["input_ids"].shape[1])

    assert num_tokens(split_images=True) > num_tokens() + 8


def test_no_more_questions_than_the_batch_size_go_into_the_model_at_once(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt"), batch_size=2), CPU)
    sizes: list[int] = []
    generate = captioner._model.generate

    def counted(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        return generate(**inputs)

    monkeypatch.setattr(captioner._model, "generate", counted)
    captioner.describe([view(1, num_frames=2), view(2, num_frames=3)])
    assert sizes == [2, 2, 1]
    assert captioner.batch_size == 2


def test_a_clip_without_frames_gets_no_words_and_costs_nothing(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)
    monkeypatch.setattr(captioner._model, "generate", lambda **_: pytest.fail("asked"))
    assert captioner.describe([view(1, num_frames=0)]) == [[]]


def test_the_spec_with_a_folder_loads_through_the_factory(
    checkpoint: Callable[[str], Path],
) -> None:
    captioner = load_captioner(f"transformers:{checkpoint('blip2_opt')}", CPU)
    assert captioner.source == "caption"
    assert captioner.needs_frames
    assert len(captioner.identity.weights_sha256) == 64
    assert captioner.batch_size == 4


def test_a_failing_model_is_a_model_error_with_the_reason(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)

    def fail(**inputs: Any) -> Any:
        raise RuntimeError("CUDA out of memory.\nTried to allocate")

    monkeypatch.setattr(captioner._model, "generate", fail)
    with pytest.raises(ModelError, match=r"out of memory\. Tried.*smaller batch_size"):
        captioner.describe([view(1, num_frames=1)])


def test_a_reply_of_special_tokens_only_is_bad_output(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)
    monkeypatch.setattr(captioner._model, "generate", lambda **_: torch.tensor([[1, 2, 0]]))
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.describe([view(1, num_frames=1)])


def test_a_checkpoint_without_words_cannot_caption(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTImageProcessor

    ViTImageProcessor().save_pretrained(tmp_path)
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises((ConfigError, ModelUnavailable), match="tiny"):
        TransformersCaptioner.load(card(tmp_path), CPU)


def test_a_tokenizer_without_padding_pads_with_its_end(
    checkpoint: Callable[[str], Path],
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)
    processor = captioner._processor
    processor.tokenizer.pad_token = None
    again = TransformersCaptioner(processor, captioner._model, captioner.identity, VlmOptions())
    assert again._processor.tokenizer.pad_token == "</s>"
    assert again._processor.tokenizer.padding_side == "left"


def test_a_folder_that_is_no_checkpoint_names_the_next_step(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded.*--preset offline"):
        TransformersCaptioner.load(card(tmp_path), CPU)


def test_a_hub_name_that_was_never_fetched_names_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDVS_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        TransformersCaptioner.load(card(Path("nobody/nothing")), CPU)


def test_a_checkpoint_with_code_of_its_own_is_refused(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    import json
    import shutil

    folder = tmp_path / "hostile"
    shutil.copytree(checkpoint("blip2_opt"), folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModelForImageTextToText": "evil.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()")
    with pytest.raises(ModelUnavailable):
        TransformersCaptioner.load(card(folder), CPU)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused(checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    import shutil

    import torch

    folder = tmp_path / "pickled"
    shutil.copytree(checkpoint("blip2_opt"), folder)
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        TransformersCaptioner.load(card(folder), CPU)


def test_loading_draws_nothing_on_the_terminal(
    checkpoint: Callable[[str], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    folder = checkpoint("blip2_opt")
    capfd.readouterr()
    TransformersCaptioner.load(card(folder), CPU)
    assert capfd.readouterr() == ("", "")


def test_unknown_options_are_refused(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(UnknownName, match="batch_size"):
        TransformersCaptioner.load(card(checkpoint("blip2_opt"), batchsize=2), CPU)
    with pytest.raises(InvalidValue, match="batch_size"):
        TransformersCaptioner.load(card(checkpoint("blip2_opt"), batch_size="many"), CPU)
    assert VlmOptions(batch_size=None).batch_size is None
