"""Append to a tensor along its tokens without copying what is there.

An `AppendBuffer` has spare slots at its end; what is handed out are views of its first slots. New
tokens are written in place behind a view only if nothing was written there yet: appending to an
older view (of a fork, or after a crop) copies it into a buffer of its own. No view ever changes.

Shapes: B rows, K key heads, R tokens so far, Q new tokens, P slots, D head dim.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Fewer tokens are copied: that costs next to nothing, and spare slots would be a large share.
FEWEST = 128
#: A new buffer reserves one spare slot for every 8 tokens.
SPARE_SHARE = 8


@dataclass(slots=True, eq=False)
class AppendBuffer:
    """A buffer [B, K, P, D] and the number of slots that were ever written."""

    slots_BKPD: Tensor
    num_written: int

    @property
    def spare_bytes(self) -> int:
        """Bytes of the slots that hold nothing yet."""
        return self.slots_BKPD[:, :, self.num_written :].numel() * self.slots_BKPD.element_size()


def appended(
    old_BKRD: Tensor, new_BKQD: Tensor, buffer: AppendBuffer | None
) -> tuple[Tensor, AppendBuffer | None]:
    """Return [B, K, R + Q, D] and the buffer it is a view of; `old_BKRD` keeps its values.

    Where there are few tokens, many come at once, or gradients are needed, the two are copied into
    a tensor of their own and no buffer is returned.

    Args:
        buffer: what the last append to `old_BKRD` returned.
    """
    num_old, num_new = old_BKRD.shape[2], new_BKQD.shape[2]
    plain = num_old < FEWEST or num_new > num_old // SPARE_SHARE
    plain |= old_BKRD.requires_grad or new_BKQD.requires_grad or old_BKRD.dtype != new_BKQD.dtype
    if plain:
        return torch.cat((old_BKRD, new_BKQD), 2), None
    if buffer is None or not _ends_with(buffer, old_BKRD, num_new):
        buffer = _with_spare(old_BKRD, num_new)
    buffer.slots_BKPD[:, :, num_old : num_old + num_new] = new_BKQD
    buffer.num_written = num_old + num_new
    return buffer.slots_BKPD[:, :, : buffer.num_written], buffer


def _ends_with(buffer: AppendBuffer, old_BKRD: Tensor, num_new: int) -> bool:
    """Whether the tensor is the newest view of the buffer, with room to append."""
    slots = buffer.slots_BKPD
    return (
        buffer.num_written == old_BKRD.shape[2]
        and buffer.num_written + num_new <= slots.shape[2]
        and slots.data_ptr() == old_BKRD.data_ptr()
        and slots.shape[:2] == old_BKRD.shape[:2]
        and slots.stride() == old_BKRD.stride()
        and (torch.is_inference_mode_enabled() or not slots.is_inference())
    )


def _with_spare(old_BKRD: Tensor, num_new: int) -> AppendBuffer:
    rows, heads, num_old, dim = old_BKRD.shape
    slots = old_BKRD.new_empty(rows, heads, num_old + num_new + num_old // SPARE_SHARE, dim)
    slots[:, :, :num_old] = old_BKRD
    return AppendBuffer(slots_BKPD=slots, num_written=num_old)
