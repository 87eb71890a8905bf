"""Calls of the cpp backend, for a process that runs under an address sanitizer.

    LD_PRELOAD=libasan.so python asan_calls.py calls     compare many shapes with the reference
    LD_PRELOAD=libasan.so python asan_calls.py attend    read one key too many, on purpose
    LD_PRELOAD=libasan.so python asan_calls.py judge     the same where tokens are scored

Every size and stride in these calls comes from the tensors themselves; the seeded faults enlarge
one size behind the backend's back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out
from attention_inputs import qkv

from fdvs.kernels.dga import DGAConfig, DGALayerCache, dga_attention, full_config
from fdvs.kernels.dga import cpp as native

SANITIZER = ("-fsanitize=address", "-g", "-fno-omit-frame-pointer")
SINGLE = DGAConfig(
    chunk=16, window=24, group_size=4, importance_rate=0.25, score_queries=5, sinks=1
)
CONFIGS = (
    SINGLE, replace(SINGLE, pool=True), replace(SINGLE, chunk=20, window=7, score_queries=3),
    replace(SINGLE, dense_threshold=70), full_config(),
)  # fmt: skip
#: Tokens, query heads, key heads, size of a head: around the tiles of 64 tokens and lanes of 16.
SHAPES = ((61, 4, 2, 16), (64, 2, 2, 32), (65, 6, 2, 64), (129, 7, 1, 16), (150, 3, 3, 48))


def compare(precision: str) -> None:
    """A prefill and a decode in pieces, against the reference in float64."""
    torch.set_float32_matmul_precision(precision)
    near = 2e-2 if precision == "medium" else 2e-5
    for config in CONFIGS:
        for tokens, heads, key_heads, dim in SHAPES:
            tensors = qkv(tokens, heads=heads, key_heads=key_heads, dim=dim, dtype=torch.float32)
            wanted = dga_attention(
                *[x.double() for x in tensors], config=config, backend="reference"
            )
            whole = dga_attention(*tensors, config=config, backend="cpp")
            cache, parts = DGALayerCache(config), []
            for first, last in pairwise((0, tokens // 2, tokens // 2 + 1, tokens - 2, tokens)):
                piece = [x[:, :, first:last] for x in tensors]
                parts.append(dga_attention(*piece, config=config, cache=cache, backend="cpp"))
            if precision == "medium":  # rounding may choose other tokens: only memory is looked at
                continue
            for made in (whole, torch.cat(parts, 2)):
                torch.testing.assert_close(made.double(), wanted, atol=near, rtol=near)


def enlarged(at: int) -> Callable[[Sequence[int]], Any]:
    """Return `native._numbers` with one more at a place of a call's sizes (14 or 9 of them)."""
    honest = native._numbers

    def numbers(values: Sequence[int]) -> Any:
        sizes = list(values)
        if len(sizes) in (14, 9):
            sizes[at] += 1
        return honest(sizes)

    return numbers


def seeded(where: str) -> None:
    """Attend past the last key (`q_start`), or score past the last one (`span`)."""
    native._numbers = enlarged(6)  # type: ignore[assignment]
    config = full_config() if where == "attend" else SINGLE
    span = SINGLE.chunk + SINGLE.window
    tensors = qkv(span, heads=2, key_heads=1, dim=16, dtype=torch.float32)
    if where == "attend":
        dga_attention(*tensors, config=config, backend="cpp")
    else:
        native.score_chunks(
            tensors[0], tensors[1], judge_at=span - 5, first=0, chunks=1, config=config, scale=0.25,
            threads=1,
        )  # fmt: skip


def main() -> None:
    native.FLAGS = (*native.FLAGS, *SANITIZER)
    library, how = native.load_library()
    assert library is not None, how
    torch.set_num_threads(2)
    if sys.argv[1] != "calls":
        seeded(sys.argv[1])
        return
    for precision in ("highest", "medium"):
        compare(precision)
    print("all compared")  # noqa: T201


if __name__ == "__main__":
    main()
