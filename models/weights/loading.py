"""What loading any local model needs: packages, device and dtype with reasons, checkpoints.

Checkpoints are read from a folder that was fetched before, or a user's: checked first, safetensors
only, no remote code, no network, no progress bars.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import FdvsError, InvalidValue, ModelError, ModelUnavailable, how_to_install
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.weights import manifests
from fdvs.models.weights.checkpoint import check_place
from fdvs.models.weights.fetch import manifest_of, model_folder, weights_card
from fdvs.stopping import check_stop

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # <malloc.h>
KEPT_BYTES = 1 << 30
EXCERPT_CHARS = 300
# Some families ship without a head that is not used.
MAX_SHARE_MISSING = 0.05
# CUDA and MPS, then torch on a CPU
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
# What a model's code raises for files that it was not written for. No OSError: it may come from who
# reads along while the model writes.
MODEL_FAULTS = (
    ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RuntimeError,
    TypeError, ValueError,
)  # fmt: skip

logger = logging.getLogger(__name__)


def needs(package: str, extra: str) -> Any:
    """Import and return a module, or raise ModelUnavailable that names the extra to install.

    `package` is the import name, `extra` the optional dependency group that brings it.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ModelUnavailable(
            f"package {package!r} cannot be imported ({error}); {how_to_install(extra)}"
        ) from None


def choose_device(wanted: str) -> tuple[str, str]:
    """Return (device, reason) for `auto`, `torch`, `cpu`, `cuda`, `cuda:N` or `mps`.

    `torch` is `auto` for models that have a graph, too. Raises InvalidValue.
    """
    torch = needs("torch", "local")
    if wanted in ("auto", "torch"):
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


def choose_dtype(wanted: str, device: str, *, exact: bool = False) -> tuple[torch.dtype, str]:
    """Return (dtype, reason); `auto` is float32 on a CPU, where 16 bits slow decoding down.

    `exact`: a small model (an embedder), for which an Apple GPU has memory enough in float32.
    """
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
    if device == "mps" and not exact:
        return torch.float16, "half the memory, which an Apple GPU shares with the system"
    return torch.float32, f"exact, and fast enough on {device}"


def place(settings: LoadSettings, what: str, *, exact: bool = False) -> tuple[str, torch.dtype]:
    """Return the device and dtype for a model (`choose_dtype`); the log gives the reasons."""
    device, device_reason = choose_device(settings.device)
    dtype, dtype_reason = choose_dtype(settings.dtype, device, exact=exact)
    logger.info("%s: %s (%s), %s (%s)", what, device, device_reason, dtype, dtype_reason)
    return device, dtype


def batch_size_for(model: Any, wanted: int | None, *, cpu: int, gpu: int) -> int:
    """Return `wanted`, or without it the size that suits the model's device."""
    return wanted or (gpu if model.device.type == "cuda" else cpu)


def reason_of(error: BaseException) -> str:
    """Return an error's message as one line of at most EXCERPT_CHARS characters."""
    return " ".join(str(error).split())[:EXCERPT_CHARS]


def load_part(kind: Any, card: Card, **settings: Any) -> Any:
    """Return `kind.from_pretrained` of a card's folder; `kind` is an Auto class of transformers.

    Raises ModelUnavailable where the folder is missing or holds nothing that `kind` can load.
    """
    folder = checked_folder(card)
    try:
        with without_progress_bars():
            return kind.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, **settings
            )
    except FdvsError:
        raise
    except ImportError as error:  # transformers says so only when a checkpoint asks for a package
        raise ModelUnavailable(
            f"model {card.name!r} needs a package that is not installed ({reason_of(error)}); "
            f"{how_to_install('laptop')}"
        ) from None
    except Exception as error:  # whatever comes up in a package for a folder it does not expect
        if is_out_of_memory(error):
            raise ModelError(
                f"{card.name} does not fit into the memory ({reason_of(error)}); choose a smaller "
                "model, models.device: cpu, or a model server"
            ) from error
        raise ModelUnavailable(
            f"model {card.name!r}: {folder} cannot be loaded by {kind.__name__} "
            f"({reason_of(error)}); {next_step(card)}, or use --preset offline, whose models "
            "`fdvs models fetch` gets"
        ) from None


def load_weights(kind: Any, card: Card, *, device: str, dtype: Any, **settings: Any) -> Any:
    """Return a model in evaluation mode. Raises ModelUnavailable, ModelError.

    The weights go straight to their device: never all of them through main memory first, which may
    be smaller than the GPU's. `settings` go to `from_pretrained`.
    """
    model, told = load_part(
        kind, card, dtype=dtype, use_safetensors=True, output_loading_info=True,
        device_map={"": device}, **settings,
    )  # fmt: skip
    check_all_found(model, told, card.name, share=MAX_SHARE_MISSING)
    return model.eval()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a package failed because a device's memory is full; each device says it otherwise."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)
    )


def check_all_found(model: Any, told: Mapping[str, Any], name: str, *, share: float = 0.0) -> None:
    """Raise ModelError where more than a share of a model's tensors are not in its files.

    `told` is the loading info of transformers, which fills such tensors with random numbers.
    """
    missing = sorted(told.get("missing_keys") or ())
    if len(missing) > share * len(model.state_dict()):
        raise ModelError(
            f"{name}: {len(missing)} tensors that its config.json declares are not in its files "
            f"({', '.join(missing[:3])}); copy or download the model again"
        )


def checked_folder(card: Card) -> Path:
    """Return the path of a card's weights: a folder, or a single local file given as target.

    Raises ModelUnavailable where they are not on this machine, and ModelError that names the file
    which is not what was fetched, or which no package may open.
    """
    place = model_folder(card)
    check_fetched(card)
    check_place(place, advice=next_step(card))
    return place


def check_weights(card: Card) -> None:
    """Raise what `checked_folder` raises, for a card that may have no weights of its own.

    Of fetched models only the hashes are checked: they need no package.
    """
    if manifest_of(card):
        check_fetched(card)
    elif weights_card(card):
        checked_folder(card)


def check_fetched(card: Card) -> None:
    """Raise ModelError for the first file that differs from what was fetched.

    Each is hashed once for a size and a time of change.
    """
    manifest = manifest_of(card)
    if manifest and (path := manifests.first_changed(manifest)):
        raise ModelError(f"{path} is damaged: it is not what was fetched; {next_step(card)}")


def next_step(card: Card) -> str:
    """Return what to do where a card's files are damaged."""
    if manifest := manifest_of(card):
        return f"run `fdvs models fetch {manifest.name}`"
    return "copy or download the model again"


@contextlib.contextmanager
def loading(card: Card, place: Path, *, by: str = "") -> Iterator[None]:
    """Context in which every error of a package is a ModelError that names card and place.

    Packages raise whatever comes up in them for a folder that is not as they expect.
    """
    try:
        yield
    except FdvsError:
        raise
    except Exception as error:
        what = f"{by} cannot load it from {place}" if by else f"cannot load {place}"
        raise ModelError(f"{card.name}: {what} ({reason_of(error)}); {next_step(card)}") from error


@contextlib.contextmanager
def model_errors(what: str) -> Iterator[None]:
    """Context in which what fails in a model's code is a ModelError that begins with `what`."""
    try:
        yield
    except FdvsError:
        raise
    except Exception as error:
        raise ModelError(f"{what} failed ({reason_of(error)})") from error


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Context in which transformers draws no progress bars."""
    from transformers.utils import logging as transformers_logging

    was_on = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            transformers_logging.enable_progress_bar()


@cache
def reuse_memory() -> bool:
    """Make glibc keep large freed blocks for reuse, for the rest of the process.

    By default glibc maps and unmaps every block as large as a convolution's activations, and
    clearing the fresh pages took nearly half of the embedding time on a CPU (op embed in
    benchmarks/results.csv). Returns False where the C library is not glibc.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        logger.info("memory: no glibc here, large blocks are not kept")
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) and mallopt(M_TRIM_THRESHOLD, KEPT_BYTES))


def stop_between_layers(model: Any) -> None:
    """Let a model of torch be stopped (`fdvs.stopping`) before each of its layers."""
    import torch

    def check(*_: Any) -> None:
        check_stop()

    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            for layer in module:
                layer.register_forward_pre_hook(check)
