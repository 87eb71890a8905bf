"""The attention benchmark: what it compares, what it refuses, and what its rows say."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from fdvs.kernels.dga import DGAConfig, choose_backend, full_config

SMALL = DGAConfig(importance_rate=0.2, group_size=4, chunk=20, window=40, sinks=2, score_queries=6)


@pytest.fixture(scope="module")
def bench(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/bench_attention.py")


@pytest.fixture
def _compiled() -> None:
    try:
        choose_backend("cpp", config=SMALL)
    except ValueError as error:
        pytest.skip(f"no C++ backend here: {error}")


@pytest.fixture
def small(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with settings that commit within few tokens, and runs of few steps."""
    monkeypatch.setattr(bench, "DGAConfig", lambda: SMALL)
    monkeypatch.setattr(bench, "GATE_TOKENS", 130)
    monkeypatch.setattr(bench, "DECODE_STEPS", 4)
    return bench


def run_main(bench: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench_attention.py", *arguments])
    bench.main()


def test_shapes_are_read_and_wrong_ones_refused(bench: ModuleType) -> None:
    shape = bench.Shape.parse("14/2x64")
    assert (shape.heads, shape.key_heads, shape.dim) == (14, 2, 64)
    for text in ("14/3x64", "14x64", "0/1x8", "a/bxc", "4/2x0"):
        with pytest.raises(argparse.ArgumentTypeError, match=text):
            bench.Shape.parse(text)


@pytest.mark.usefixtures("_compiled")
def test_every_candidate_agrees_with_float64(small: ModuleType) -> None:
    errors = small.errors_at(small.Shape.parse("4/2x16"), SMALL, 130)
    assert len(errors) == 9
    assert max(errors.values()) < 1e-5
    assert small.refuse_wrong(errors) is None


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("kind", ["mixed", "bfloat16"])
def test_rounded_products_show_in_the_error_and_in_the_rows(
    small: ModuleType, kind: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if not small.multiplies_in_bfloat16(torch.bfloat16):
        pytest.skip("this processor does not multiply bfloat16")
    before = torch.get_float32_matmul_precision()
    arguments = ("--heads", "4/2x16", "--lengths", "100", "--rounds", "1", "--dtypes", kind)
    run_main(small, monkeypatch, *arguments)
    assert torch.get_float32_matmul_precision() == before
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    dtype = {"mixed": "float32, bfloat16 products"}.get(kind, kind)
    assert {row["dtype"] for row in rows} == {dtype}
    errors = {
        (row["op"], row["backend"]): float(row["p50"])
        for row in rows
        if row["metric"] == "error against float64"
    }
    assert 1e-4 < errors["attention prefill", small.FULL] < 1e-2
    # Whether "medium" reaches inside SDPA depends on the processor; what is kept as bfloat16 does.
    if kind == "bfloat16":
        assert 1e-4 < errors["attention prefill", small.SDPA] < 1e-2


def test_what_the_processor_cannot_multiply_is_refused(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "choose_backend", lambda *_, **__: None)
    monkeypatch.setattr(bench, "multiplies_in_bfloat16", lambda _: False)
    bench.refuse_unable(["float32"])
    with pytest.raises(SystemExit, match="no AVX512-BF16 here"):
        bench.refuse_unable(["float32", "mixed"])


@pytest.mark.usefixtures("_compiled")
def test_a_wrong_candidate_shows_in_its_error(
    small: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = small.sliding
    monkeypatch.setattr(small, "sliding", lambda q, k, v, window: right(q, k, v, window + 1))
    errors = small.errors_at(small.Shape.parse("4/2x16"), SMALL, 130)
    assert errors["prefill window torch sdpa"] > 1e-2
    assert errors["decode window torch sdpa"] < 1e-5


@pytest.mark.parametrize("error", [1e-3, float("nan")])
def test_nothing_is_reported_where_correctness_is_red(
    bench: ModuleType, error: float, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.setattr(bench, "choose_backend", lambda *_, **__: None)
    errors = {"prefill full cpp": 1e-7, "decode dga cpp": error}
    monkeypatch.setattr(bench, "errors_at", lambda *_: errors)
    target = tmp_path / "rows.csv"
    with pytest.raises(SystemExit, match=r"because decode dga cpp .* run tests/kernels"):
        run_main(bench, monkeypatch, "--csv", str(target))
    assert capsys.readouterr().out == ""
    assert not target.exists()


def test_a_machine_that_cannot_run_the_kernel_is_told_so(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise ValueError("no C++ compiler found")

    monkeypatch.setattr(bench, "choose_backend", refuse)
    with pytest.raises(SystemExit, match="bench_attention: no C"):
        run_main(bench, monkeypatch)


def test_the_window_sees_itself_and_so_many_before(bench: ModuleType) -> None:
    q, k = torch.zeros(1, 2, 700, 4), torch.zeros(1, 1, 700, 4)
    v = torch.arange(700.0).view(1, 1, 700, 1).expand(-1, -1, -1, 4)
    out = bench.sliding(q, k, v, 5)[0, 1, :, 0]
    expected = [sum(range(max(0, i - 4), i + 1)) / min(5, i + 1) for i in range(700)]
    torch.testing.assert_close(out, torch.tensor(expected), rtol=1e-5, atol=1e-3)


def test_candidates_take_turns_and_every_other_round_goes_backwards(bench: ModuleType) -> None:
    calls: list[str] = []

    def note(name: str) -> Tensor:
        calls.append(name)
        return torch.zeros(())

    times = bench.take_turns({"a": lambda: note("a"), "b": lambda: note("b")}, 3)
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert {name: len(seconds) for name, seconds in times.items()} == {"a": 3, "b": 3}


def test_ratios_are_of_the_same_round_and_times_per_token(bench: ModuleType) -> None:
    seconds = {bench.SDPA: [2.0, 30.0], bench.DGA: [1.0, 10.0]}
    assert bench.ratio(seconds, bench.DGA, bench.SDPA) == [2.0, 3.0]
    tokens = bench.per_token({bench.SDPA: [32.0], bench.DGA: [32.0]}, 160)
    assert tokens == {bench.SDPA: [1.0], bench.DGA: [0.2]}


@pytest.mark.usefixtures("_compiled")
def test_rows_name_every_candidate_and_hold_the_bytes_of_the_cache(
    small: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    arguments = ("--heads", "4/2x16", "--lengths", "217", "--rounds", "2", "--csv", str(target))
    run_main(small, monkeypatch, *arguments)
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[-1]["command"].startswith("OMP_WAIT_POLICY=passive research/bench_attention.py ")
    found = {(row["op"], row["backend"], row["metric"]): row for row in rows}
    for op, names in {
        "attention prefill": {small.SDPA, small.FULL, small.WINDOW, small.DGA},
        "attention decode": {small.SDPA, small.FOLDED, small.FULL, small.WINDOW, small.DGA},
    }.items():
        assert {b for o, b, metric in found if o == op and metric == "time"} == names
        assert (op, small.DGA, "speed over full cpp") in found
    cache = {m: float(found["attention cache", small.DGA, m]["p50"]) for m in (
        "bytes of units", "bytes of raw", "bytes of queries", "bytes of full keys and values",
    )}  # fmt: skip
    # 8 chunks are committed and the next one's judges start at 214; 2 key heads of 16 numbers
    parts = [8 * SMALL.units_per_chunk * 2 * 33 * 4, (217 - 160) * 2 * 32 * 4, 3 * 4 * 16 * 4]
    share = 100 * sum(parts) / (217 * 2 * 32 * 4)
    assert list(cache.values()) == pytest.approx([*parts, share], rel=1e-3)


def test_curves_are_of_one_head_shape_and_thread_count(bench: ModuleType) -> None:
    rows = [
        {"shape": f"{heads}; {tokens} tokens; {threads}", "backend": "b", "p50": str(tokens)}
        for heads in ("4/2 heads of 16", "8/2 heads of 16")
        for threads in ("1 thread", "2 threads")
        for tokens in (10, 20)
    ]
    assert sys.modules["bench_table"].curves(rows) == {"b": ([10, 20], [10.0, 20.0])}


def test_plots_without_matplotlib_say_what_to_install(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SystemExit, match="--plot needs matplotlib"):
        bench.plot([], tmp_path / "x.png")


PLAN = {
    "format": "fdvs-attention-plan", "version": 1, "model": "tiny",
    "levels": [SMALL.to_dict(), full_config().to_dict()], "heads": ["01", "00", "10"],
}  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(PLAN))
    return path


@pytest.mark.usefixtures("_compiled")
def test_all_layers_of_a_plan_are_measured_beside_as_many_of_torchs(
    small: ModuleType, plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    arguments = ("--heads", "4/2x16", "--lengths", "100", "--rounds", "2", "--csv", str(target))
    run_main(small, monkeypatch, *arguments, "--plan", str(plan))
    with target.open(newline="") as file:
        rows = list(csv.DictReader(file))
    errors = [float(row["p50"]) for row in rows if row["metric"] == "error against float64"]
    assert len(errors) == 4  # layers of two kinds of heads, prefill and decode
    assert max(errors) < 1e-5
    found = {(r["op"], r["backend"], r["metric"]): float(r["p50"]) for r in rows}
    for op, base in (("attention prefill", small.SDPA), ("attention decode", small.FOLDED)):
        assert found[op, small.DGA, "time"] > 0 < found[op, base, "time"]
        assert (op, small.DGA, f"speed over {base}") in found
    assert rows[-1]["shape"] == "4/2 heads of 16 by plan.json; 100 tokens; 1 thread"
    assert f"--plan {plan}" in rows[-1]["command"]


@pytest.mark.usefixtures("_compiled")
def test_a_plan_that_is_wrong_is_not_reported(
    small: ModuleType, plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plans = sys.modules["bench_plan"]
    right = plans.PlanBench.grouped
    monkeypatch.setattr(plans.PlanBench, "grouped", lambda *given: right(*given) * 1.01)
    target = tmp_path / "rows.csv"
    arguments = ("--heads", "4/2x16", "--lengths", "100", "--plan", str(plan))
    with pytest.raises(SystemExit, match=r"plan's layer of kind 0 .* away from float64"):
        run_main(small, monkeypatch, *arguments, "--csv", str(target))
    assert not target.exists()


@pytest.mark.usefixtures("_compiled")
def test_a_plan_for_other_heads_or_none_is_refused(
    small: ModuleType, plan: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit, match="has 2 key heads in a layer and --heads 1"):
        run_main(small, monkeypatch, "--heads", "4/1x16", "--plan", str(plan))
    with pytest.raises(SystemExit, match="is no fdvs-attention-plan"):
        run_main(small, monkeypatch, "--plan", str(tmp_path / "none.json"))


@pytest.mark.usefixtures("_compiled")
def test_a_run_goes_on_where_its_file_ends(
    small: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    arguments = ("--heads", "4/2x16", "--rounds", "1", "--csv", str(target), "--resume")
    run_main(small, monkeypatch, *arguments, "--lengths", "90", "--ops", "decode")
    before = target.read_text()
    run_main(small, monkeypatch, *arguments, "--lengths", "90", "--ops", "decode")
    assert target.read_text() == before
    run_main(small, monkeypatch, *arguments, "--lengths", "90", "110")
    assert target.read_text().startswith(before)
    with target.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["metric"] == "time"]
    told = [(row["op"].split()[1], row["shape"].split("; ")[1]) for row in rows]
    assert list(dict.fromkeys(told)) == [
        ("decode", "90 tokens"), ("prefill", "90 tokens"), ("prefill", "110 tokens"),
        ("decode", "110 tokens"),
    ]  # fmt: skip
    assert len(told) == len(set(zip(told, (row["backend"] for row in rows), strict=True)))


def test_tables_have_a_line_for_each_candidate_and_a_column_for_each_length(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    table = bench.Table(shape="4/2 heads of 16; 100 tokens; 1 thread", command="c", kind="mixed")
    longer = bench.Table(shape="4/2 heads of 16; 900 tokens; 1 thread", command="c", kind="mixed")
    speed = f"speed over {bench.SDPA}"
    rows = [
        table.row("prefill", bench.DGA, speed, "x", [9.0]),
        table.row("prefill", bench.DGA, speed, "x", [2.04]),
        longer.row("prefill", bench.DGA, speed, "x", [3.0, 4.0, 5.0]),
        longer.row("prefill", bench.DGA, "time", "ms", [1.0]),
        longer.row("cache", bench.DGA, "bytes of full keys and values", "%", [17.0]),
    ]
    target = tmp_path / "rows.csv"
    sys.modules["bench_rows"].append_rows(rows, target)
    run_main(bench, monkeypatch, "--table", str(target))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| prefill, 4/2 heads of 16, 1 thread | 100 | 900 |"
    name = "float32, bfloat16 products: dga cpp, speed over torch sdpa"
    assert lines[2] == f"| {name} | 2.0 | 4.0 (3.4 to 4.6) |"
    assert lines[-1] == "| float32, bfloat16 products, 4/2 heads of 16 | 17 |"
    assert len(lines) == 7
