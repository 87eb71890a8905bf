"""Check the tensors of a call, and run it over the valid tokens of each row.

An error names the value, what was expected and the way out.

Shapes: B rows, H query heads, K key heads, L tokens, D head dim, E value dim.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import sqrt

import torch
from torch import Tensor
from torch.nn.functional import pad

#: First valid token and the one after the last, for each row.
Spans = list[tuple[int, int]]
#: Rows that run together, and their span.
RowGroup = tuple[slice, tuple[int, int]]


def check_tensors(q_BHLD: Tensor, k_BKLD: Tensor, v_BKLE: Tensor) -> None:
    """Raise ValueError unless the three tensors belong together."""
    for name, x in (("q", q_BHLD), ("k", k_BKLD), ("v", v_BKLE)):
        if x.dim() != 4:
            raise ValueError(
                f"{name} has shape {tuple(x.shape)}; expected [rows, heads, tokens, dim]"
            )
        if x.dtype != q_BHLD.dtype or x.device != q_BHLD.device:
            raise ValueError(
                f"{name} is {x.dtype} on {x.device}, q is {q_BHLD.dtype} on {q_BHLD.device}; "
                "convert them to one dtype and device"
            )
    if not q_BHLD.is_floating_point():
        raise ValueError(f"q is {q_BHLD.dtype}; expected a floating dtype")
    _check_sizes(tuple(q_BHLD.shape), tuple(k_BKLD.shape), tuple(v_BKLE.shape))


def check_scale(scale: float | None, head_dim: int) -> float:
    """Return the factor of the logits: the given one, or 1 / sqrt(head_dim)."""
    if scale is None:
        return 1.0 / sqrt(head_dim)
    if not 0.0 < scale < float("inf"):
        raise ValueError(f"scale={scale} must be positive and finite")
    return float(scale)


def row_spans(lengths: Tensor | Sequence[int] | None, rows: int, num_tokens: int) -> Spans:
    """Return the half-open span of valid tokens of each row.

    Args:
        lengths: None (all valid), [B] counts (padding at the end), or [B, 2] half-open spans.

    Raises:
        ValueError: wrong shape, or a span outside the tokens.
    """
    if lengths is None:
        return [(0, num_tokens)] * rows
    table = torch.as_tensor(lengths).cpu()
    if table.is_floating_point() or table.shape not in ((rows,), (rows, 2)):
        raise ValueError(
            f"lengths is {table.dtype} {tuple(table.shape)}; expected whole numbers of shape "
            f"({rows},) or ({rows}, 2)"
        )
    if table.dim() == 1:
        table = torch.stack((torch.zeros_like(table), table), 1)
    spans = [(int(first), int(last)) for first, last in table.tolist()]
    for first, last in spans:
        if not 0 <= first <= last <= num_tokens:
            raise ValueError(f"lengths holds {first}..{last}, outside the {num_tokens} tokens")
    return spans


def row_groups(spans: Spans, *, together: bool) -> list[RowGroup]:
    """Return all rows as one group (their spans must be equal), or each row as its own."""
    if together:
        return [(slice(None), spans[0])]
    return [(slice(row, row + 1), span) for row, span in enumerate(spans)]


def over_spans(
    run: Callable[..., tuple[Tensor, Tensor | None]], groups: Sequence[RowGroup], q_BHLD: Tensor,
    k_BKLD: Tensor, v_BKLE: Tensor,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """Attend in each group of rows from the valid tokens only.

    Args:
        run: takes the group's index and its q, k and v, all without padding.

    Returns:
        Output [B, H, L, E], zero outside the spans, and log-sum-exp [B, H, L] (-inf there) or None.
    """
    outs, sums = [], []
    for index, (rows, (first, last)) in enumerate(groups):
        at = (rows, slice(None), slice(first, last))
        attend = run if first < last else _empty
        out, lse = attend(index, q_BHLD[at], k_BKLD[at], v_BKLE[at])
        edge = (first, q_BHLD.shape[2] - last)
        if edge != (0, 0):
            out = pad(out, (0, 0, *edge))
            lse = None if lse is None else pad(lse, edge, value=-torch.inf)
        outs.append(out)
        sums += [] if lse is None else [lse]
    if len(groups) == 1:
        return outs[0], sums[0] if sums else None
    return torch.cat(outs), torch.cat(sums) if sums else None


def _empty(_: int, q_BH0D: Tensor, k_BK0D: Tensor, v_BK0E: Tensor) -> tuple[Tensor, Tensor]:
    shape = q_BH0D.shape[:3]
    wide = torch.promote_types(q_BH0D.dtype, torch.float32)
    return v_BK0E.new_zeros(*shape, v_BK0E.shape[3]), q_BH0D.new_zeros(shape, dtype=wide)


def spans_of_mask(mask_BL: Tensor) -> Tensor:
    """Turn a padding mask into spans [B, 2] for `lengths`.

    Args:
        mask_BL: true where a token is valid; valid tokens of a row must be consecutive.

    Raises:
        ValueError: a row has a hole.
    """
    mask_BL = mask_BL.bool()
    first_B = mask_BL.int().argmax(1)
    count_B = mask_BL.sum(1)
    last_B = mask_BL.shape[1] - mask_BL.int().flip(1).argmax(1)
    last_B = torch.where(count_B == 0, first_B, last_B)
    if bool((last_B - first_B != count_B).any()):
        raise ValueError("attention_mask has holes inside a row; only its ends may be padded")
    return torch.stack((first_B, last_B), 1)


def _check_sizes(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...]) -> None:
    if not q[0] == k[0] == v[0] or k[1] != v[1]:
        raise ValueError(f"rows or key heads differ: q {q}, k {k}, v {v}")
    if k[1] == 0 or q[1] % k[1]:
        raise ValueError(f"{q[1]} query heads are no multiple of {k[1]} key heads")
    if q[3] != k[3]:
        raise ValueError(f"head dim of q is {q[3]}, of k {k[3]}; they must be equal")
    if not q[2] == k[2] == v[2]:
        raise ValueError(
            f"q has {q[2]} tokens, k {k[2]}, v {v[2]}; pass equal counts, and earlier tokens "
            "through cache="
        )
