"""Packages, devices and number types: what is chosen and what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.utils import logging as chatter

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card
from fdvs.models.weights.loading import (
    choose_device,
    choose_dtype,
    is_out_of_memory,
    load_part,
    load_weights,
    needs,
    without_progress_bars,
)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine that says it has a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    return monkeypatch


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    return monkeypatch


def test_a_missing_package_names_the_extra_that_brings_it() -> None:
    with pytest.raises(ModelUnavailable, match=r"'no_such_package'.*scripts/install --with laptop"):
        needs("no_such_package", "laptop")
    assert needs("json", "laptop").loads("1") == 1


def test_auto_takes_the_gpu_where_there_is_one(gpu: pytest.MonkeyPatch) -> None:
    assert choose_device("auto") == ("cuda", "found Some GPU")
    assert choose_device("cuda:1") == ("cuda:1", "asked for")
    assert choose_dtype("auto", "cuda:1") == (torch.bfloat16, "the GPU computes in bfloat16")
    gpu.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert choose_dtype("auto", "cuda")[0] is torch.float16


def test_auto_takes_the_cpu_in_full_precision_where_there_is_none(
    no_gpu: pytest.MonkeyPatch,
) -> None:
    assert choose_device("auto") == ("cpu", "no GPU found")
    assert choose_dtype("auto", "cpu")[0] is torch.float32
    no_gpu.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto")[0] == "mps"


def test_an_apple_gpu_takes_half_the_memory_but_for_embedders() -> None:
    assert choose_dtype("auto", "mps")[0] is torch.float16
    assert choose_dtype("auto", "mps", exact=True)[0] is torch.float32
    assert choose_dtype("auto", "cpu")[0] is torch.float32


class Fails:
    """An Auto class whose loading fails as packages do."""

    error: Exception

    @classmethod
    def from_pretrained(cls, folder: str, **settings: Any) -> Any:
        raise cls.error


def test_a_package_that_only_a_checkpoint_asks_for_is_to_be_installed_not_fetched(
    llama_folder: Path,
) -> None:
    Fails.error = ImportError("Package `num2words` is required to run SmolVLM processor.")
    card = Card(name="vlm", role="captioner", backend="transformers", target=str(llama_folder))
    with pytest.raises(ModelUnavailable, match=r"num2words.*scripts/install --with laptop") as e:
        load_part(Fails, card)
    assert "fetch" not in str(e.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_weights_that_do_not_fit_are_told_as_that(llama_folder: Path, error: Exception) -> None:
    Fails.error = error
    card = Card(name="big", role="llm", backend="transformers", target=str(llama_folder))
    with pytest.raises(ModelError, match="big does not fit into the memory") as found:
        load_weights(Fails, card, device="cpu", dtype=torch.float32)
    assert "fetch" not in str(found.value)
    assert not is_out_of_memory(RuntimeError("shapes do not fit"))


def test_weights_go_straight_to_their_device(llama_folder: Path) -> None:
    from transformers import AutoModelForCausalLM

    card = Card(name="tiny", role="llm", backend="transformers", target=str(llama_folder))
    asked: dict[str, Any] = {}

    class Watched:
        @classmethod
        def from_pretrained(cls, folder: str, **settings: Any) -> Any:
            asked.update(settings)
            return AutoModelForCausalLM.from_pretrained(folder, **settings)

    model = load_weights(Watched, card, device="cpu", dtype=torch.bfloat16)
    assert asked["device_map"] == {"": "cpu"}
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert not model.training
    assert not any(hasattr(module, "_hf_hook") for module in model.modules())


@pytest.mark.needs_cuda
def test_weights_on_a_gpu_load_and_run(llama_folder: Path, cuda: str) -> None:
    from transformers import AutoModelForCausalLM

    card = Card(name="tiny", role="llm", backend="transformers", target=str(llama_folder))
    model = load_weights(AutoModelForCausalLM, card, device=cuda, dtype=torch.float16)
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    ids = torch.tensor([[1, 2, 3]], device=cuda)
    assert model(input_ids=ids).logits.isfinite().all()


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "tpu", ""])
def test_a_device_that_is_not_here_is_an_error_with_those_that_are(
    wanted: str, no_gpu: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidValue, match="allowed: auto, cpu on this machine"):
        choose_device(wanted)


def test_a_number_type_is_taken_as_asked_or_refused() -> None:
    assert choose_dtype("float16", "cpu") == (torch.float16, "asked for")
    with pytest.raises(InvalidValue, match="auto, float32, bfloat16, float16"):
        choose_dtype("int8", "cpu")


@pytest.mark.parametrize("was_on", [True, False])
def test_progress_bars_are_off_inside_and_as_before_after(was_on: bool) -> None:
    before = chatter.is_progress_bar_enabled()
    try:
        (chatter.enable_progress_bar if was_on else chatter.disable_progress_bar)()
        with without_progress_bars():
            assert not chatter.is_progress_bar_enabled()
        assert chatter.is_progress_bar_enabled() == was_on
    finally:
        (chatter.enable_progress_bar if before else chatter.disable_progress_bar)()
