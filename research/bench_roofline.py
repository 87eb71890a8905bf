"""Measure what one thread of this processor can do, and how fast attention could be at most.

    python research/bench_roofline.py --heads 14/2x64 --lengths 8192 16384 --csv FILE

Small C++ loops (`roofline.cpp`, compiled as the attention kernel is) give the peak rate of
float32 multiply-adds, of products of bfloat16 pairs, of the kernel's own exponentials, and of
reading memory. Counting gives the work of grouped attention (DGA, default settings, judging
included). Work over rate is a time below which no kernel of the method can be:
  overlapped           only the slowest kind of work counts: nothing could be faster
  one after another    products and exponentials share the processor's arithmetic units, as they do
                       on most; what a perfect kernel would need
Over the time of torch's full attention **in the same round** these are the highest ratios that any
kernel could reach; beside them stands what ours does. Times are those of the thread (not of the
wall), so a busy machine counts less. Decode counts the bytes that are read instead of memory that
is reused. Refuses to report where the kernel is wrong, as `bench_attention.py` does.
"""

from __future__ import annotations

import argparse
import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import bench_attention
import torch
from bench_attention import (
    DGA,
    FOLDED,
    SDPA,
    Prompt,
    Shape,
    Table,
    decode_runs,
    errors_at,
    num_kept,
    per_token,
    prefill_runs,
    refuse_unable,
    refuse_wrong,
    settings,
)
from bench_rows import now, write_rows

from fdvs.kernels.dga import DGAConfig
from fdvs.kernels.dga.cpp import load_sources

SOURCE = Path(__file__).with_name("roofline.cpp")
SECONDS = 0.05  # of one measurement of a rate
KINDS = ("float32", "mixed")  # of products: as bench_attention.py calls them


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Say what one thread does in a second."""

    float32: float
    bfloat16: float
    exp_float32: float
    exp_bfloat16: float

    def best(self, other: Rates) -> Rates:
        """Return the higher of each: a peak is what was seen at least once."""
        return Rates(**{name: max(getattr(self, name), getattr(other, name)) for name in NAMES})


NAMES = {
    "float32": ("products float32", "operations", "GFLOP/s"),
    "bfloat16": ("products of bfloat16 pairs", "operations", "GFLOP/s"),
    "exp_float32": ("exponential float32", "exponentials", "G/s"),
    "exp_bfloat16": ("exponential for bfloat16", "exponentials", "G/s"),
}


class Loops:
    """The compiled loops."""

    def __init__(self) -> None:
        """Compile them; exits with 1 and a message where there is no compiler."""
        library, reason = load_sources((SOURCE,))
        if library is None:
            sys.exit(f"bench_roofline: {reason}")
        self.library = library
        for name in ("float", "pair", "exp_float", "exp_pair"):
            getattr(library, f"fdvs_roofline_{name}").restype = ctypes.c_float
            getattr(library, f"fdvs_roofline_{name}").argtypes = [ctypes.c_int64]
        for name in ("float", "pair", "exp"):
            getattr(library, f"fdvs_roofline_{name}_work").restype = ctypes.c_int64
        library.fdvs_roofline_read.restype = ctypes.c_float
        library.fdvs_roofline_read.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64]

    def rates(self) -> Rates:
        """Measure once; a rate is 0 where the processor cannot do it."""
        work = {n: getattr(self.library, f"fdvs_roofline_{n}_work")() for n in ("float", "pair")}
        exps = self.library.fdvs_roofline_exp_work()
        return Rates(
            float32=work["float"] * self._times_a_second("float"),
            bfloat16=work["pair"] * self._times_a_second("pair") if work["pair"] else 0.0,
            exp_float32=exps * self._times_a_second("exp_float"),
            exp_bfloat16=exps * self._times_a_second("exp_pair"),
        )

    def bytes_a_second(self, size: int) -> float:
        """Return how fast memory of so many bytes is read again and again."""
        data = torch.zeros(max(1, size // 4 // 128) * 128)
        per = rate_of(
            lambda n: self.library.fdvs_roofline_read(data.data_ptr(), data.numel(), n)
        )  # fmt: skip
        return per * data.numel() * 4

    def _times_a_second(self, name: str) -> float:
        return rate_of(getattr(self.library, f"fdvs_roofline_{name}"))


def rate_of(run: Callable[[int], object]) -> float:
    """Return how often a second `run(times)` does its work, once it runs for long enough."""
    times = 1
    while True:
        seconds = timed(partial(run, times))
        if seconds > SECONDS:
            return times / seconds
        times *= 4 if seconds < SECONDS / 8 else 2


def timed(run: Callable[[], object]) -> float:
    """Return the seconds that this thread was at work."""
    started = now()
    run()
    return now() - started


@dataclass(frozen=True, kw_only=True)
class Work:
    """Count what a prefill must do.

    Attributes:
        products: floating point operations of the attention itself.
        exponentials: of its softmax.
        judging: floating point operations of judging, always float32.
        judging_exponentials: of judging.
    """

    products: float
    exponentials: float
    judging: float = 0.0
    judging_exponentials: float = 0.0

    def floors(self, rates: Rates, kind: str) -> tuple[float, float]:
        """Return seconds if everything overlaps, and one after another."""
        short = kind != "float32"
        parts = (
            self.products / (rates.bfloat16 if short else rates.float32)
            + self.judging / rates.float32,
            self.exponentials / (rates.exp_bfloat16 if short else rates.exp_float32)
            + self.judging_exponentials / rates.exp_float32,
        )
        return max(parts), sum(parts)


def work_of(shape: Shape, length: int, config: DGAConfig) -> Work:
    """Count the work of a prefill; padding of tiles and masked numbers are not counted."""
    seen = sum(keys_seen(config, at) for at in range(length)) * shape.heads
    chunks = config.chunks_built(length)
    judges, span = config.score_queries, config.chunk + config.window
    judged = chunks * shape.heads * (judges * span - judges * (judges - 1) // 2)
    return Work(
        products=4.0 * shape.dim * seen, exponentials=seen, judging=2.0 * shape.dim * judged,
        judging_exponentials=judged,
    )  # fmt: skip


def keys_seen(config: DGAConfig, position: int) -> int:
    """Return units and raw tokens that the query at a position sees."""
    chunks = config.chunks_visible(position)
    return position + 1 - chunks * (config.chunk - config.units_per_chunk)


def prefill_rows(
    loops: Loops, shape: Shape, length: int, kind: str, rates: Rates, rounds: int, command: str
) -> list[dict[str, str]]:
    """Measure torch and our kernel in turn with the rates; return counts, floors and ratios."""
    config = settings(None)
    prompt = Prompt.draw(shape, length, config, kind)
    runs = prefill_runs(prompt, 1)
    seconds: dict[str, list[float]] = {SDPA: [], DGA: []}
    for _ in range(rounds):
        rates = rates.best(loops.rates())
        for name in seconds:
            seconds[name].append(timed(runs[name]))
    work = work_of(shape, length, config)
    table = table_of(shape, f"{length} tokens; 1 thread", command, kind)
    rows = [
        table.row("prefill roofline", DGA, "operations", "GFLOP",
                  [(work.products + work.judging) / 1e9]),
        table.row("prefill roofline", DGA, "exponentials", "G",
                  [(work.exponentials + work.judging_exponentials) / 1e9]),
        *(table.row("prefill roofline", n, "time", "ms", [s * 1e3 for s in seconds[n]])
          for n in seconds),
    ]  # fmt: skip
    floors = dict(zip(("overlapped", "one after another"), work.floors(rates, kind), strict=True))
    return rows + ceiling_rows(table, "prefill roofline", seconds, SDPA, floors, 1e3, "ms")


def ceiling_rows(
    table: Table, op: str, seconds: dict[str, list[float]], base: str, floors: dict[str, float],
    factor: float, unit: str,
) -> list[dict[str, str]]:  # fmt: skip
    """Return for each floor its time, the ratio it allows and the share of it that we reach."""
    pairs = list(zip(seconds[base], seconds[DGA], strict=True))
    rows = [table.row(op, DGA, f"speed over {base}", "x", [b / own for b, own in pairs])]
    for name, floor in floors.items():
        rows += [
            table.row(op, name, "time floor", unit, [floor * factor]),
            table.row(op, name, f"highest speed over {base}", "x", [b / floor for b, _ in pairs]),
            table.row(op, name, "share reached", "%", [100 * floor / own for _, own in pairs]),
        ]
    return rows


def decode_rows(
    loops: Loops, shape: Shape, length: int, rates: Rates, rounds: int, command: str
) -> list[dict[str, str]]:
    """Measure one token behind a prompt: what is read and multiplied, floors and ratios."""
    config = settings(None)
    prompt = Prompt.draw(shape, length, config)
    cache = prompt.cache()
    runs = decode_runs(prompt, cache, num_kept(cache))
    keys = sum(keys_seen(config, length + n) for n in range(config.chunk)) / config.chunk
    size = int(keys * shape.key_heads * shape.dim * 2 * 4)
    seconds: dict[str, list[float]] = {FOLDED: [], DGA: []}
    speed = 0.0
    for _ in range(rounds):
        rates, speed = rates.best(loops.rates()), max(speed, loops.bytes_a_second(size))
        for name in seconds:
            seconds[name].append(timed(runs[name]))
    seconds = per_token(seconds, config.chunk)
    work = Work(products=4.0 * shape.dim * keys * shape.heads, exponentials=keys * shape.heads)
    parts = (size / speed, *(work.floors(rates, "float32")))
    table = table_of(shape, f"{length} tokens; 1 thread", command, "float32")
    rows = [
        table.row("decode roofline", DGA, "bytes read", "B/token", [size]),
        table.row("decode roofline", DGA, "reading that many bytes", "GB/s", [speed / 1e9]),
        *(table.row("decode roofline", n, "time", "us/token", [s * 1e6 for s in seconds[n]])
          for n in seconds),
    ]  # fmt: skip
    floors = {"overlapped": max(parts[0], parts[1]), "one after another": parts[0] + parts[2]}
    return rows + ceiling_rows(table, "decode roofline", seconds, FOLDED, floors, 1e6, "us/token")


def table_of(shape: Shape, rest: str, command: str, kind: str) -> Table:
    return Table(
        shape=f"{shape.heads}/{shape.key_heads} heads of {shape.dim}; {rest}", command=command,
        kind=kind,
    )  # fmt: skip


def rate_rows(rates: Rates, command: str) -> list[dict[str, str]]:
    """Return the peaks of this processor."""
    return [
        Table(shape="1 thread", command=command, kind=name.removeprefix("exp_")).row(
            "roofline", backend, metric, unit, [getattr(rates, name) / 1e9]
        )
        for name, (backend, metric, unit) in NAMES.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Shape.parse, default=Shape.parse("14/2x64"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[8192, 16384])
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--ops", nargs="+", default=["prefill", "decode"],
                        choices=["prefill", "decode"])  # fmt: skip
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    refuse_unable(args.kinds)
    torch.set_num_threads(1)
    command = (
        f"research/bench_roofline.py --heads {args.heads.heads}/{args.heads.key_heads}"
        f"x{args.heads.dim} --lengths {' '.join(map(str, args.lengths))} --rounds {args.rounds}"
    )
    loops = Loops()
    with torch.no_grad():
        write_rows(measured(loops, args, command), args.csv)


def measured(loops: Loops, args: argparse.Namespace, command: str) -> list[dict[str, str]]:
    """Return the rows of a run; exits where the kernel is wrong."""
    before = torch.get_float32_matmul_precision()
    rates = loops.rates()
    for _ in range(4):
        rates = rates.best(loops.rates())
    rows = rate_rows(rates, command)
    try:
        for kind in args.kinds:
            torch.set_float32_matmul_precision("medium" if kind == "mixed" else "highest")
            errors = errors_at(args.heads, settings(None), bench_attention.GATE_TOKENS, kind)
            refuse_wrong(errors, kind)
            for length in args.lengths:
                print(f"{kind}, {length} tokens", file=sys.stderr)
                if "prefill" in args.ops:
                    rows += prefill_rows(
                        loops, args.heads, length, kind, rates, args.rounds, command
                    )
                if "decode" in args.ops and kind == "float32":
                    rows += decode_rows(loops, args.heads, length, rates, args.rounds, command)
    finally:
        torch.set_float32_matmul_precision(before)
    return rows


if __name__ == "__main__":
    main()
