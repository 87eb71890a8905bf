"""The roofline: work is counted right, floors are floors, and a wrong kernel is not reported."""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from fdvs.kernels.dga import DGAConfig, choose_backend, full_config

SMALL = DGAConfig(importance_rate=0.2, group_size=4, chunk=20, window=40, sinks=2, score_queries=6)


@pytest.fixture
def roofline(
    load_script: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> ModuleType:
    """The script, with settings that commit within few tokens."""
    made = load_script("research/bench_roofline.py")
    bench = sys.modules["bench_attention"]
    monkeypatch.setattr(bench, "DGAConfig", lambda: SMALL)
    monkeypatch.setattr(bench, "GATE_TOKENS", 130)
    monkeypatch.setattr(bench, "DECODE_STEPS", 4)
    monkeypatch.setattr(made, "SECONDS", 1e-3)
    return made


@pytest.fixture
def _compiled() -> None:
    try:
        choose_backend("cpp", config=SMALL)
    except ValueError as error:
        pytest.skip(f"no C++ backend here: {error}")


def test_work_is_what_every_query_sees_and_every_judge(roofline: ModuleType) -> None:
    shape, length = roofline.Shape.parse("4/2x8"), 133
    seen = 0
    for i in range(length):
        committed = [c for c in range(length) if SMALL.commit_time(c) <= i]
        seen += len(committed) * SMALL.units_per_chunk + i + 1 - len(committed) * SMALL.chunk
    judged = 0
    for c in [c for c in range(length) if SMALL.commit_time(c) < length]:
        last = SMALL.commit_time(c)
        judged += sum(i + 1 - c * SMALL.chunk for i in range(last - 5, last + 1))
    work = roofline.work_of(shape, length, SMALL)
    assert work.exponentials == 4 * seen
    assert work.products == 4 * seen * 4 * 8
    assert work.judging_exponentials == 4 * judged
    assert work.judging == 4 * judged * 2 * 8
    full = roofline.work_of(shape, length, full_config())
    assert full.exponentials == 4 * length * (length + 1) / 2
    assert full.judging == 0


def test_floors_are_work_over_rate(roofline: ModuleType) -> None:
    rates = roofline.Rates(float32=10.0, bfloat16=20.0, exp_float32=4.0, exp_bfloat16=5.0)
    work = roofline.Work(products=100.0, exponentials=40.0, judging=20.0, judging_exponentials=8.0)
    assert work.floors(rates, "float32") == (12.0, 24.0)
    assert work.floors(rates, "mixed") == (10.0, 17.0)
    other = roofline.Rates(float32=9.0, bfloat16=21.0, exp_float32=4.0, exp_bfloat16=1.0)
    assert rates.best(other).bfloat16 == 21.0
    assert rates.best(other).float32 == 10.0


def test_a_rate_is_measured_over_long_enough(
    roofline: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def run(times: int) -> None:
        clock[0] += times * 1e-5

    monkeypatch.setattr(roofline, "now", lambda: clock[0])
    assert roofline.rate_of(run) == pytest.approx(1e5)
    assert clock[0] > roofline.SECONDS


@pytest.mark.usefixtures("_compiled")
def test_a_run_reports_peaks_floors_and_what_is_reached(
    roofline: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = tmp_path / "rows.csv"
    arguments = ["--heads", "4/2x16", "--lengths", "300", "--rounds", "2", "--kinds", "float32"]
    monkeypatch.setattr(sys, "argv", ["bench_roofline.py", *arguments, "--csv", str(target)])
    roofline.main()
    with target.open(newline="") as file:
        rows = {(r["op"], r["backend"], r["metric"]): float(r["p50"]) for r in csv.DictReader(file)}
    peaks = [value for (op, _, _), value in rows.items() if op == "attention roofline"]
    assert len(peaks) == 4
    assert all(math.isfinite(peak) for peak in peaks)
    for op, base in (("prefill", roofline.SDPA), ("decode", roofline.FOLDED)):
        name = f"attention {op} roofline"
        speed = rows[name, roofline.DGA, f"speed over {base}"]
        for floor in ("overlapped", "one after another"):
            most = rows[name, floor, f"highest speed over {base}"]
            assert most > speed
            share = rows[name, floor, "share reached"]
            assert share == pytest.approx(100 * speed / most, rel=0.5)
        low, high = (rows[name, f, "time floor"] for f in ("overlapped", "one after another"))
        assert low < high


@pytest.mark.usefixtures("_compiled")
def test_a_wrong_kernel_has_no_roofline(
    roofline: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(roofline, "errors_at", lambda *_, **__: {"prefill dga cpp": 0.1})
    before = torch.get_float32_matmul_precision()
    target = tmp_path / "rows.csv"
    arguments = ["bench_roofline.py", "--kinds", "float32", "--csv", str(target)]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="away from float64"):
        roofline.main()
    assert not target.exists()
    assert torch.get_float32_matmul_precision() == before


def test_without_a_compiler_it_says_so(
    roofline: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(roofline, "load_sources", lambda _: (None, "no C++ compiler found"))
    with pytest.raises(SystemExit, match="bench_roofline: no C"):
        roofline.Loops()
