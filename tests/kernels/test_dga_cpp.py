"""The C++ backend: building it, saying why not, and what only it could get wrong."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from attention_inputs import STREAM, qkv
from torch import Tensor

from fdvs.kernels.dga import (
    DGAConfig,
    DGALayerCache,
    backends,
    choose_backend,
    dga_attention,
    full_config,
    paper_config,
)
from fdvs.kernels.dga import cpp as native
from fdvs.kernels.dga.backends import BACKENDS


@pytest.fixture
def fresh() -> Iterator[None]:
    """Build anew in the test, and again after it."""
    native.load_library.cache_clear()
    yield
    native.load_library.cache_clear()


@pytest.fixture
def built() -> None:
    library, reason = native.load_library()
    if library is None:
        pytest.skip(f"no C++ backend here: {reason}")


def batch(tokens: int, *, heads: int, key_heads: int, dim: int = 16) -> list[Tensor]:
    return qkv(tokens, heads=heads, key_heads=key_heads, dim=dim, dtype=torch.float32)


def want(tensors: list[Tensor], config: DGAConfig) -> Tensor:
    wide = [x.double() for x in tensors]
    out = dga_attention(*wide, config=config, backend="reference")
    assert isinstance(out, Tensor)
    return out


def test_without_a_compiler_auto_is_eager_and_says_so(
    fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(native, "_compilers", lambda: ["no-such-compiler"])
    choice = choose_backend(config=STREAM)
    assert choice.name == "eager"
    assert "no C++ compiler found (looked for no-such-compiler)" in choice.reason
    assert backends()["cpp"][0] is False
    with pytest.raises(ValueError, match="no C\\+\\+ compiler"):
        choose_backend("cpp", config=STREAM)
    out = dga_attention(*batch(60, heads=2, key_heads=1), config=STREAM)
    assert isinstance(out, Tensor)


def test_a_file_that_does_not_compile_is_a_reason(
    fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, built: None
) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("int f( {")
    native.load_library.cache_clear()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(native, "SOURCES", (broken,))
    library, reason = native.load_library()
    assert library is None
    assert "error" in reason
    assert not list(tmp_path.glob("**/*.so"))


@pytest.mark.usefixtures("built")
def test_it_is_compiled_once(fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.load_library.cache_clear()
    assert native.load_library()[0] is not None
    assert len(list((tmp_path / "fdvs" / "kernels").iterdir())) == 1
    native.load_library.cache_clear()
    monkeypatch.setattr(native, "_compile", lambda *_: pytest.fail("compiled again"))
    assert native.load_library()[0] is not None


@pytest.mark.usefixtures("built")
def test_auto_takes_it_where_it_can() -> None:
    assert choose_backend(config=STREAM).name == "cpp"
    assert choose_backend(config=STREAM, dtype=torch.bfloat16, cached=True).name == "cpp"
    for options, reason in (
        ({"dtype": torch.float64}, "float64"),
        ({"needs_grad": True}, "gradients"),
        ({"device": "meta"}, "on meta"),
    ):
        choice = choose_backend(config=STREAM, **options)  # type: ignore[arg-type]
        assert choice.name == "eager"
        assert reason in choice.reason
        with pytest.raises(ValueError, match="cannot run this"):
            choose_backend("cpp", config=STREAM, **options)  # type: ignore[arg-type]
    assert "global" in choose_backend(config=paper_config()).reason


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("cached", [False, True])
def test_what_auto_says_is_what_runs(cached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class RanError(Exception):
        pass

    def ran(*_: object, **__: object) -> None:
        raise RanError

    tensors = batch(60, heads=2, key_heads=1)
    cache = DGALayerCache(STREAM) if cached else None
    monkeypatch.setitem(BACKENDS, "cpp", replace(BACKENDS["cpp"], attend=ran))
    with pytest.raises(RanError):
        dga_attention(*tensors, config=STREAM, cache=cache)
    dga_attention(*tensors, config=STREAM, backend="eager")


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("heads", "key_heads"), [(1, 1), (9, 3), (14, 2), (4, 4), (70, 1)])
@pytest.mark.parametrize("cuts", [(0, 200), (0, 63, 64, 128, 192, 200), (0, 150, 151, 160, 200)])
def test_tiles_of_any_shape_agree(heads: int, key_heads: int, cuts: tuple[int, ...]) -> None:
    tensors = batch(200, heads=heads, key_heads=key_heads)
    cache, parts = DGALayerCache(STREAM), []
    for first, last in pairwise(cuts):
        piece = [x[:, :, first:last] for x in tensors]
        parts.append(dga_attention(*piece, config=STREAM, cache=cache, backend="cpp"))
    out = torch.cat([part for part in parts if isinstance(part, Tensor)], 2)
    torch.testing.assert_close(out.double(), want(tensors, STREAM), atol=2e-5, rtol=2e-4)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("dim", "value_dim"), [(1, 1), (7, 13), (80, 5), (256, 192)])
def test_any_dims_agree(dim: int, value_dim: int) -> None:
    sizes = {"heads": 3, "key_heads": 1, "dim": dim, "value_dim": value_dim}
    tensors = qkv(97, rows=1, **sizes, dtype=torch.float32)
    out = dga_attention(*tensors, config=STREAM, backend="cpp")
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out.double(), want(tensors, STREAM), atol=3e-5, rtol=3e-4)


@pytest.mark.usefixtures("built")
def test_full_mode_runs_in_it_too() -> None:
    tensors = batch(150, heads=6, key_heads=2)
    out = dga_attention(*tensors, config=full_config(), backend="cpp")
    assert isinstance(out, Tensor)
    torch.testing.assert_close(out.double(), want(tensors, full_config()), atol=2e-5, rtol=2e-4)


@pytest.mark.usefixtures("built")
def test_more_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "SHORT_CALL", 0)
    tensors = batch(500, heads=6, key_heads=2)
    outs = []
    before = torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        outs.append(dga_attention(*tensors, config=STREAM, backend="cpp"))
    torch.set_num_threads(before)
    assert torch.equal(*outs)


@pytest.mark.usefixtures("built")
def test_nothing_outside_the_visible_tokens_is_read() -> None:
    """Tokens after the last query and rows beside the span may hold anything."""
    q, k, v = batch(120, heads=2, key_heads=1)
    spans = torch.tensor([[20, 100], [20, 100]])
    before = dga_attention(q, k, v, config=STREAM, lengths=spans, backend="cpp")
    for x in (q, k, v):
        x[:, :, :20] = torch.nan
        x[:, :, 100:] = torch.nan
    after = dga_attention(q, k, v, config=STREAM, lengths=spans, backend="cpp")
    assert torch.equal(before, after)


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_the_exponential_is_right_at_any_size_of_logits(size: float) -> None:
    tensors = batch(90, heads=2, key_heads=1)
    tensors[0] *= size
    config = replace(STREAM, importance_rate=1.0)
    out, lse = dga_attention(*tensors, config=config, return_lse=True, backend="cpp")
    wide = [x.double() for x in tensors]
    good, good_lse = dga_attention(*wide, config=config, return_lse=True, backend="reference")
    torch.testing.assert_close(out.double(), good, atol=3e-5, rtol=3e-4)
    torch.testing.assert_close(lse.double(), good_lse, atol=1e-4, rtol=1e-5)


POOLED = replace(STREAM, importance_rate=0.0, sinks=0)  # no choice that rounding could flip


@pytest.fixture
def allowed(built: None) -> Iterator[None]:
    """Let float32 tensors be multiplied in bfloat16."""
    if not native.multiplies_in_bfloat16(torch.bfloat16):
        pytest.skip("this processor does not multiply bfloat16")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision(before)


def distance(got: Tensor, good: Tensor) -> float:
    return float((got.double() - good).norm() / good.norm())


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize(("chunk", "group_size"), [(20, 4), (21, 3)])  # all tokens are in groups
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 1), (6, 3), (2, 2)])
@pytest.mark.parametrize(
    ("tokens", "dim", "value_dim"), [(64, 16, 16), (201, 15, 10), (333, 64, 7)]
)
def test_bfloat16_products_agree_at_any_size(
    heads: int, key_heads: int, tokens: int, dim: int, value_dim: int, chunk: int, group_size: int
) -> None:
    sizes = {"heads": heads, "key_heads": key_heads, "dim": dim, "value_dim": value_dim}
    tensors = qkv(tokens, **sizes, dtype=torch.float32)
    config = replace(POOLED, chunk=chunk, group_size=group_size)
    out, lse = dga_attention(*tensors, config=config, return_lse=True, backend="cpp")
    wide = [x.double() for x in tensors]
    good, good_lse = dga_attention(*wide, config=config, return_lse=True, backend="reference")
    assert 1e-4 < distance(out, good) < 8e-3  # not float32, and not wrong
    torch.testing.assert_close(lse.double(), good_lse, atol=3e-2, rtol=0)


@pytest.mark.usefixtures("allowed")
def test_bfloat16_products_on_a_filled_cache() -> None:
    tensors = batch(400, heads=4, key_heads=2)
    cache, outs = DGALayerCache(POOLED), []
    for first, last in pairwise((0, 70, 75, 200, 201, 400)):
        part = [x[:, :, first:last] for x in tensors]
        outs.append(dga_attention(*part, config=POOLED, cache=cache, backend="cpp"))
    assert distance(torch.cat(outs, 2), want(tensors, POOLED)) < 8e-3


@pytest.mark.usefixtures("allowed")
def test_bfloat16_products_only_where_allowed_and_for_many_tokens() -> None:
    tensors = batch(64, heads=2, key_heads=1)
    config = full_config()
    short = [x[:, :, :63] for x in tensors]
    rounded, few = (dga_attention(*x, config=config, backend="cpp") for x in (tensors, short))
    torch.set_float32_matmul_precision("high")
    exact, same = (dga_attention(*x, config=config, backend="cpp") for x in (tensors, short))
    assert torch.equal(few, same)
    assert distance(exact, want(tensors, config)) < 1e-5 < distance(rounded, exact.double())
    assert not native.multiplies_in_bfloat16(torch.float32)
    assert not native.multiplies_in_bfloat16(torch.float16)


@pytest.mark.usefixtures("allowed")
def test_bfloat16_tensors_lose_only_the_rounding_of_weights_and_output() -> None:
    torch.set_float32_matmul_precision("highest")
    tensors = [x.bfloat16() for x in batch(300, heads=4, key_heads=2, dim=64)]
    config = full_config()
    out, lse = dga_attention(*tensors, config=config, return_lse=True, backend="cpp")
    wide = [x.double() for x in tensors]
    good, good_lse = dga_attention(*wide, config=config, return_lse=True, backend="reference")
    assert distance(out, good) < 4e-3
    # logits are exact products summed in float32; 1e-4 is the exponential
    torch.testing.assert_close(lse.double(), good_lse, atol=2e-4, rtol=0)


@pytest.mark.usefixtures("allowed")
def test_more_threads_change_no_bit_of_bfloat16_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "SHORT_CALL", 0)
    tensors = batch(300, heads=6, key_heads=3)
    one = dga_attention(*tensors, config=POOLED, backend="cpp")
    torch.set_num_threads(2)
    assert torch.equal(dga_attention(*tensors, config=POOLED, backend="cpp"), one)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
def test_the_short_exponential_is_right_at_any_size_of_logits(size: float) -> None:
    # powers of two and few digits: bfloat16 holds the inputs exactly
    q, k, v = ((x * 8).round() / 8 for x in batch(90, heads=2, key_heads=1))
    scale = size / 4
    out = dga_attention(q, k, v, config=full_config(), scale=scale, backend="cpp")
    wide = (x.double() for x in (q, k, v))
    good = dga_attention(*wide, config=full_config(), scale=scale, backend="reference")
    assert distance(out, good) < 4e-3


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names x86 processors")
@pytest.mark.parametrize("processor", ["x86-64", "x86-64-v3"], ids=["sse2", "avx2"])
def test_narrower_vectors_agree(
    processor: str, fresh: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = tuple(flag.replace("native", processor) for flag in native.FLAGS)
    monkeypatch.setattr(native, "FLAGS", flags)
    if native.load_library()[0] is None:
        pytest.skip(native.load_library()[1])
    assert not native.multiplies_in_bfloat16(torch.bfloat16)
    for heads, key_heads, dim in ((9, 3, 64), (2, 2, 20)):
        tensors = batch(200, heads=heads, key_heads=key_heads, dim=dim)
        for config in (STREAM, replace(STREAM, pool=False)):
            out = dga_attention(*tensors, config=config, backend="cpp")
            assert isinstance(out, Tensor)
            torch.testing.assert_close(out.double(), want(tensors, config), atol=2e-5, rtol=2e-4)


JUDGED = replace(STREAM, pool=False)


def judged(tensors: list[Tensor], config: DGAConfig, chunks: range, threads: int = 1) -> Tensor:
    q, k, _ = tensors
    scores = native.score_chunks(
        q, k, judge_at=config.commit_time(chunks.start) - config.score_queries + 1,
        first=chunks.start * config.chunk, chunks=len(chunks), config=config, scale=0.3,
        threads=threads,
    )  # fmt: skip
    assert scores is not None
    return scores


def attention_got(tensors: list[Tensor], config: DGAConfig, chunk: int) -> Tensor:
    """Sum what each token of a chunk gets from its judges, one softmax after the other: [K, C]."""
    q, k = tensors[0][0].double(), tensors[1][0].double()
    first, share = chunk * config.chunk, q.shape[0] // k.shape[0]
    got = torch.zeros(k.shape[0], config.chunk, dtype=torch.float64)
    last = config.commit_time(chunk)
    for i in range(last - config.score_queries + 1, last + 1):
        for head in range(q.shape[0]):
            weights = (k[head // share, first : i + 1] @ q[head, i] * 0.3).softmax(0)
            got[head // share] += weights[: config.chunk]
    return got


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("heads", "key_heads", "dim", "changes"),
    [
        (14, 2, 64, {}),
        (3, 1, 20, {"score_queries": 9}),
        (2, 2, 7, {"score_queries": 1}),
        (8, 1, 16, {"score_queries": 30, "window": 100, "chunk": 104}),
    ],
)
def test_tokens_get_what_their_judges_attend(
    heads: int, key_heads: int, dim: int, changes: dict[str, Any]
) -> None:
    config = replace(JUDGED, **changes)
    tensors = batch(config.commit_time(2) + 1, heads=heads, key_heads=key_heads, dim=dim)
    scores = judged(tensors, config, range(3))
    assert scores.shape == (2, key_heads, 3, config.chunk)
    for chunk in range(3):
        want = attention_got(tensors, config, chunk)
        torch.testing.assert_close(scores[0, :, chunk].double(), want, atol=1e-5, rtol=1e-4)


@pytest.mark.usefixtures("built")
def test_how_many_chunks_are_judged_together_changes_no_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "SHORT_CALL", 0)
    tensors = batch(200, heads=6, key_heads=2)
    whole = judged(tensors, JUDGED, range(6))
    alone = [judged(tensors, JUDGED, range(at, at + 1)) for at in range(6)]
    assert torch.equal(whole, torch.cat(alone, 2))
    assert torch.equal(whole, judged(tensors, JUDGED, range(6), threads=3))


@pytest.mark.usefixtures("built")
def test_other_settings_are_judged_by_torch() -> None:
    x = torch.zeros(1, 1, 1, 1)
    assert native.can_score(x, JUDGED)
    assert not native.can_score(x.double(), JUDGED)
    assert not native.can_score(x.to("meta"), JUDGED)
    for changes in ({"pool": True}, {"score": "random"}):
        other = replace(JUDGED, **changes)
        assert not native.can_score(x, other)
        options = {"judge_at": 0, "first": 0, "chunks": 1, "scale": 1.0, "threads": 1}
        assert native.score_chunks(x, x, config=other, **options) is None


@pytest.mark.usefixtures("built")
def test_far_logits_lose_no_judge() -> None:
    """The best key is outside the chunk, or far above the rest of it."""
    q, k, v = batch(60, heads=2, key_heads=1)
    k[:, :, 3] *= 40.0
    k[:, :, 22] *= 80.0
    scores = judged([q, k, v], JUDGED, range(1))
    want = attention_got([q, k, v], JUDGED, 0)
    assert torch.isfinite(scores).all()
    torch.testing.assert_close(scores[0, :, 0].double(), want, atol=1e-4, rtol=1e-3)
