"""The kernel of the `triton` backend: one tile of rows against the raw band, then its units.

Imported only where Triton is. Rows are (token, query head) pairs of one key head.
"""

# Triton gives the arguments their types.
# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

from typing import Any

import triton
import triton.language as tl


@triton.jit  # type: ignore[untyped-decorator]
def _keys_step(
    q, keys, values, bias, k_token, k_dim, v_token, v_dim, b_token, begin, end, index, last, peak,
    total, acc, scale, dim, value_dim, HAS_BIAS: tl.constexpr, DIM: tl.constexpr,
    VALUE: tl.constexpr,
) -> Any:  # fmt: skip
    """Add the keys `index` (those before `last`) that each row may see: begin <= index < end."""
    d = tl.arange(0, DIM)
    e = tl.arange(0, VALUE)
    real = index < last
    at = index.to(tl.int64)
    k = tl.load(
        keys + at[:, None] * k_token + d[None, :] * k_dim,
        mask=real[:, None] & (d[None, :] < dim), other=0.0,
    )  # fmt: skip
    s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
    if HAS_BIAS:
        s += tl.load(bias + at * b_token, mask=real, other=0.0)[None, :] * 1.4426950408889634
    seen = (index[None, :] >= begin[:, None]) & (index[None, :] < end[:, None]) & real[None, :]
    s = tl.where(seen, s, -float("inf"))
    new = tl.maximum(peak, tl.max(s, 1))
    # a row that has seen nothing yet keeps -inf: subtract 0 instead
    base = tl.where(new == -float("inf"), 0.0, new)
    p = tl.exp2(s - base[:, None])
    shrink = tl.exp2(peak - base)
    v = tl.load(
        values + at[:, None] * v_token + e[None, :] * v_dim,
        mask=real[:, None] & (e[None, :] < value_dim), other=0.0,
    )  # fmt: skip
    total = total * shrink + tl.sum(p, 1)
    acc = acc * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
    return new, total, acc


@triton.jit  # type: ignore[untyped-decorator]
def attend_rows(
    q_ptr, uk_ptr, uv_ptr, bias_ptr, k_ptr, v_ptr, out_ptr, lse_ptr,
    q_row, q_head, q_token, q_dim, uk_row, uk_head, uk_token, uk_dim,
    uv_row, uv_head, uv_token, uv_dim, k_row, k_head, k_token, k_dim,
    v_row, v_head, v_token, v_dim, b_row, b_head, b_token,
    o_split, o_row, o_head, o_token, l_split, l_row, l_head,
    num_queries, group, key_heads, q_start, raw_start, chunk, window, per_chunk, threshold,
    scale, dim, value_dim,
    ROWS: tl.constexpr, KEYS: tl.constexpr, DIM: tl.constexpr, VALUE: tl.constexpr,
) -> None:  # fmt: skip
    """Attend in one tile; split 0 takes the raw band, every split an equal run of the units."""
    row = (tl.program_id(1) // key_heads).to(tl.int64)
    head = (tl.program_id(1) % key_heads).to(tl.int64)
    split = tl.program_id(2)
    lane = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    token = lane // group
    real = token < num_queries
    token = tl.minimum(token, num_queries - 1)
    query_head = head * group + lane % group
    i = q_start + token
    # no division of a negative number: it would round towards zero
    chunks = tl.maximum(i + 1 - window, 0) // chunk
    chunks = tl.where((per_chunk > 0) & (i >= threshold), chunks, 0)
    unit_end = chunks * per_chunk
    raw_begin = tl.maximum(chunks * chunk - raw_start, 0)
    raw_end = i + 1 - raw_start

    d = tl.arange(0, DIM)
    e = tl.arange(0, VALUE)
    q = tl.load(
        q_ptr + row * q_row + query_head[:, None] * q_head + token.to(tl.int64)[:, None] * q_token
        + d[None, :] * q_dim,
        mask=d[None, :] < dim, other=0.0,
    )  # fmt: skip
    peak = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, VALUE), tl.float32)
    key = tl.arange(0, KEYS)

    if split == 0:
        last = tl.max(raw_end, 0)
        for at in range(tl.min(raw_begin, 0), last, KEYS):
            peak, total, acc = _keys_step(
                q, k_ptr + row * k_row + head * k_head, v_ptr + row * v_row + head * v_head,
                bias_ptr, k_token, k_dim, v_token, v_dim, b_token, raw_begin, raw_end, at + key,
                last, peak, total, acc, scale, dim, value_dim, False, DIM, VALUE,
            )  # fmt: skip
    units = tl.max(unit_end, 0)
    share = tl.cdiv(tl.cdiv(units, KEYS), tl.num_programs(2)) * KEYS
    stop = tl.minimum(units, (split + 1) * share)
    for at in range(split * share, stop, KEYS):
        peak, total, acc = _keys_step(
            q, uk_ptr + row * uk_row + head * uk_head, uv_ptr + row * uv_row + head * uv_head,
            bias_ptr + row * b_row + head * b_head, uk_token, uk_dim, uv_token, uv_dim, b_token,
            tl.zeros((ROWS,), tl.int32), unit_end, at + key, stop, peak, total, acc, scale,
            dim, value_dim, True, DIM, VALUE,
        )  # fmt: skip

    total = tl.where(total > 0, total, 1.0)  # a split without units: -inf and zeros
    out = acc / total[:, None]
    at = split.to(tl.int64) * o_split + row * o_row
    tl.store(
        out_ptr + at + query_head[:, None] * o_head + token.to(tl.int64)[:, None] * o_token
        + e[None, :],
        out, mask=real[:, None] & (e[None, :] < value_dim),
    )  # fmt: skip
    at = split.to(tl.int64) * l_split + row * l_row
    tl.store(
        lse_ptr + at + query_head * l_head + token, (peak + tl.log2(total)) / 1.4426950408889634,
        mask=real,
    )  # fmt: skip
