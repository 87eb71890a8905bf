"""Compile `attend.cpp` at first use, load it, and call it (`cpp` backend).

Takes nothing but the compiler of the machine, gives a library with a plain C interface through
ctypes. The file is kept in a cache folder under a name made of its source, flags, compiler and
processor, so it is compiled once; it is written under another name first and then renamed.
Without a compiler the reason is kept and told; nothing is tried again in the process.

Shapes: B rows, H query heads, K key heads, Q queries, R raw tokens, D head dim, E value dim,
N units.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fdvs.kernels.dga.commit import Units
from fdvs.kernels.dga.config import DGAConfig

SOURCE = Path(__file__).with_name("attend.cpp")
#: No -ffast-math: it would remove the rounding in the exponential.
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
         "-std=c++17", "-shared", "-fPIC")  # fmt: skip
COMPILE_SECONDS = 120
#: Multiplications of one call below which more threads cost more than they bring (about 1 ms).
SHORT_CALL = 2**25


@cache
def load_library() -> tuple[ctypes.CDLL | None, str]:
    """Return the library and where it is from, or None and why there is none."""
    compiler = next((found for name in _compilers() if (found := shutil.which(name))), None)
    if compiler is None:
        return None, f"no C++ compiler found (looked for {', '.join(_compilers())})"
    try:
        path, threads = _built(compiler)
        library = ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return None, f"{compiler} could not build it: {error}"
    library.fdvs_dga_has_pairs.restype = ctypes.c_int
    library.fdvs_dga_attend.restype = ctypes.c_int
    library.fdvs_dga_attend.argtypes = [ctypes.c_void_p] * 10 + [ctypes.c_float]
    return library, f"compiled for this processor, {threads}"


def cache_folder() -> Path:
    """Return where compiled files are kept: XDG_CACHE_HOME or ~/.cache, then fdvs/kernels."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdvs" / "kernels"


def attend_native(
    q_BHQD: Tensor,
    units: Units | None,
    k_BKRD: Tensor,
    v_BKRE: Tensor,
    *,
    q_start: int,
    raw_start: int,
    config: DGAConfig,
    scale: float,
    return_lse: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Attend like `tiles.attend`; no gradients.

    Arithmetic is float32; many tokens at once are multiplied in bfloat16 (and summed in float32)
    where `multiplies_in_bfloat16` says so.

    Raises:
        RuntimeError: the library could not be built, or ran out of memory.
    """
    library, reason = load_library()
    if library is None:
        raise RuntimeError(f"backend 'cpp' is not available: {reason}; use 'eager'")
    rows, heads, num_queries, dim = q_BHQD.shape
    q, k, v = (_plain(x) for x in (q_BHQD, k_BKRD, v_BKRE))
    visible = 0 if units is None else config.chunks_visible(q_start + num_queries - 1)
    out = q.new_empty(rows, heads, num_queries, v.shape[3])
    lse = q.new_empty(rows, heads, num_queries) if return_lse else None
    unit_k, unit_v = (k, v)
    bias = k[..., 0]
    if units is not None and visible:
        unit_k, unit_v = _plain(units.keys_BKND), _plain(units.values_BKNE)
        bias = units.bias_BKN.float()
    work = num_queries * heads * dim * (k.shape[2] + visible * config.units_per_chunk)
    sizes = (
        rows, heads, k.shape[1], num_queries, dim, v.shape[3], q_start, raw_start, config.chunk,
        config.window, config.units_per_chunk if visible else 0, config.dense_threshold,
        torch.get_num_threads() if work * rows > SHORT_CALL else 1,
        multiplies_in_bfloat16(q_BHQD.dtype),
    )  # fmt: skip
    steps = [n for x in (q, unit_k, unit_v, bias, k, v, out) for n in x.stride()[:3]]
    failed = library.fdvs_dga_attend(
        *(x.data_ptr() for x in (q, unit_k, unit_v, bias, k, v, out)),
        None if lse is None else lse.data_ptr(),
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_int64 * len(steps))(*steps),
        scale,
    )
    if failed:
        raise RuntimeError("backend 'cpp' found no memory for its tiles; use fewer threads")
    return out.to(v_BKRE.dtype), lse


def multiplies_in_bfloat16(dtype: torch.dtype) -> bool:
    """Whether products are rounded to bfloat16: for bfloat16 tensors, if the processor can.

    For float32 tensors only where the caller allowed it to all of torch, by
    `torch.set_float32_matmul_precision("medium")`.
    """
    library, _ = load_library()
    allowed = dtype == torch.bfloat16 or (
        dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium"
    )
    return allowed and library is not None and bool(library.fdvs_dga_has_pairs())


def _plain(x_BXYD: Tensor) -> Tensor:
    """Return float32 with a contiguous last dimension; a view where it already is."""
    x_BXYD = x_BXYD.detach().float()
    return x_BXYD if x_BXYD.stride(-1) == 1 else x_BXYD.contiguous()


def _compilers() -> list[str]:
    return [name for name in (os.environ.get("CXX"), "g++", "c++", "clang++") if name]


def _built(compiler: str) -> tuple[Path, str]:
    """Return the compiled file, and whether it uses threads; prefer OpenMP."""
    errors = []
    for extra, threads in (("-fopenmp",), "OpenMP"), ((), "one thread, no OpenMP"):
        path = _library_path(compiler, extra)
        if path.is_file():
            return path, threads
        error = _compile(compiler, extra, path)
        if error is None:
            return path, threads
        errors.append(error)
    raise RuntimeError(errors[-1])


def _compile(compiler: str, extra: tuple[str, ...], path: Path) -> str | None:
    """Compile into place; return the first line of what went wrong, or None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        done = subprocess.run(
            [compiler, *FLAGS, *extra, str(SOURCE), "-o", str(part)],
            capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            return next((line for line in lines if "error" in line), lines[0])
        os.replace(part, path)
    return None


def _library_path(compiler: str, extra: tuple[str, ...]) -> Path:
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    parts = (SOURCE.read_text(encoding="utf-8"), *FLAGS, *extra, compiler, version, _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    return cache_folder() / f"dga_attend_{key}.so"


def _processor() -> str:
    """Return what `-march=native` depends on."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
