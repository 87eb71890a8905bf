"""The entry point on its backends: limit cases, causality, padding, grouping of heads, numerics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
import torch
from attention_inputs import STREAM, draw, qkv
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from fdvs.kernels.dga import (
    DGAConfig,
    cca_config,
    dga_attention,
    full_config,
    paper_config,
    spans_of_mask,
)
from fdvs.kernels.dga.cpp import load_library
from fdvs.kernels.dga.eager import attend_in_tiles
from fdvs.kernels.dga.stream import grow
from fdvs.kernels.dga.unit_set import AttendInputs

MODES = {
    "stream": STREAM,
    "late": replace(STREAM, dense_threshold=61),
    "dropped": replace(STREAM, pool=False),
    "random": replace(STREAM, pool=False, score="random"),
    "lastq": replace(STREAM, weight="lastq"),
    "no_bias": replace(STREAM, bias="none"),
    "cca": cca_config(group_size=4, window=9),
    "paper": paper_config(importance_rate=0.15, group_size=4),
    "global_window": replace(STREAM, select="global"),
    "full": full_config(),
}
BACKENDS = ["reference", "eager", "cpp"]
FAST = ["eager", "cpp"]


def pairs(modes: Iterable[str], names: list[str]) -> list[tuple[str, str]]:
    """Modes and backends; the C++ backend has no global mode."""
    return [
        (mode, name)
        for mode in modes
        for name in names
        if name != "cpp" or MODES[mode].select != "global"
    ]


def run(q: Tensor, k: Tensor, v: Tensor, **options: object) -> Tensor:
    out = dga_attention(*fitting(options, q, k, v), **options)  # type: ignore[arg-type]
    assert isinstance(out, Tensor)
    return out


def run_both(q: Tensor, k: Tensor, v: Tensor, **options: object) -> tuple[Tensor, Tensor]:
    tensors = fitting(options, q, k, v)
    out, lse = dga_attention(*tensors, **options, return_lse=True)  # type: ignore[arg-type]
    return out, lse


def fitting(options: dict[str, object], *tensors: Tensor) -> list[Tensor]:
    """The C++ backend computes in float32."""
    if options.get("backend") != "cpp":
        return list(tensors)
    library, reason = load_library()
    if library is None:
        pytest.skip(f"no C++ backend here: {reason}")
    return [x.float() if x.dtype == torch.float64 else x for x in tensors]


def close(got: Tensor, want: Tensor) -> None:
    loose = {"atol": 2e-5, "rtol": 2e-4} if got.dtype == torch.float32 else {}
    torch.testing.assert_close(got.to(want.dtype), want, **loose)  # type: ignore[arg-type]


def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "config",
    [
        replace(STREAM, importance_rate=1.0), replace(STREAM, group_size=1), full_config(),
        paper_config(importance_rate=1.0), paper_config(group_size=1),
    ],
    ids=["rate_1", "groups_of_1", "full", "global_rate_1", "global_groups_of_1"],
)  # fmt: skip
def test_grouping_nothing_is_plain_attention(config: DGAConfig, backend: str) -> None:
    q, k, v = qkv(97)
    out = run(q, k, v, config=config, backend=backend)
    close(out, dense(q, k, v))


def test_tiles_alone_are_plain_attention() -> None:
    """Without the short cut to torch's attention."""
    q, k, v = qkv(300)
    inputs = AttendInputs(
        q_BHQD=q, units=None, k_BKRD=k, v_BKRE=v, q_start=0, raw_start=0, config=full_config(),
        scale=8**-0.5,
    )  # fmt: skip
    close(attend_in_tiles(inputs)[0], dense(q, k, v))


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_approximated_row_comes_with_the_first_commit(backend: str) -> None:
    q, k, v = qkv(60)
    gap = (run(q, k, v, config=STREAM, backend=backend) - dense(q, k, v)).abs().amax((0, 1, 3))
    first = STREAM.window + STREAM.chunk - 1
    assert gap[:first].max() < (1e-5 if backend == "cpp" else 1e-12)
    assert gap[first] > 1e-3
    short = qkv(first)
    close(run(*short, config=STREAM, backend=backend), dense(*short))


@pytest.mark.parametrize(("mode", "backend"), pairs(MODES, FAST))
@pytest.mark.parametrize("tokens", [1, 2, 28, 63, 131])
def test_backends_agree(mode: str, tokens: int, backend: str) -> None:
    q, k, v = qkv(tokens)
    want, want_lse = run_both(q, k, v, config=MODES[mode], backend="reference")
    out, lse = run_both(q, k, v, config=MODES[mode], backend=backend)
    close(out, want)
    close(lse, want_lse)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dim", [64, 80, 96, 128])
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 2e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)],
    ids=["float32", "bfloat16", "float16"],
)
def test_each_dtype_and_head_dim_agrees_with_float64(
    dtype: torch.dtype, tolerance: float, dim: int, backend: str
) -> None:
    q, k, v = qkv(333, rows=1, heads=6, key_heads=2, dim=dim, dtype=dtype)
    config = replace(STREAM, importance_rate=0.0, sinks=0)  # no choice that rounding could flip
    wide = [x.double() for x in (q, k, v)]
    want = run(*wide, config=config, backend="reference")
    out = run(q, k, v, config=config, backend=backend)
    assert out.dtype == dtype
    assert (out.double() - want).norm() / want.norm() < tolerance


@pytest.mark.parametrize("backend", FAST)
def test_the_default_settings_agree_at_length(backend: str) -> None:
    q, k, v = qkv(1000, rows=1, heads=3, key_heads=1, dim=64, dtype=torch.float32)
    config = DGAConfig()
    want = run(q.double(), k.double(), v.double(), config=config, backend="reference")
    out = run(q, k, v, config=config, backend=backend)
    close(out, want)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["stream", "late", "lastq", "no_bias", "cca", "full"])
def test_no_row_depends_on_later_tokens(mode: str, backend: str) -> None:
    q, k, v = qkv(110, rows=1)
    before = run(q, k, v, config=MODES[mode], backend=backend)
    for cut in (1, 27, 28, 60, 109):
        changed = [x.clone() for x in (q, k, v)]
        for x in changed:
            x[:, :, cut:] = 7 * x[:, :, cut:].flip(2) + 1
        after = run(*changed, config=MODES[mode], backend=backend)
        close(after[:, :, :cut], before[:, :, :cut])


def test_global_mode_is_not_causal() -> None:
    """Documented: late queries choose what early ones see."""
    q, k, v = qkv(110, rows=1)
    before = run(q, k, v, config=MODES["paper"])
    q[:, :, -30:] = 7 * q[:, :, -30:].flip(2)
    assert (run(q, k, v, config=MODES["paper"]) - before)[:, :, :60].abs().max() > 1e-3


@pytest.mark.parametrize(
    ("mode", "backend"), pairs(["stream", "late", "paper", "global_window", "full"], BACKENDS)
)
def test_padding_changes_nothing(mode: str, backend: str) -> None:
    q, k, v = qkv(90, rows=4)
    spans = [(0, 90), (13, 90), (0, 50), (40, 40)]
    out, lse = run_both(q, k, v, config=MODES[mode], lengths=torch.tensor(spans), backend=backend)
    for row, (first, last) in enumerate(spans):
        assert (out[row, :, :first] == 0).all()
        assert (out[row, :, last:] == 0).all()
        assert torch.isneginf(lse[row, :, last:]).all()
        if first < last:
            alone = [x[row : row + 1, :, first:last] for x in (q, k, v)]
            want = run(*alone, config=MODES[mode], backend=backend)
            close(out[row : row + 1, :, first:last], want)


def test_counts_mean_padding_at_the_end() -> None:
    q, k, v = qkv(70)
    one = run(q, k, v, config=STREAM, lengths=torch.tensor([70, 41]))
    two = run(q, k, v, config=STREAM, lengths=[[0, 70], [0, 41]])
    close(one, two)


@pytest.mark.parametrize(("mode", "backend"), pairs(["stream", "lastq", "global_window"], BACKENDS))
def test_equal_heads_of_a_key_head_equal_one_head(mode: str, backend: str) -> None:
    q, k, v = qkv(100, heads=2, key_heads=2)
    many = run(q.repeat_interleave(3, 1), k, v, config=MODES[mode], backend=backend)
    one = run(q, k, v, config=MODES[mode], backend=backend)
    close(many, one.repeat_interleave(3, 1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_may_have_another_width(backend: str) -> None:
    q, k, _ = qkv(70)
    v = draw(2, 2, 70, 5)
    assert run(q, k, v, config=STREAM, backend=backend).shape == (2, 4, 70, 5)


@pytest.mark.parametrize("backend", FAST)
def test_strides_do_not_matter(backend: str) -> None:
    q, k, v = qkv(100)
    want = run(q, k, v, config=STREAM, backend=backend)
    odd = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    odd[2] = torch.cat((odd[2], odd[2]), -1)[..., :8]
    close(run(*odd, config=STREAM, backend=backend), want)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_huge_logits_stay_finite(dtype: torch.dtype, backend: str) -> None:
    q, k, v = qkv(100, dtype=dtype)
    scale = 1e4 / (q @ k.repeat_interleave(2, 1).mT).abs().max().item()
    out, lse = run_both(q, k, v, config=STREAM, scale=scale, backend=backend)
    want = run(q, k, v, config=STREAM, scale=scale, backend="reference")
    assert out.isfinite().all()
    assert lse.isfinite().all()
    assert lse.abs().max() > 1e3
    close = torch.isclose(out.float(), want.float(), atol=0.05, rtol=0.05).float().mean()
    assert close > 0.99


def test_gradients_reach_everything_and_equal_the_reference() -> None:
    grads = []
    for backend in ("reference", "eager"):
        inputs = [x.requires_grad_() for x in qkv(90)]
        run(
            *inputs, config=replace(STREAM, weight="lastq"), backend=backend
        ).square().sum().backward()
        grads.append([x.grad for x in inputs])
    for got, want in zip(*grads, strict=True):
        close(got, want)


def test_a_unit_table_row_is_what_grow_builds() -> None:
    q, k, v = qkv(61, rows=1)
    state = grow(None, q, k, v, config=STREAM, scale=0.5)
    assert state.num_built == 2
    assert state.units is not None
    assert state.units.num_units == 2 * STREAM.units_per_chunk


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": (2, 2, 90, 9)}, "head dim of q is 8"),
        ({"k": (2, 3, 90, 8), "v": (2, 3, 90, 8)}, "no multiple of 3"),
        ({"k": (2, 2, 91, 8), "v": (2, 2, 91, 8)}, "through cache="),
        ({"v": (1, 2, 90, 8)}, "rows or key heads differ"),
    ],
)
def test_shapes_that_do_not_fit_are_named(change: dict[str, tuple], message: str) -> None:
    shapes = {"q": (2, 4, 90, 8), "k": (2, 2, 90, 8), "v": (2, 2, 90, 8)} | change
    with pytest.raises(ValueError, match=message):
        dga_attention(*(draw(*shape) for shape in shapes.values()), config=STREAM)


def test_other_wrong_arguments_are_named() -> None:
    q, k, v = qkv(30)
    for options, message in (
        ({"scale": -1.0}, "scale=-1.0"),
        ({"lengths": [31, 2]}, "0..31"),
        ({"lengths": [1, 2, 3]}, "shape"),
        ({"backend": "quick"}, "backend='quick'"),
    ):
        with pytest.raises(ValueError, match=message):
            dga_attention(q, k, v, config=STREAM, **options)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one dtype"):
        dga_attention(q, k.float(), v, config=STREAM)


def test_a_mask_becomes_spans_or_an_error() -> None:
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]])
    assert spans_of_mask(mask).tolist() == [[0, 4], [2, 4], [0, 2], [0, 0], [1, 3]]
    with pytest.raises(ValueError, match="holes"):
        spans_of_mask(torch.tensor([[1, 0, 1]]))
