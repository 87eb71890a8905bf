"""Patch embeddings as matrix products: equal to the convolution, which then no longer runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fdvs.models.describe.patches import PatchProduct, multiply_patches


def conv(**changes: Any) -> torch.nn.Conv3d:
    torch.manual_seed(0)
    settings: dict[str, Any] = {"kernel_size": (2, 4, 4), "stride": (2, 4, 4)}
    return torch.nn.Conv3d(3, 5, **settings | changes)


@pytest.mark.parametrize("bias", [True, False])
def test_the_product_is_the_convolution(bias: bool) -> None:
    layer = conv(bias=bias)
    patches_NCTHW = torch.randn(7, 3, 2, 4, 4)
    expected = layer(patches_NCTHW)
    assert multiply_patches(torch.nn.Sequential(layer)) == 1
    torch.testing.assert_close(layer(patches_NCTHW), expected)


def test_an_input_of_several_kernels_is_still_convolved() -> None:
    layer, wide = conv(), torch.randn(1, 3, 4, 8, 8)
    expected = layer(wide)
    multiply_patches(layer)
    assert expected.shape == (1, 5, 2, 2, 2)
    torch.testing.assert_close(layer(wide), expected)


@pytest.mark.parametrize("changes", [{"padding": 1}, {"dilation": 2}])
def test_other_convolutions_stay(changes: dict[str, Any]) -> None:
    assert multiply_patches(conv(**changes)) == 0


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen3_vl"])
def test_a_captioner_of_the_qwen_families_never_convolves(
    checkpoint: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fdvs.models.cards import Card, LoadSettings
    from fdvs.models.describe.vlm import TransformersCaptioner

    folder = str(checkpoint(family))
    card = Card(name="tiny", role="captioner", backend="transformers", target=folder)
    model = TransformersCaptioner.load(card, LoadSettings(device="cpu")).model
    (layer,) = [one for one in model.modules() if isinstance(one, torch.nn.Conv3d)]
    assert isinstance(layer, PatchProduct)
    monkeypatch.setattr(torch.nn.Conv3d, "forward", lambda *_: pytest.fail("convolved"))
    vision = model.config.vision_config
    pixels = torch.randn(16, 3 * vision.temporal_patch_size * vision.patch_size**2)
    model.model.visual.patch_embed(pixels)
