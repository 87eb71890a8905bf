"""The `cpp` backend: compile the C++ files at first use, load them with ctypes, call them.

Needs a C++ compiler on the machine. The library is kept in a cache folder under a name made of its
source, flags, compiler and processor, so it is compiled once; it is written under another name
first and then renamed. Without a compiler the backend is unavailable, with the reason, for the rest
of the process.

Shapes: B rows, H query heads, K key heads, Q queries, R raw tokens, D head dim, E value dim,
N units, n chunks of C tokens.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.unit_set import Attended, AttendInputs

FOLDER = Path(__file__).parent
SOURCES = (FOLDER / "attend.cpp", FOLDER / "judge.cpp")
HEADER = FOLDER / "lanes.h"
#: No -ffast-math: it would remove the rounding in the exponential.
FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math",
         "-std=c++17", "-shared", "-fPIC")  # fmt: skip
COMPILE_SECONDS = 120
#: Calls with fewer multiplications than this run on one thread (about 1 ms).
SHORT_CALL = 2**25


@cache
def load_library() -> tuple[ctypes.CDLL | None, str]:
    """Return the library and how it was built, or None and why there is none."""
    library, reason = load_sources(SOURCES)
    if library is None:
        return None, reason
    library.fdvs_dga_has_pairs.restype = ctypes.c_int
    library.fdvs_dga_attend.restype = library.fdvs_dga_judge.restype = ctypes.c_int
    library.fdvs_dga_attend.argtypes = [ctypes.c_void_p] * 10 + [ctypes.c_float]
    library.fdvs_dga_judge.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_float]
    return library, reason


def load_sources(sources: tuple[Path, ...]) -> tuple[ctypes.CDLL | None, str]:
    """Compile C++ files that may include `lanes.h`, or load the build of an earlier call.

    Returns:
        The library and how it was built, or None and why there is none. Its file bears the name of
        the first source.
    """
    compiler = next((found for name in _compilers() if (found := shutil.which(name))), None)
    if compiler is None:
        return None, f"no C++ compiler found (looked for {', '.join(_compilers())})"
    try:
        path, threads = _built(compiler, sources)
        return ctypes.CDLL(str(path)), f"compiled for this processor, {threads}"
    except (OSError, subprocess.SubprocessError, RuntimeError) as error:
        return None, f"{compiler} could not build it: {error}"


def cache_folder() -> Path:
    """Return where compiled files are kept: XDG_CACHE_HOME or ~/.cache, then fdvs/kernels."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdvs" / "kernels"


def cpp_hindrance(device: torch.device) -> str | None:
    """Return why the library cannot run on a device, or None."""
    if device.type != "cpu":
        return f"the cpp backend is for CPUs and the tensors are on {device.type}"
    library, reason = load_library()
    return None if library is not None else reason


def attend_cpp(inputs: AttendInputs) -> Attended:
    """Attend in C++; no gradients.

    Arithmetic is float32; many tokens at once are multiplied in bfloat16 (and summed in float32)
    where `multiplies_in_bfloat16` says so.

    Raises:
        RuntimeError: the library could not be built, or ran out of memory.
    """
    library = _loaded()
    config, visible = inputs.config, inputs.visible_chunks
    q, k, v = (_plain(x) for x in (inputs.q_BHQD, inputs.k_BKRD, inputs.v_BKRE))
    unit_k, unit_v, bias = inputs.unit_tensors()
    unit_k, unit_v, bias = _plain(unit_k), _plain(unit_v), bias.detach().float()
    rows, heads, num_queries, dim = q.shape
    out = q.new_empty(rows, heads, num_queries, v.shape[3])
    lse = q.new_empty(rows, heads, num_queries) if inputs.return_lse else None
    work = num_queries * heads * dim * (k.shape[2] + visible * config.units_per_chunk)
    sizes = (
        rows, heads, k.shape[1], num_queries, dim, v.shape[3], inputs.q_start, inputs.raw_start,
        config.chunk, config.window, config.units_per_chunk if visible else 0,
        config.dense_threshold, torch.get_num_threads() if work * rows > SHORT_CALL else 1,
        multiplies_in_bfloat16(inputs.q_BHQD.dtype),
    )  # fmt: skip
    steps = [n for x in (q, unit_k, unit_v, bias, k, v, out) for n in x.stride()[:3]]
    failed = library.fdvs_dga_attend(
        *(x.data_ptr() for x in (q, unit_k, unit_v, bias, k, v, out)),
        None if lse is None else lse.data_ptr(),
        _numbers(sizes),
        _numbers(steps),
        inputs.scale,
    )
    _check_memory(failed)
    return out.to(inputs.v_BKRE.dtype), lse


def can_score(q_BHQD: Tensor, config: DGAConfig) -> bool:
    """Whether `score_chunks` handles these queries and settings."""
    return (
        not config.pool
        and config.score == "attention"
        and q_BHQD.device.type == "cpu"
        and q_BHQD.dtype in (torch.float32, torch.float16, torch.bfloat16)
    )


def score_chunks(
    q_BHQD: Tensor, k_BKRD: Tensor, *, judge_at: int, first: int, chunks: int, config: DGAConfig,
    scale: float, threads: int,
) -> Tensor | None:  # fmt: skip
    """Return the attention that tokens get from their chunk's judges, float32 [B, K, n, C].

    Args:
        judge_at: index in q of the first judge of the first chunk.
        first: index in k of the first chunk's first token.
        chunks: number of consecutive chunks (n).
        threads: at most; short calls use one.

    Returns:
        None where `can_score` says that torch has to do it.

    Raises:
        RuntimeError: the library could not be built, or ran out of memory.
    """
    if not can_score(q_BHQD, config):
        return None
    library = _loaded()
    span, more = config.chunk + config.window, (chunks - 1) * config.chunk
    q = _plain(q_BHQD[:, :, judge_at : judge_at + more + config.score_queries])
    k = _plain(k_BKRD[:, :, first : first + more + span])
    rows, heads, _, dim = q.shape
    scores_BKnC = q.new_empty(rows, k.shape[1], chunks, config.chunk)
    work = rows * heads * config.score_queries * dim * span * chunks
    sizes = (
        rows, heads, k.shape[1], dim, chunks, config.chunk, span, config.score_queries,
        threads if work > SHORT_CALL else 1,
    )  # fmt: skip
    failed = library.fdvs_dga_judge(
        q.data_ptr(), k.data_ptr(), scores_BKnC.data_ptr(),
        _numbers(sizes), _numbers((*q.stride()[:3], *k.stride()[:3])), scale,
    )  # fmt: skip
    _check_memory(failed)
    return scores_BKnC


def multiplies_in_bfloat16(dtype: torch.dtype) -> bool:
    """Whether factors are rounded to bfloat16, which the processor must support.

    Bfloat16 tensors always are; float32 tensors only after
    `torch.set_float32_matmul_precision("medium")`, which allows it to all of torch.
    """
    library, _ = load_library()
    allowed = dtype == torch.bfloat16 or (
        dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium"
    )
    return allowed and library is not None and bool(library.fdvs_dga_has_pairs())


def _loaded() -> ctypes.CDLL:
    library, reason = load_library()
    if library is None:
        raise RuntimeError(f"backend 'cpp' is not available: {reason}; use 'eager'")
    return library


def _check_memory(failed: int) -> None:
    if failed:
        raise RuntimeError("backend 'cpp' found no memory for its tiles; use fewer threads")


def _numbers(values: Sequence[int]) -> ctypes.Array[ctypes.c_int64]:
    return (ctypes.c_int64 * len(values))(*values)


def _plain(x_BXYD: Tensor) -> Tensor:
    """Return float32 with a contiguous last dimension; a view where it already is."""
    x_BXYD = x_BXYD.detach().float()
    return x_BXYD if x_BXYD.stride(-1) == 1 else x_BXYD.contiguous()


def _compilers() -> list[str]:
    return [name for name in (os.environ.get("CXX"), "g++", "c++", "clang++") if name]


def _built(compiler: str, sources: tuple[Path, ...]) -> tuple[Path, str]:
    """Return the compiled file, and whether it uses threads; prefer OpenMP."""
    errors = []
    for extra, threads in (("-fopenmp",), "OpenMP"), ((), "one thread, no OpenMP"):
        path = _library_path(compiler, extra, sources)
        if path.is_file():
            return path, threads
        error = _compile(compiler, extra, sources, path)
        if error is None:
            return path, threads
        errors.append(error)
    raise RuntimeError(errors[-1])


def _compile(
    compiler: str, extra: tuple[str, ...], sources: tuple[Path, ...], path: Path
) -> str | None:
    """Compile to `path`; return the first line of the compiler's error, or None."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        part = Path(folder) / path.name
        done = subprocess.run(
            [compiler, *FLAGS, *extra, f"-I{FOLDER}", *map(str, sources), "-o", str(part)],
            capture_output=True, text=True, timeout=COMPILE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            return next((line for line in lines if "error" in line), lines[0])
        os.replace(part, path)
    return None


def _library_path(compiler: str, extra: tuple[str, ...], sources: tuple[Path, ...]) -> Path:
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=30, check=True
    ).stdout
    texts = (path.read_text(encoding="utf-8") for path in (*sources, HEADER))
    parts = (*texts, *FLAGS, *extra, compiler, version, _processor())
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    return cache_folder() / f"dga_{sources[0].stem}_{key}.so"


def _processor() -> str:
    """Return what `-march=native` depends on."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return f"{platform.machine()} {platform.processor()}"
    lines = info.read_text(encoding="utf-8", errors="replace").splitlines()
    wanted = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(wanted)))
