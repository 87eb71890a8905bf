"""The `triton` backend: attention over units and raw tokens in one Triton kernel; no gradients.

Rows of a tile are (token, query head) pairs with the heads of one key head next to each other, so
a key is read once for all of them, and a decode step is a tile too. The raw band comes first: every
row sees itself, so the maximum is finite before the first unit. With few tiles (decode) the units
are split over programs, and the parts are joined by their log-sum-exp.

Runs on CUDA; with TRITON_INTERPRET=1 set before the first import it runs anywhere, slowly, which
is how it is tested without a GPU.

Shapes: B rows, H query heads, K key heads, G = H / K, Q queries, R raw tokens, D head dim,
E value dim, N units, S splits.
"""

from __future__ import annotations

import os

import torch
from torch import Tensor

from fdvs.kernels.dga.unit_set import Attended, AttendInputs

LOG2E = 1.4426950408889634
#: With fewer programs than this the units of a tile are split over several.
WANTED_PROGRAMS = 128
#: Units of one split, at least.
SPLIT_UNITS = 256


def triton_hindrance(device: torch.device) -> str | None:
    """Return why the kernel cannot run on a device, or None."""
    try:
        import triton  # noqa: F401
    except ImportError:
        return "triton is not installed"
    if device.type == "cuda" or interpreted():
        return None
    return f"the Triton backend is for CUDA and the tensors are on {device.type}"


def interpreted() -> bool:
    """Return whether Triton runs its kernels in Python."""
    return os.environ.get("TRITON_INTERPRET") == "1"


def attend_triton(inputs: AttendInputs) -> Attended:
    """Attend in Triton: softmax and sums in float32, products in the dtype of the tensors."""
    import triton

    from fdvs.kernels.dga.triton_kernel import attend_rows

    config, visible = inputs.config, inputs.visible_chunks
    q, k, v = (x.detach() for x in (inputs.q_BHQD, inputs.k_BKRD, inputs.v_BKRE))
    unit_k, unit_v, bias = (x.detach() for x in inputs.unit_tensors())
    rows, heads, num_queries, dim = q.shape
    key_heads, value_dim = k.shape[1], v.shape[3]
    lanes = num_queries * (heads // key_heads)
    block = block_sizes(lanes, dim, value_dim, q.dtype)
    tiles = triton.cdiv(lanes, block["ROWS"])
    num_splits = splits(rows * key_heads * tiles, visible * config.units_per_chunk)
    out = q.new_empty(num_splits, rows, heads, num_queries, value_dim, dtype=torch.float32)
    lse = q.new_empty(num_splits, rows, heads, num_queries, dtype=torch.float32)
    attend_rows[(tiles, rows * key_heads, num_splits)](
        q, unit_k, unit_v, bias, k, v, out, lse,
        *(n for x in (q, unit_k, unit_v, k, v) for n in x.stride()), *bias.stride(),
        *out.stride()[:4], *lse.stride()[:3],
        num_queries, heads // key_heads, key_heads, inputs.q_start, inputs.raw_start,
        config.chunk, config.window, config.units_per_chunk if visible else 0,
        config.dense_threshold, inputs.scale * LOG2E, dim, value_dim, **block,
    )  # fmt: skip
    out, lse = joined(out, lse)
    return out.to(v.dtype), lse if inputs.return_lse else None


def joined(out_SBHQE: Tensor, lse_SBHQ: Tensor) -> tuple[Tensor, Tensor]:
    """Join parts of one softmax by their log-sum-exp."""
    if out_SBHQE.shape[0] == 1:
        return out_SBHQE[0], lse_SBHQ[0]
    lse_BHQ = lse_SBHQ.logsumexp(0)
    share_SBHQ = (lse_SBHQ - lse_BHQ).exp()
    return (share_SBHQ[..., None] * out_SBHQE).sum(0), lse_BHQ


def splits(num_programs: int, num_units: int) -> int:
    """Return the number of programs that the units of a tile are split over."""
    wanted = -(-WANTED_PROGRAMS // max(1, num_programs))
    return max(1, min(wanted, num_units // SPLIT_UNITS))


def block_sizes(lanes: int, dim: int, value_dim: int, dtype: torch.dtype) -> dict[str, int]:
    """Return tile sizes and launch options, chosen so that nothing spills on sm_80 and sm_90.

    Wide heads and float32 (no matrix instructions) get smaller tiles and more warps.
    """
    wide, full = max(dim, value_dim) > 64, dtype == torch.float32
    rows = 16 if lanes <= 16 else 32 if full else 64
    return {
        "ROWS": rows, "KEYS": 16 if full else 32 if wide else 64,
        "DIM": _power(dim), "VALUE": _power(value_dim),
        "num_warps": 8 if full or (wide and rows > 16) else 4, "num_stages": 2,
    }  # fmt: skip


def _power(size: int) -> int:
    return max(16, 1 << (size - 1).bit_length())
