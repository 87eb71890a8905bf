"""Patch embeddings of 3-D convolutions (Qwen-VL) computed as the matrix product that they are.

The kernel is as large as each input and moves nowhere. The convolution takes thrice the time of the
product on a CPU and up to seconds a call on some GPUs (huggingface/transformers 45750, 45041).
transformers has `fusion_config` for this, which also replaces classes of other models whose names
contain that of the replaced one, for the rest of the process.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

WHOLE = {"padding": (0, 0, 0), "dilation": (1, 1, 1), "groups": 1}


class PatchProduct(torch.nn.Conv3d):
    """A Conv3d that multiplies where its input is one kernel in size; weights stay as they are."""

    def forward(self, input: Tensor) -> Tensor:
        """Return [N, D, 1, 1, 1] of input [N, C, T, H, W], or what a Conv3d gives."""
        if tuple(input.shape[2:]) != tuple(self.kernel_size):
            return super().forward(input)
        rows_ND = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return rows_ND[:, :, None, None, None]


def multiply_patches(model: Any) -> int:
    """Let a model's plain 3-D convolutions multiply where they can; return how many there are."""
    num_found = 0
    for module in model.modules():
        if type(module) is torch.nn.Conv3d and all(
            getattr(module, name) == value for name, value in WHOLE.items()
        ):
            module.__class__ = PatchProduct
            num_found += 1
    return num_found
