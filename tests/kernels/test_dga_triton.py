"""The Triton backend without a GPU: in Triton's interpreter, and compiled ahead of time.

Both run in a process of their own: Triton reads TRITON_INTERPRET when a kernel is defined.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fdvs.kernels.dga import DGAConfig, backends, choose_backend, dga_attention
from fdvs.kernels.dga.triton import block_sizes, interpreted, joined, splits

pytest.importorskip("triton")

INTERPRET = """
import sys, torch
from dataclasses import replace
from itertools import pairwise
from fdvs.kernels.dga import DGALayerCache, HeadsCache, cca_config, dga_attention, full_config
import fdvs.kernels.dga.triton as gpu
sys.path.insert(0, sys.argv[1])
from attention_inputs import STREAM as SMALL, qkv

torch.set_num_threads(1)
QUICK = sys.argv[2] == "quick"
CASES = {
    "stream": SMALL, "single": replace(SMALL, pool=False),
    "late": replace(SMALL, dense_threshold=61),
    "cca": cca_config(group_size=4, window=9), "full": full_config(),
}

def tensors(heads, keys, tokens, dim, value):
    sizes = {"heads": heads, "key_heads": keys, "dim": dim, "value_dim": value}
    return qkv(tokens, **sizes, dtype=torch.float32)

def check(name, got, want, tolerance):
    gap = (got.double() - want).abs().max().item()
    assert gap < tolerance, (name, gap)

# every mode, odd lengths and dims, heads folded or not
shapes = ((4, 2, 131, 16, 16), (3, 1, 90, 20, 12), (2, 2, 1, 8, 8))
for name, config in CASES.items():
    for shape in ((2, 1, 67, 12, 8),) if QUICK else shapes:
        x = tensors(*shape)
        options = {"config": config, "return_lse": True}
        out, lse = dga_attention(*x, backend="triton", **options)
        want = dga_attention(*(y.double() for y in x), backend="reference", **options)
        check((name, shape), out, want[0], 5e-5)
        check((name, shape, "lse"), lse, want[1], 5e-5)

# decode, with units split over programs
gpu.SPLIT_UNITS = 8
x = tensors(*((2, 1) if QUICK else (6, 2)), 131, 16, 16)
want = dga_attention(*(y.double() for y in x), config=SMALL, backend="reference")
cache = DGALayerCache(SMALL)
for first, last in pairwise((0, 70, 71, 72, 100, 130, 131)):
    part = [y[:, :, first:last] for y in x]
    out = dga_attention(*part, config=SMALL, cache=cache, backend="triton")
    check(("decode", first), out, want[:, :, first:last], 5e-5)
assert gpu.splits(2, 48) > 1
if QUICK:
    sys.exit(print("fine"))

# strides, and the first tile of a long prompt whose window is wider than its length
odd = [y.transpose(1, 2).contiguous().transpose(1, 2) for y in x]
check("strides", dga_attention(*odd, config=SMALL, backend="triton"), want, 5e-5)

# settings by key head, in one call and token by token behind a prompt
heads = (full_config(), SMALL, replace(SMALL, pool=False), SMALL)
x = tensors(8, 4, 131, 16, 16)
options = {"config": heads, "return_lse": True}
want = dga_attention(*(y.double() for y in x), backend="reference", **options)
got = dga_attention(*x, backend="triton", **options)
check("heads", got[0], want[0], 5e-5)
check("heads, lse", got[1], want[1], 5e-5)
cache = HeadsCache(heads)
for first, last in pairwise((0, 66, 67, 68, 90, 131)):
    part = [y[:, :, first:last] for y in x]
    out = dga_attention(*part, config=heads, cache=cache, backend="triton")
    check(("heads, decode", first), out, want[0][:, :, first:last], 5e-5)
print("fine")
"""

COMPILE = """
import re, subprocess, sys, tempfile
from pathlib import Path
import torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from fdvs.kernels.dga.triton import block_sizes
from fdvs.kernels.dga.triton_kernel import attend_rows

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
STEP = re.compile(r"(q|uk|uv|k|v|o)_(row|head|token|split)$")

def compiled(arch, dtype, dim, lanes):
    sizes = block_sizes(lanes, dim, dim, DTYPES[dtype])
    options = {name: sizes.pop(name) for name in ("num_warps", "num_stages")}
    signature, constants, hints = {}, {}, {}
    for at, name in enumerate(attend_rows.arg_names):
        if name in sizes or name in ("q_dim", "uk_dim", "uv_dim", "k_dim", "v_dim", "b_token"):
            signature[name], constants[(at,)] = "constexpr", sizes.get(name, 1)
        elif name in ("bias_ptr", "out_ptr", "lse_ptr"):
            signature[name] = "*fp32"
        else:
            kind = "fp32" if name == "scale" else "i32"
            signature[name] = f"*{dtype}" if name.endswith("_ptr") else kind
        if name.endswith("_ptr") or STEP.match(name) or name in ("dim", "value_dim"):
            hints[(at,)] = [["tt.divisibility", 16]]
    source = ASTSource(fn=attend_rows, signature=signature, constexprs=constants, attrs=hints)
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)

def spills(ptx, arch):
    ptxas = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(ptx)
        name = f"sm_{arch}a" if arch == 90 else f"sm_{arch}"
        done = subprocess.run(
            [ptxas, "-v", f"-arch={name}", path, "-o", path.with_suffix(".cubin")],
            capture_output=True, text=True, check=True,
        )
    return [int(n) for n in re.findall(r"(\\d+) bytes spill", done.stderr)]

for job in sys.argv[1:]:
    arch, dtype, dim, lanes = (int(x) if x.isdigit() else x for x in job.split(","))
    made = compiled(arch, dtype, dim, lanes)
    assert spills(made.asm["ptx"], arch) == [0, 0], (job, "spills")
    assert made.metadata.shared <= 99 * 1024, (job, made.metadata.shared)
    if dtype != "fp32":
        assert "mma.sync" in made.asm["ptx"] or "wgmma" in made.asm["ptx"], (job, "no mma")
print("fine")
"""


def process(code: str, *args: str, interpret: bool) -> str:
    environment = {name: x for name, x in os.environ.items() if name != "TRITON_INTERPRET"}
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        capture_output=True, text=True, env=environment, timeout=600, check=False,
    )  # fmt: skip
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("size", ["quick", pytest.param("all", marks=pytest.mark.slow)])
def test_the_kernel_agrees_with_the_reference_in_the_interpreter(size: str) -> None:
    said = process(INTERPRET, str(Path(__file__).parent), size, interpret=True)
    assert said.strip().endswith("fine"), said


def test_a_kernel_for_each_generation_compiles_without_spills() -> None:
    said = process(COMPILE, "80,bf16,64,4096", "90,bf16,128,4096", interpret=False)
    assert said.strip().endswith("fine"), said


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 90])
@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
def test_every_kernel_compiles_without_spills(arch: int, dtype: str) -> None:
    jobs = [f"{arch},{dtype},{dim},{n}" for dim in (64, 80, 96, 128) for n in (14, 4096)]
    said = process(COMPILE, *jobs, interpret=False)
    assert said.strip().endswith("fine"), said


def test_on_a_cpu_it_is_refused_with_the_reason() -> None:
    assert not interpreted()
    with pytest.raises(ValueError, match="for CUDA and the tensors are on cpu"):
        choose_backend("triton", config=DGAConfig())
    with pytest.raises(ValueError, match="no gradients"):
        choose_backend("triton", config=DGAConfig(), device="cuda", needs_grad=True)
    assert "triton" in backends()


def test_parts_of_a_softmax_join() -> None:
    logits, values = torch.randn(3, 40).double(), torch.randn(40, 5).double()
    parts = [slice(0, 7), slice(7, 8), slice(8, 40)]
    outs = torch.stack([logits[:, part].softmax(1) @ values[part] for part in parts])
    sums = torch.stack([logits[:, part].logsumexp(1) for part in parts])
    out, lse = joined(outs, sums)
    torch.testing.assert_close(out, logits.softmax(1) @ values)
    torch.testing.assert_close(lse, logits.logsumexp(1))


def test_only_few_tiles_are_split() -> None:
    assert splits(1000, 10_000) == 1
    assert splits(8, 100) == 1
    assert splits(8, 4096) == 16
    assert block_sizes(7, 64, 64, torch.bfloat16)["ROWS"] == 16


@pytest.mark.needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_kernel_agrees_with_eager_on_a_gpu(dtype: torch.dtype) -> None:
    if not torch.cuda.is_available():
        if os.environ.get("FDVS_REQUIRE_CUDA") == "1":
            pytest.fail("FDVS_REQUIRE_CUDA=1 and there is no GPU")
        pytest.skip("no GPU")
    tensors = [torch.randn(1, heads, 1500, 64, device="cuda").to(dtype) for heads in (14, 2, 2)]
    out = dga_attention(*tensors, config=DGAConfig(), backend="triton")
    want = dga_attention(*tensors, config=DGAConfig(), backend="eager")
    assert isinstance(out, torch.Tensor)
    assert isinstance(want, torch.Tensor)
    assert (out.float() - want.float()).norm() / want.float().norm() < 1e-2
