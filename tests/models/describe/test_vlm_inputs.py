"""In which form frames reach the model: the real processors' prompts and pixels, by family."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import ConfigError
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.vlm import TransformersCaptioner, VlmOptions
from fdvs.models.describe.vlm_inputs import spread
from fdvs.models.describe.vlm_prompts import Call
from fdvs.types import Clip, ClipView, Frame

COLOURS = [(250, 10, 10), (10, 250, 10), (10, 10, 250), (240, 240, 240), (5, 5, 5)]
START_S, END_S = 60.0, 90.0
TIMES_S = (61.0, 64.5, 85.25)


def loaded(folder: Path, **options: Any) -> TransformersCaptioner:
    card = Card(
        name="tiny", role="captioner", backend="transformers", target=str(folder),
        options={"max_new_tokens": 8, **options},
    )  # fmt: skip
    return TransformersCaptioner.load(card, LoadSettings(device="cpu", dtype="float32"))


def call(num_frames: int = 3) -> Call:
    """Frames of one colour each, at TIMES_S of a clip of thirty seconds."""
    frames = tuple(
        Frame(time_s=time_s, image=np.full((48, 64, 3), colour, np.uint8))
        for time_s, colour in zip(TIMES_S[:num_frames], COLOURS, strict=False)
    )
    return Call(clip_position=0, frames=frames, start_s=START_S, end_s=END_S)


def written(captioner: TransformersCaptioner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect what the processor puts in the place of a video."""
    found: list[str] = []
    replace = captioner.processor.replace_video_token

    def watched(*arguments: Any, **named: Any) -> Any:
        found.append(replace(*arguments, **named))
        return found[-1]

    monkeypatch.setattr(captioner.processor, "replace_video_token", watched)
    return found


def test_smolvlm_sees_a_series_of_frames_with_the_time_of_each(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form is the makers': an introduction with number and length, mm:ss before each frame."""
    captioner = loaded(checkpoint("smolvlm"))
    found = written(captioner, monkeypatch)
    inputs = captioner.inputs_of([call()], ["What?"])
    assert "series of three frames from a 0:00:30 [H:MM:SS] video" in found[0]
    assert [found[0].count(f"Frame from 00:{s:02d}:") for s in (1, 4, 25)] == [1, 1, 1]
    assert inputs["pixel_values"].shape[1] == 3
    means = inputs["pixel_values"][0].mean(dim=(2, 3))  # of pixels scaled to [-1, 1]
    expected = np.array(COLOURS[:3]) / 127.5 - 1
    np.testing.assert_allclose(means.numpy(), expected, atol=0.02)


def test_qwen3_vl_sees_seconds_before_each_frame_and_none_is_blended(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint("qwen3_vl"))
    found = written(captioner, monkeypatch)
    inputs = captioner.inputs_of([call()], ["What?"])
    assert [found[0].count(f"<{s} seconds>") for s in ("1.0", "4.5", "25.2")] == [1, 1, 1]
    (grid,) = inputs["video_grid_thw"]
    assert int(grid[0]) == 3
    vision = captioner.model.config.vision_config
    shape = (3, -1, 3, vision.temporal_patch_size, vision.patch_size**2)
    means = inputs["pixel_values_videos"].reshape(shape).mean(dim=(1, 4))
    images = captioner.processor.video_processor
    expected = (np.array(COLOURS[:3]) / 255 - images.image_mean) / images.image_std
    for at in range(vision.temporal_patch_size):
        np.testing.assert_allclose(means[:, :, at].numpy(), expected, atol=0.02)


def test_families_without_times_get_number_and_time_before_each_picture(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint("qwen2_vl"))
    asked: list[Any] = []
    template = captioner.processor.apply_chat_template

    def watched(turns: Any, **named: Any) -> Any:
        asked.append(turns[0]["content"])
        return template(turns, **named)

    monkeypatch.setattr(captioner.processor, "apply_chat_template", watched)
    inputs = captioner.inputs_of([call()], ["What?"])
    labels = ["Picture 1, 1:01:", "Picture 2, 1:04:", "Picture 3, 1:25:"]
    assert [part.get("text", "<image>") for part in asked[0]] == [
        labels[0], "<image>", labels[1], "<image>", labels[2], "<image>", "What?",
    ]  # fmt: skip
    assert len(inputs["image_grid_thw"]) == 3
    captioner.inputs_of([call(1)], ["What?"])
    assert asked[1] == [{"type": "image"}, {"type": "text", "text": "What?"}]


@pytest.mark.parametrize("family", ["smolvlm", "qwen3_vl"])
def test_one_frame_is_a_picture_and_pictures_can_be_asked_for(
    checkpoint: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint(family))
    found = written(captioner, monkeypatch)
    captioner.inputs_of([call(1)], ["What?"])
    as_pictures = loaded(checkpoint(family), frames_as="pictures")
    found += written(as_pictures, monkeypatch)
    as_pictures.inputs_of([call()], ["What?"])
    assert found == []


def test_a_video_that_a_family_or_a_template_does_not_know_is_refused_or_left(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"frames_as is 'video'.*pictures.*no form for videos"):
        loaded(checkpoint("qwen2_vl"), frames_as="video")
    folder = tmp_path / "no-videos"
    shutil.copytree(checkpoint("qwen3_vl"), folder)
    jinja = folder / "chat_template.jinja"
    jinja.write_text(jinja.read_text().replace("<|video_pad|>", ""))
    for path in (folder / "processor_config.json", folder / "tokenizer_config.json"):
        if path.exists():
            settings = json.loads(path.read_text())
            settings.pop("chat_template", None)
            path.write_text(json.dumps(settings))
    assert not loaded(folder).inputs.shows_videos
    with pytest.raises(ConfigError, match="its chat template shows no video"):
        loaded(folder, frames_as="video")


def test_thinking_is_off_where_a_template_has_it(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint("qwen2_vl"))
    processor = captioner.processor
    is_off = "enable_thinking is defined and enable_thinking is false"
    thinks = "{% if " + is_off + " %}no{% else %}yes{% endif %}"
    monkeypatch.setattr(processor, "chat_template", processor.chat_template + thinks)
    again = TransformersCaptioner(
        processor, captioner.model, captioner.identity, VlmOptions(max_new_tokens=8)
    )
    asked: list[str] = []
    template = processor.apply_chat_template

    def watched(*turns: Any, **named: Any) -> Any:
        asked.append(template(*turns, **named))
        return asked[-1]

    monkeypatch.setattr(processor, "apply_chat_template", watched)
    again.inputs.tensors([call()], ["What?"])
    assert asked[-1].endswith("no")


def test_no_more_than_the_most_frames_are_shown_evenly_spread(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint("smolvlm"), max_frames=3)
    found = written(captioner, monkeypatch)
    frames = tuple(
        Frame(time_s=START_S + second, image=np.full((48, 64, 3), 9 * second, np.uint8))
        for second in range(21)
    )
    clip = Clip(video_id="v", index=0, start_s=START_S, end_s=END_S)
    captioner.describe([ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)])
    assert all(f"Frame from 00:{second:02d}:" in found[-1] for second in (0, 10, 20))
    assert found[-1].count("Frame from") == 3


@pytest.mark.parametrize("most", range(1, 9))
@pytest.mark.parametrize("num_frames", [1, 2, 7, 8, 30])
def test_spreading_keeps_the_ends_and_even_steps(num_frames: int, most: int) -> None:
    kept = spread(list(range(num_frames)), most)
    assert len(kept) == min(num_frames, most)
    if num_frames <= most:
        assert kept == list(range(num_frames))
    elif most > 1:
        assert (kept[0], kept[-1]) == (0, num_frames - 1)
        steps = [b - a for a, b in itertools.pairwise(kept)]
        assert max(steps) - min(steps) <= 1


def test_a_card_may_have_its_own_question(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = loaded(checkpoint("smolvlm"), prompt="Which colours?")
    asked: list[str] = []
    tensors = captioner.inputs.tensors

    def watched(calls: Any, prompts: Any) -> Any:
        asked.extend(prompts)
        return tensors(calls, prompts)

    monkeypatch.setattr(captioner.inputs, "tensors", watched)
    clip = Clip(video_id="v", index=0, start_s=START_S, end_s=END_S)
    captioner.describe([ClipView(video_path=Path("v.mp4"), clip=clip, frames=call().frames)])
    assert set(asked) == {"Which colours?"}
