"""The implementations of one attention step, and the choice among them.

Takes the settings and what is known of the tensors, gives a backend and a reason. Never falls back
silently: a backend that was asked for by name and cannot run is an error, and `auto` says why it
chose what it chose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from fdvs.kernels.dga.commit import ScoreChunks
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.cpp import attend_cpp, cpp_hindrance, load_library, score_chunks
from fdvs.kernels.dga.eager import attend_eager
from fdvs.kernels.dga.triton import attend_triton, triton_hindrance
from fdvs.kernels.dga.unit_set import Attend

REFERENCE, AUTO = "reference", "auto"
FAST_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """An implementation of one attention step.

    Attributes:
        attend: attends from queries to units and raw tokens.
        score_chunks: scores the tokens of chunks that are due; None where torch does.
        hindrance: says why it cannot run on a device, or None. None where it runs anywhere, in any
            floating dtype and with gradients.
    """

    attend: Attend
    score_chunks: ScoreChunks | None = None
    hindrance: Callable[[torch.device], str | None] | None = None


EAGER = Backend(attend=attend_eager)
#: By name; `reference` beside them is no step but a dense computation of everything.
BACKENDS = {
    "eager": EAGER,
    "cpp": Backend(attend=attend_cpp, score_chunks=score_chunks, hindrance=cpp_hindrance),
    "triton": Backend(attend=attend_triton, hindrance=triton_hindrance),
}
NAMES = (AUTO, REFERENCE, *BACKENDS)


class Choice(NamedTuple):
    """The name of the backend that runs, and why it was chosen."""

    name: str
    reason: str


def backends() -> dict[str, tuple[bool, str]]:
    """Return, for every backend, whether this machine can run it, and the reason.

    Compiles the C++ backend if that was not done yet.
    """
    library, reason = load_library()
    hindrance = triton_hindrance(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    on_triton = hindrance or "by name only: checked in Triton's interpreter so far"
    return {
        REFERENCE: (True, "dense, in float32 or float64; for tests"),
        "eager": (True, "tiles of torch operations; runs wherever torch does"),
        "cpp": (library is not None, reason),
        "triton": (hindrance is None, on_triton),
    }


def choose_backend(
    backend: str = AUTO,
    *,
    config: DGAConfig,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    needs_grad: bool = False,
    cached: bool = False,
) -> Choice:
    """Choose the implementation for one call.

    Raises:
        ValueError: the backend is unknown or cannot do what the call needs.
    """
    if backend not in NAMES:
        raise ValueError(f"backend={backend!r} is unknown; choose one of {NAMES}")
    if cached and config.select == "global":
        raise ValueError("select='global' scores a whole prompt and has no cache; use 'stream'")
    if backend == REFERENCE and cached:
        raise ValueError("backend='reference' keeps no cache; use 'eager' or 'auto'")
    name = "cpp" if backend == AUTO else backend
    hindrance = _hindrance(name, config, torch.device(device), dtype, needs_grad)
    if backend == AUTO:
        if hindrance is None:
            return Choice(name, load_library()[1])
        return Choice("eager", f"torch tiles, because {hindrance}")
    if hindrance is not None:
        raise ValueError(f"backend={backend!r} cannot run this: {hindrance}; use 'eager' or 'auto'")
    return Choice(backend, "asked for by name")


def _hindrance(
    name: str, config: DGAConfig, device: torch.device, dtype: torch.dtype, needs_grad: bool
) -> str | None:
    """Return why a backend cannot run a call, or None."""
    if name == REFERENCE or (on_device := BACKENDS[name].hindrance) is None:
        return None
    if dtype not in FAST_DTYPES:
        return f"the {name} backend computes in float32 or less and the tensors are {dtype}"
    if needs_grad:
        return f"the {name} backend has no gradients and they are needed"
    if config.select == "global" and not config.is_dense:
        return f"the {name} backend has no global mode"
    return on_device(device)
