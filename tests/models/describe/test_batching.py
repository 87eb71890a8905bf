"""Batches bounded by tokens: how many rows, what a token costs, and halving that is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fdvs.errors import ModelError
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.batching import TokenBound, bytes_per_token
from fdvs.models.describe.vlm import TransformersCaptioner
from fdvs.types import Clip, ClipView, Frame


class Memory:
    """Answers batches of up to so many questions; a larger one does not fit."""

    def __init__(self, most: int, error: Exception | None = None) -> None:
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")
        self.sizes: list[int] = []

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.sizes.append(len(batch))
        if len(batch) > self.most:
            raise ModelError("the model failed") from self.error
        return [item * 10 for item in batch]


def test_rows_are_bounded_by_tokens_and_by_number() -> None:
    bound, memory = TokenBound(1000, name="it"), Memory(100)
    done = bound.in_batches(range(10), memory, tokens_per_row=300, most=16)
    assert done == [item * 10 for item in range(10)]
    assert memory.sizes == [3, 3, 3, 1]
    assert bound.num_rows(300, most=2) == 2
    assert bound.num_rows(5000, most=16) == 1


def test_a_batch_that_does_not_fit_is_halved_and_the_half_is_remembered() -> None:
    bound, memory = TokenBound(16 * 100, name="it"), Memory(5)
    done = bound.in_batches(range(20), memory, tokens_per_row=100, most=16)
    assert done == [item * 10 for item in range(20)]
    assert memory.sizes == [16, 8, 4, 4, 4, 4, 4]
    memory.sizes.clear()
    bound.in_batches(range(8), memory, tokens_per_row=100, most=16)
    assert memory.sizes == [4, 4]
    bound.in_batches(range(8), memory, tokens_per_row=200, most=16)  # longer questions
    assert memory.sizes[2:] == [2, 2, 2, 2]


def test_what_does_not_fit_alone_or_fails_otherwise_is_raised() -> None:
    with pytest.raises(ModelError):
        TokenBound(1000, name="it").in_batches([1, 2], Memory(0), tokens_per_row=100, most=4)
    wrong = Memory(1, ValueError("shapes differ"))
    with pytest.raises(ModelError):
        TokenBound(1000, name="it").in_batches([1, 2], wrong, tokens_per_row=100, most=4)
    assert wrong.sizes == [2]


def test_a_token_costs_the_keys_and_values_that_a_cache_really_holds(llama_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(llama_folder, dtype=torch.float32)
    cache = model(input_ids=torch.ones(1, 7, dtype=torch.long), use_cache=True).past_key_values
    held = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    config = model.config
    widest = (3 * config.intermediate_size + 8 * config.hidden_size) * 4
    assert bytes_per_token(config, 4) == held / 7 + widest


def captioner_of(folder: Path, device: str = "cpu", **options: Any) -> TransformersCaptioner:
    card = Card(
        name="tiny", role="captioner", backend="transformers", target=str(folder),
        options={"max_new_tokens": 8, **options},
    )  # fmt: skip
    return TransformersCaptioner.load(card, LoadSettings(device=device, dtype="float32"))


def views(num_clips: int) -> list[ClipView]:
    noise = np.random.default_rng(0)
    made = []
    for index in range(num_clips):
        frames = tuple(
            Frame(time_s=10.0 * index + t, image=noise.integers(0, 255, (48, 64, 3), np.uint8))
            for t in range(1 + index % 2)
        )
        clip = Clip(video_id="v", index=index, start_s=10.0 * index, end_s=10.0 * index + 10)
        made.append(ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames))
    return made


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_vl", "qwen3_vl"])
def test_captions_are_the_same_however_batches_are_cut(
    checkpoint: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halved batches, and the order of clips of different lengths, change no caption."""
    whole = captioner_of(checkpoint(family), batch_size=8)
    expected = whole.describe(views(8))
    tight = captioner_of(checkpoint(family), batch_size=8)
    generate, sizes = tight.model.generate, []

    def full(**inputs: Any) -> Any:
        sizes.append(len(inputs["input_ids"]))
        if len(inputs["input_ids"]) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return generate(**inputs)

    monkeypatch.setattr(tight.model, "generate", full)
    assert tight.describe(views(8)) == expected
    assert max(sizes) > 2
    num_failed = sum(size > 2 for size in sizes)
    tight.describe(views(8))
    assert sum(size > 2 for size in sizes) == num_failed  # remembered


@pytest.mark.needs_cuda
def test_on_a_gpu_captions_are_those_of_the_cpu_and_memory_is_asked_for(
    checkpoint: Callable[[str], Path], cuda: str
) -> None:
    on_cpu = captioner_of(checkpoint("qwen3_vl"))
    on_gpu = captioner_of(checkpoint("qwen3_vl"), cuda)
    assert on_gpu.bound.max_tokens > on_cpu.bound.max_tokens
    assert on_gpu.describe(views(4)) == on_cpu.describe(views(4))


@pytest.mark.needs_cuda
def test_a_real_gpu_that_is_full_halves_the_batch(cuda: str) -> None:
    num_free, _ = torch.cuda.mem_get_info()
    sizes: list[int] = []

    def ask(batch: Sequence[int]) -> list[int]:
        sizes.append(len(batch))
        held = [torch.empty(int(num_free * 0.4), dtype=torch.uint8, device=cuda) for _ in batch]
        return [len(held) for _ in batch]

    TokenBound(400, name="it").in_batches(range(4), ask, tokens_per_row=100, most=4)
    assert sizes == [4, 2, 2]
