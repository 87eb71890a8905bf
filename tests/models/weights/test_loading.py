"""Packages, devices and number types: what is chosen and what is said."""

from __future__ import annotations

import pytest
import torch
from transformers.utils import logging as chatter

from fdvs.errors import InvalidValue, ModelUnavailable
from fdvs.models.weights.loading import choose_device, choose_dtype, needs, without_progress_bars


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
    with pytest.raises(ModelUnavailable, match=r"'no_such_package'.*pip install -e '\.\[laptop\]'"):
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
