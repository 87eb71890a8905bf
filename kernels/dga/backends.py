"""Which implementation runs, and why: the list of backends and the choice among them.

Takes the settings and what is known of the tensors, gives a name and a reason. Never falls back
silently: a backend that was asked for by name and cannot run is an error.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch

from fdvs.kernels.dga.config import DGAConfig

Backend = Literal["auto", "reference", "eager"]


class Choice(NamedTuple):
    """Name the backend that runs and say why."""

    name: str
    reason: str


def backends() -> dict[str, tuple[bool, str]]:
    """Return, for every backend, whether this machine can run it, and the reason."""
    return {
        "reference": (True, "dense oracle in float32 or float64; for tests"),
        "eager": (True, "tiles of torch operations; runs wherever torch does"),
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
    if backend != "auto":
        return Choice(backend, "asked for by name")
    return Choice("eager", f"torch tiles on {torch.device(device).type}")
