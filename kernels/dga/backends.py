"""Which implementation runs, and why: the list of backends and the choice among them.

Takes the settings and what is known of the tensors, gives a name and a reason. Never falls back
silently: a backend that was asked for by name and cannot run is an error, and `auto` says why it
chose what it chose.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.cpp import load_library
from fdvs.kernels.dga.triton import triton_hindrance

Backend = Literal["auto", "reference", "eager", "cpp", "triton"]
FAST_DTYPES = (torch.float32, torch.bfloat16, torch.float16)


class Choice(NamedTuple):
    """Name the backend that runs and say why."""

    name: str
    reason: str


def backends() -> dict[str, tuple[bool, str]]:
    """Return, for every backend, whether this machine can run it, and the reason.

    Compiles the C++ backend if that was not done yet.
    """
    library, reason = load_library()
    return {
        "reference": (True, "dense oracle in float32 or float64; for tests"),
        "eager": (True, "tiles of torch operations; runs wherever torch does"),
        "cpp": (library is not None, reason),
        "triton": _triton_state(),
    }


def choose_backend(
    backend: str = "auto",
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
    if backend not in get_args(Backend):
        raise ValueError(f"backend={backend!r} is unknown; choose one of {get_args(Backend)}")
    if cached and config.select == "global":
        raise ValueError("select='global' judges a whole prompt and has no cache; use 'stream'")
    if backend == "reference" and cached:
        raise ValueError("backend='reference' keeps no cache; use 'eager' or 'auto'")
    if backend in ("reference", "eager"):
        return Choice(backend, "asked for by name")
    name = "cpp" if backend == "auto" else backend
    hindrance = _hindrance(name, config, torch.device(device), dtype, needs_grad)
    if hindrance is None:
        return Choice(name, load_library()[1] if backend == "auto" else "asked for by name")
    if backend != "auto":
        raise ValueError(f"backend={backend!r} cannot run this: {hindrance}; use 'eager' or 'auto'")
    return Choice("eager", f"torch tiles, because {hindrance}")


def _hindrance(
    name: str, config: DGAConfig, device: torch.device, dtype: torch.dtype, needs_grad: bool
) -> str | None:
    """Return why the C++ or the Triton backend cannot run a call, or None."""
    if dtype not in FAST_DTYPES:
        return f"the {name} backend computes in float32 or less and the tensors are {dtype}"
    if needs_grad:
        return f"the {name} backend has no gradients and they are needed"
    if config.select == "global" and not config.is_dense:
        return f"the {name} backend has no global mode"
    if name == "triton":
        return triton_hindrance(device)
    if device.type != "cpu":
        return f"the cpp backend is for CPUs and the tensors are on {device.type}"
    library, reason = load_library()
    return None if library is not None else reason


def _triton_state() -> tuple[bool, str]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    hindrance = triton_hindrance(device)
    return hindrance is None, hindrance or "by name only: checked in Triton's interpreter so far"
