"""Append to a tensor along its tokens without copying what is there.

A `Room` is a buffer with spare places at its end. What is handed out are views of its first places;
new tokens go behind them, in place, only if nothing was written there yet: whoever holds an older
view (a fork, a crop) and appends to it gets a buffer of its own, and no view ever changes.

Shapes: B rows, K key heads, R tokens so far, Q new tokens, D head dim.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Below so many tokens a copy costs next to nothing, and spare places would be a large share.
FEWEST = 128
#: Spare places of a new buffer: one for so many tokens in it.
SPARE_SHARE = 8


@dataclass(slots=True, eq=False)
class Room:
    """Hold a buffer [B, K, places, D] and how many places were ever written."""

    buffer_BKPD: Tensor
    taken: int

    @property
    def spare_bytes(self) -> int:
        """Bytes of the places that hold nothing yet."""
        return self.buffer_BKPD[:, :, self.taken :].numel() * self.buffer_BKPD.element_size()


def appended(old_BKRD: Tensor, new_BKQD: Tensor, room: Room | None) -> tuple[Tensor, Room | None]:
    """Return [B, K, R + Q, D] and the room it lies in; `old_BKRD` keeps its values.

    Args:
        room: the one that the last append to `old_BKRD` returned, or None.

    Where there are few tokens, many come at once, or gradients are needed, the two are copied into
    a tensor of their own and no room is returned.
    """
    num_old, num_new = old_BKRD.shape[2], new_BKQD.shape[2]
    plain = num_old < FEWEST or num_new > num_old // SPARE_SHARE
    plain |= old_BKRD.requires_grad or new_BKQD.requires_grad or old_BKRD.dtype != new_BKQD.dtype
    if plain:
        return torch.cat((old_BKRD, new_BKQD), 2), None
    if room is None or not _ends_with(room, old_BKRD, num_new):
        room = _with_spare(old_BKRD, num_new)
    room.buffer_BKPD[:, :, num_old : num_old + num_new] = new_BKQD
    room.taken = num_old + num_new
    return room.buffer_BKPD[:, :, : room.taken], room


def _ends_with(room: Room, old_BKRD: Tensor, num_new: int) -> bool:
    """Whether the tensor is all that was written, and more can be: a view that nobody outgrew."""
    buffer = room.buffer_BKPD
    return (
        room.taken == old_BKRD.shape[2]
        and room.taken + num_new <= buffer.shape[2]
        and buffer.data_ptr() == old_BKRD.data_ptr()
        and buffer.shape[:2] == old_BKRD.shape[:2]
        and buffer.stride() == old_BKRD.stride()
        and (torch.is_inference_mode_enabled() or not buffer.is_inference())
    )


def _with_spare(old_BKRD: Tensor, num_new: int) -> Room:
    rows, heads, num_old, dim = old_BKRD.shape
    places = num_old + num_new + num_old // SPARE_SHARE
    buffer = old_BKRD.new_empty(rows, heads, places, dim)
    buffer[:, :, :num_old] = old_BKRD
    return Room(buffer_BKPD=buffer, taken=num_old)
