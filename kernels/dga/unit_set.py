"""The data of `stream` mode: committed units, the state between calls, inputs of an attention step.

Shapes: B rows, H query heads, K key heads, Q queries, R raw tokens, J kept queries, D head dim,
E value dim, N units.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from fdvs.kernels.dga.append_buffer import AppendBuffer
from fdvs.kernels.dga.config import DGAConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Units:
    """Committed units: keys [B, K, N, D], values [B, K, N, E], bias float32 [B, K, N]."""

    keys_BKND: Tensor
    values_BKNE: Tensor
    bias_BKN: Tensor

    @property
    def num_units(self) -> int:
        """Units of a row and key head."""
        return self.keys_BKND.shape[2]

    @staticmethod
    def concatenate(parts: list[Units]) -> Units:
        """Return the units of all parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        return Units(
            keys_BKND=torch.cat([part.keys_BKND for part in parts], 2),
            values_BKNE=torch.cat([part.values_BKNE for part in parts], 2),
            bias_BKN=torch.cat([part.bias_BKN for part in parts], 2),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """What later queries need of the tokens seen so far: units, raw tail, queries.

    Attributes:
        num_seen: tokens of each row so far.
        num_built: chunks whose units exist.
        units: their units, oldest first, or None.
        raw_start: position of the first raw token still kept.
        k_BKRD, v_BKRE: raw keys and values from there on.
        q_start: position of the first query still kept.
        q_BHJD: queries that later commits need, from there on.
        k_buffer, v_buffer: the buffers that hold the raw keys and values, if they can grow.
    """

    num_seen: int
    num_built: int
    units: Units | None
    raw_start: int
    k_BKRD: Tensor
    v_BKRE: Tensor
    q_start: int
    q_BHJD: Tensor
    k_buffer: AppendBuffer | None = None
    v_buffer: AppendBuffer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttendInputs:
    """The inputs of one attention step: queries of consecutive positions, and what they may see.

    Attributes:
        q_BHQD: queries of the positions from `q_start` on.
        units: committed units, oldest first, or None.
        k_BKRD, v_BKRE: raw keys and values from position `raw_start` up to the last query.
        scale: factor of the logits.
        return_lse: whether the log-sum-exp is wanted.

    Raises:
        AssertionError: the first query should see raw tokens that are evicted.
    """

    q_BHQD: Tensor
    units: Units | None
    k_BKRD: Tensor
    v_BKRE: Tensor
    q_start: int
    raw_start: int
    config: DGAConfig
    scale: float
    return_lse: bool = False

    def __post_init__(self) -> None:
        first_raw = self.config.chunks_visible(self.q_start) * self.config.chunk
        if self.raw_start > first_raw:
            raise AssertionError(
                f"the query at {self.q_start} sees raw tokens from {first_raw} on, and those "
                f"before {self.raw_start} are evicted"
            )

    @property
    def visible_chunks(self) -> int:
        """Chunks that the last query sees as units; 0 where there are no units."""
        if self.units is None:
            return 0
        return self.config.chunks_visible(self.q_start + self.q_BHQD.shape[2] - 1)

    def unit_tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return keys, values and bias of the units.

        Where no query sees a unit, a raw token takes their place: a kernel does not read it, but
        needs addresses and strides.
        """
        if self.units is None or not self.visible_chunks:
            return self.k_BKRD[:, :, :1], self.v_BKRE[:, :, :1], self.k_BKRD[:, :, :1, 0]
        return self.units.keys_BKND, self.units.values_BKNE, self.units.bias_BKN


#: Output [B, H, Q, E] in the dtype of v, and log-sum-exp [B, H, Q] or None.
Attended = tuple[Tensor, Tensor | None]
#: What a backend implements.
Attend = Callable[[AttendInputs], Attended]
