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
from fdvs.models.describe.vlm import TransformersCaptioner, VlmOptions
from fdvs.models.describe.vlm_prompts import calls_for, question
from fdvs.models.factory import load_model
from fdvs.types import Clip, ClipView, Frame

CPU = LoadSettings(device="cpu", dtype="float32")
FAMILIES = ("smolvlm", "qwen2_vl", "qwen3_vl", "blip2_opt", "blip2_t5")
CHAT = ("smolvlm", "qwen2_vl", "qwen3_vl")


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


@pytest.mark.parametrize("family", FAMILIES)
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


@pytest.mark.parametrize("family", FAMILIES)
def test_half_size_numbers_describe_too(checkpoint: Callable[[str], Path], family: str) -> None:
    settings = LoadSettings(device="cpu", dtype="bfloat16")
    captioner = TransformersCaptioner.load(card(checkpoint(family)), settings)
    assert str(captioner.model.dtype) == "torch.bfloat16"
    (found,) = texts(captioner, [view(1, num_frames=2)])
    assert len(found) == (1 if captioner.is_chat else 2)


@pytest.mark.parametrize("family", CHAT)
def test_a_chat_model_sees_all_kept_frames_in_one_question_by_default(
    checkpoint: Callable[[str], Path], family: str
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint(family)), CPU)
    (found,) = captioner.describe([view(1, num_frames=3, index=2)])
    assert [(o.source, o.start_s, o.end_s) for o in found] == [("caption", 20.0, 30.0)]


@pytest.mark.parametrize("family", FAMILIES)
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
        inputs = captioner.inputs_of(calls, [question(1)])
        return int(inputs["input_ids"].shape[1])

    assert num_tokens(split_images=True) > num_tokens() + 8


def test_pictures_are_not_blown_up_for_tiles_that_nobody_asked_for(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("smolvlm")), CPU)
    images = captioner.processor.image_processor
    seen: list[int] = []
    resize = images.resize

    def watched(image: Any, size: Any, *more: Any, **options: Any) -> Any:
        made = resize(image, size, *more, **options)
        seen.append(max(made.shape[-2:]))
        return made

    monkeypatch.setattr(images, "resize", watched)
    captioner.inputs_of(calls_for([view(1, num_frames=1)], frames_per_call=0), [question(1)])
    assert max(seen) == images.max_image_size["longest_edge"] < images.size["longest_edge"]


@pytest.mark.parametrize(("text_model", "number"), [("t5", "float32"), ("opt", "float16")])
def test_t5_is_kept_from_float16(
    checkpoint: Callable[[str], Path], text_model: str, number: str
) -> None:
    settings = LoadSettings(device="cpu", dtype="float16")
    captioner = TransformersCaptioner.load(card(checkpoint(f"blip2_{text_model}")), settings)
    layer = captioner.model.vision_model.post_layernorm
    assert str(layer.weight.dtype) == f"torch.{number}"
    assert texts(captioner, [view(1, num_frames=1)])[0]


def test_no_more_questions_than_the_batch_size_go_into_the_model_at_once(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt"), batch_size=2), CPU)
    sizes: list[int] = []
    generate = captioner.model.generate

    def counted(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        return generate(**inputs)

    monkeypatch.setattr(captioner.model, "generate", counted)
    captioner.describe([view(1, num_frames=2), view(2, num_frames=3)])
    assert sizes == [2, 2, 1]
    assert captioner.batch_size == 2


def test_a_clip_without_frames_gets_no_words_and_costs_nothing(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)
    monkeypatch.setattr(captioner.model, "generate", lambda **_: pytest.fail("asked"))
    assert captioner.describe([view(1, num_frames=0)]) == [[]]


def test_the_spec_with_a_folder_loads_through_the_factory(
    checkpoint: Callable[[str], Path],
) -> None:
    captioner = load_model(f"transformers:{checkpoint('blip2_opt')}", "captioner", CPU)
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

    monkeypatch.setattr(captioner.model, "generate", fail)
    with pytest.raises(ModelError, match=r"out of memory\. Tried.*smaller batch_size"):
        captioner.describe([view(1, num_frames=1)])


def test_a_reply_of_special_tokens_only_is_bad_output(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    captioner = TransformersCaptioner.load(card(checkpoint("blip2_opt")), CPU)
    monkeypatch.setattr(captioner.model, "generate", lambda **_: torch.tensor([[1, 2, 0]]))
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.describe([view(1, num_frames=1)])


def test_one_bad_reply_costs_no_other_clip_a_second_run(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = TransformersCaptioner.load(card(checkpoint("smolvlm"), batch_size=4), CPU)
    views = [view(seed, num_frames=2, index=seed) for seed in range(3)]
    expected = [captioner.describe([one])[0] for one in views]
    decode = captioner.processor.tokenizer.batch_decode

    def one_empty(rows: Any, **options: Any) -> list[str]:
        found = decode(rows, **options)
        return [found[0], "", found[2]]

    monkeypatch.setattr(captioner.processor.tokenizer, "batch_decode", one_empty)
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.describe(views)
    monkeypatch.setattr(captioner.model, "generate", lambda **_: pytest.fail("asked again"))
    assert captioner.describe(views[:1]) == expected[:1]
    assert captioner.describe(views[2:]) == expected[2:]
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.describe(views[1:2])


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
    processor = captioner.processor
    processor.tokenizer.pad_token = None
    again = TransformersCaptioner(processor, captioner.model, captioner.identity, VlmOptions())
    assert again.processor.tokenizer.pad_token == "</s>"
    assert again.processor.tokenizer.padding_side == "left"


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
