"""Choices that every local model shares: packages, device, number type, each with its reason."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue, ModelUnavailable
from fdvs.models.cards import LoadSettings

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT_BYTES = 1 << 30

logger = logging.getLogger(__name__)


def needs(package: str, extra: str) -> Any:
    """Import and return a module, or raise ModelUnavailable that names the extra to install.

    `package` is the import name, `extra` the optional dependency group that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelUnavailable(
            f"package {package!r} cannot be imported ({error}); run: pip install 'fdvs[{extra}]'"
        ) from None


def choose_device(wanted: str) -> tuple[str, str]:
    """Return (device, reason) for `auto`, `cpu`, `cuda`, `cuda:N` or `mps`. Raises InvalidValue."""
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda", f"found {torch.cuda.get_device_name()}"
        if torch.backends.mps.is_available():
            return "mps", "found an Apple GPU"
        return "cpu", "no GPU found"
    kind = wanted.partition(":")[0]
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not usable.get(kind):
        here = ", ".join(["auto", *(name for name, there in usable.items() if there)])
        raise InvalidValue("models.device", wanted, f"{here} on this machine")
    return wanted, "asked for"


def choose_dtype(wanted: str, device: str) -> tuple[torch.dtype, str]:
    """Return (number type, reason). `auto` is float32 on CPU, where 16 bits slow decoding down."""
    import torch

    if wanted != "auto":
        if wanted not in DTYPES:
            raise InvalidValue("models.dtype", wanted, ", ".join(("auto", *DTYPES)))
        chosen: torch.dtype = getattr(torch, wanted)
        return chosen, "asked for"
    if device.startswith("cuda"):
        if torch.cuda.is_bf16_supported():
            return torch.bfloat16, "the GPU computes in bfloat16"
        return torch.float16, "the GPU has no bfloat16"
    return torch.float32, f"exact, and fast enough on {device}"


def place(settings: LoadSettings, what: str) -> tuple[str, torch.dtype]:
    """Choose device and number type, and say why in the log."""
    device, device_reason = choose_device(settings.device)
    dtype, dtype_reason = choose_dtype(settings.dtype, device)
    logger.info("%s: %s (%s), %s (%s)", what, device, device_reason, dtype, dtype_reason)
    return device, dtype


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing progress bars while something loads."""
    from transformers.utils import logging as chatter

    was_on = chatter.is_progress_bar_enabled()
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            chatter.enable_progress_bar()


@cache
def reuse_memory() -> bool:
    """Let the C library keep large blocks instead of handing each back to the system.

    A convolution's activations are tens of megabytes; by default glibc maps and unmaps each of
    them, and clearing the fresh pages took nearly half of the time on a CPU (op embed in
    benchmarks/results.csv). Holds for the process; False where the C library is another one.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        logger.info("memory: no glibc here, large blocks are not kept")
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))
