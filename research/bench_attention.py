"""Measure attention on a CPU: grouped (DGA) beside torch's full attention, our own, and a window.

    python research/bench_attention.py --heads 14/2x64 --lengths 2048 8192 --threads 1 2

Prefill reads a whole prompt, decode adds single tokens behind it. All candidates take turns in one
process, so that the machine's load hits all alike, and every ratio is one of the same round.
Times are of the thread where one is used, else of the wall.
  dga cpp              default settings; judging, building units and keeping the cache included;
                       a decode run is one chunk long, so it holds exactly one commit
  full cpp             the same kernel without groups: what the kernel alone is worth
  torch sdpa           full attention of torch (enable_gqa)
  torch sdpa folded    decode only: query heads of a key head as rows; the best torch baseline
  window torch sdpa    a sliding window of as many tokens as the DGA cache holds keys
Baselines of a decode write into buffers made beforehand, so they copy no keys. Before anything is
timed, every candidate is compared with float64; if one is off, the script says which and exits 1.
`--dtypes mixed`: float32 tensors whose products our kernel may round to bfloat16 (prefill only; the
decode is float32 as before), beside torch in float32. `bfloat16`: bfloat16 tensors everywhere.
`--plan FILE` measures a model's plan instead: all its layers beside as many of torch's.
Prints rows; `--csv` appends them, each piece as soon as it is measured, and `--resume` leaves out
what that file already has. `--table FILE` prints such a file as Markdown. Makes no claim.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import csv_rows
import torch
from bench_plan import PlanBench, chunk_of, plan_errors, plan_layers
from bench_rows import append_rows, new_row, now, write_rows
from bench_table import plot, tables
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa

from fdvs.kernels.dga import DGAConfig, DGALayerCache, choose_backend, dga_attention, full_config
from fdvs.kernels.dga.cpp import attend_cpp, multiplies_in_bfloat16
from fdvs.kernels.dga.unit_set import AttendInputs

GATE_TOKENS = 1200  # several commits at the default settings
#: Relative L2 error against float64 that still counts as correct.
TOLERANCES = {"float32": 1e-5, "mixed": 1e-2, "bfloat16": 1e-2}
DECODE_STEPS = 32  # tokens of one run of a baseline
WINDOW_TILE = 512  # queries of one call of the sliding window
DGA, FULL, SDPA, FOLDED, WINDOW = (
    "dga cpp", "full cpp", "torch sdpa", "torch sdpa folded", "window torch sdpa",
)  # fmt: skip
Runs = dict[str, Callable[[], Tensor]]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Heads of queries and of keys, and numbers in a head."""

    heads: int
    key_heads: int
    dim: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read `14/2x64`; raises argparse.ArgumentTypeError."""
        try:
            heads, rest = text.split("/")
            key_heads, dim = rest.split("x")
            shape = cls(heads=int(heads), key_heads=int(key_heads), dim=int(dim))
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not like 14/2x64") from error
        if min(shape.heads, shape.key_heads, shape.dim) < 1 or shape.heads % shape.key_heads:
            raise argparse.ArgumentTypeError(f"{text!r}: key heads must divide the heads")
        return shape


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """Random q, k, v [1, heads, tokens, dim]: a prompt of `length` tokens and a chunk behind it."""

    q: Tensor
    k: Tensor
    v: Tensor
    length: int
    config: DGAConfig

    @classmethod
    def draw(cls, shape: Shape, length: int, config: DGAConfig, kind: str = "float32") -> Prompt:
        random = torch.Generator().manual_seed(length)
        counts = (shape.heads, shape.key_heads, shape.key_heads)
        q, k, v = (
            torch.randn(1, count, length + config.chunk, shape.dim, generator=random).to(
                torch.bfloat16 if kind == "bfloat16" else torch.float32
            )
            for count in counts
        )
        return cls(q=q, k=k, v=v, length=length, config=config)

    def part(self, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the tokens of a span; views."""
        return tuple(x[:, :, first:last] for x in (self.q, self.k, self.v))  # type: ignore[return-value]

    def cache(self) -> DGALayerCache:
        """Return a cache that holds the prompt."""
        cache = DGALayerCache(self.config)
        grouped(self, 0, self.length, cache)
        return cache


def grouped(prompt: Prompt, first: int, last: int, cache: DGALayerCache) -> Tensor:
    q, k, v = prompt.part(first, last)
    out = dga_attention(q, k, v, config=prompt.config, cache=cache, backend="cpp")
    assert isinstance(out, Tensor)
    return out


def sliding(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """Attend from every token to the last `window` ones, itself among them; tile by tile."""
    outs = []
    for at in range(0, q.shape[2], WINDOW_TILE):
        end, first = min(at + WINDOW_TILE, q.shape[2]), max(0, at - window + 1)
        queries, keys = torch.arange(at, end)[:, None], torch.arange(first, end)
        seen = (keys <= queries) & (keys > queries - window)
        part = (slice(None), slice(None), slice(first, end))
        outs.append(sdpa(q[:, :, at:end], k[part], v[part], attn_mask=seen, enable_gqa=True))
    return torch.cat(outs, 2)


def prefill_runs(prompt: Prompt, window: int) -> Runs:
    q, k, v = prompt.part(0, prompt.length)

    def full() -> Tensor:
        out = dga_attention(q, k, v, config=full_config(), backend="cpp")
        assert isinstance(out, Tensor)
        return out

    return {
        SDPA: lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True),
        FULL: full,
        WINDOW: lambda: sliding(q, k, v, window),
        DGA: lambda: grouped(prompt, 0, prompt.length, DGALayerCache(prompt.config)),
    }


def decode_runs(prompt: Prompt, cache: DGALayerCache, window: int) -> Runs:
    """Return runs that add tokens one by one and give their outputs [1, H, steps, dim]."""
    states, scale = list(cache.states), prompt.q.shape[3] ** -0.5
    room_k, room_v = prompt.k.clone(), prompt.v.clone()

    def steps(attend: Callable[[Tensor, int], Tensor], count: int) -> Tensor:
        outs = []
        for at in range(prompt.length, prompt.length + count):
            room_k[:, :, at], room_v[:, :, at] = prompt.k[:, :, at], prompt.v[:, :, at]
            outs.append(attend(prompt.q[:, :, at : at + 1], at + 1))
        return torch.cat(outs, 2)

    def folded(q: Tensor, first: int, end: int) -> Tensor:
        rows = q.view(1, room_k.shape[1], -1, q.shape[3])
        return sdpa(rows, room_k[:, :, first:end], room_v[:, :, first:end]).view(q.shape)

    def plain(q: Tensor, end: int) -> Tensor:
        return sdpa(q, room_k[:, :, :end], room_v[:, :, :end], enable_gqa=True)

    def full(q: Tensor, end: int) -> Tensor:
        inputs = AttendInputs(
            q_BHQD=q, units=None, k_BKRD=room_k[:, :, :end], v_BKRE=room_v[:, :, :end],
            q_start=end - 1, raw_start=0, config=full_config(), scale=scale,
        )  # fmt: skip
        return attend_cpp(inputs)[0]

    def dga() -> Tensor:
        copy = DGALayerCache(prompt.config)
        copy.states = list(states)  # states are never changed in place
        span = range(prompt.length, prompt.length + prompt.config.chunk)
        return torch.cat([grouped(prompt, at, at + 1, copy) for at in span], 2)

    return {
        SDPA: lambda: steps(plain, DECODE_STEPS),
        FOLDED: lambda: steps(lambda q, end: folded(q, 0, end), DECODE_STEPS),
        FULL: lambda: steps(full, DECODE_STEPS),
        WINDOW: lambda: steps(lambda q, end: folded(q, max(0, end - window), end), DECODE_STEPS),
        DGA: dga,
    }


def dense64(prompt: Prompt, window: int | None = None) -> Tensor:
    """Attend in float64 over the whole [L, L] matrix."""
    q, k, v = (x.double() for x in (prompt.q, prompt.k, prompt.v))
    share = q.shape[1] // k.shape[1]
    logits = q @ k.repeat_interleave(share, 1).mT * q.shape[3] ** -0.5
    at = torch.arange(q.shape[2])
    hidden = at > at[:, None]
    if window is not None:
        hidden |= at <= at[:, None] - window
    weights = logits.masked_fill(hidden, -torch.inf).softmax(-1)
    return weights @ v.repeat_interleave(share, 1)


def errors_at(
    shape: Shape, config: DGAConfig, tokens: int = GATE_TOKENS, kind: str = "float32"
) -> dict[str, float]:
    """Return each candidate's relative L2 error against float64, `prefill ...` and `decode ...`.

    DGA is compared with the dense reference on the same units: its rounding, not its method.
    """
    prompt = Prompt.draw(shape, tokens, config, kind)
    window = tokens // 3
    wide = (x.double() for x in (prompt.q, prompt.k, prompt.v))
    dense, near = dense64(prompt), dense64(prompt, window)
    units = dga_attention(*wide, config=config, backend="reference")
    assert isinstance(units, Tensor)
    expected = {DGA: units, WINDOW: near}
    errors = {}
    for op, start, runs in (
        ("prefill", 0, prefill_runs(prompt, window)),
        ("decode", tokens, decode_runs(prompt, prompt.cache(), window)),
    ):
        for name, run in runs.items():
            out = run().double()
            want = expected.get(name, dense)[:, :, start : start + out.shape[2]]
            errors[f"{op} {name}"] = float((out - want).norm() / want.norm())
    return errors


def refuse_wrong(errors: dict[str, float], kind: str = "float32") -> None:
    """Exit with 1 and a message if a candidate is off (or not a number)."""
    most = TOLERANCES[kind]
    wrong = [f"{name} {error:.2g}" for name, error in errors.items() if not error <= most]
    if wrong:
        sys.exit(
            f"bench_attention: nothing is reported, because {', '.join(wrong)} is more than "
            f"{most:g} away from float64; run tests/kernels"
        )


def take_turns(runs: Runs, rounds: int) -> dict[str, list[float]]:
    """Return seconds per run and round; every other round goes backwards."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            started = now()
            runs[name]()
            seconds[name].append(now() - started)
    return seconds


def per_token(seconds: dict[str, list[float]], chunk: int) -> dict[str, list[float]]:
    """Divide the seconds of decode runs by their tokens."""
    counts = {name: chunk if name == DGA else DECODE_STEPS for name in seconds}
    return {name: [s / counts[name] for s in values] for name, values in seconds.items()}


def ratio(times: dict[str, list[float]], name: str, base: str) -> list[float]:
    """Return how many times faster than `base` a candidate is, round by round."""
    return [b / own for b, own in zip(times[base], times[name], strict=True)]


@dataclass(frozen=True, kw_only=True)
class Table:
    """Make rows that share their circumstances."""

    shape: str
    command: str
    kind: str

    @property
    def dtype(self) -> str:
        """What the tensors are, and how they are multiplied."""
        return {"mixed": "float32, bfloat16 products"}.get(self.kind, self.kind)

    def circumstances(self, op: str) -> tuple[str, str, str]:
        """Return what tells rows of one operation from those of others."""
        return f"attention {op}", self.shape, self.dtype

    def row(
        self, op: str, name: str, metric: str, unit: str, values: list[float]
    ) -> dict[str, str]:
        return new_row(
            op=f"attention {op}", backend=name, shape=self.shape, metric=metric, unit=unit,
            values=values, command=self.command, packages=("fdvs", "torch"),
            dtype=self.dtype,
        )  # fmt: skip

    def speeds(
        self, op: str, times: dict[str, list[float]], base: str, unit: str, factor: float
    ) -> list[dict[str, str]]:
        """Return rows of times, of ratios to a base, and of DGA over the kernel without groups."""
        rows = [
            self.row(op, name, "time", unit, [s * factor for s in values])
            for name, values in times.items()
        ]
        pairs = [(name, base) for name in times if name != base] + [(DGA, FULL)]
        return rows + [
            self.row(op, name, f"speed over {under}", "x", ratio(times, name, under))
            for name, under in pairs
        ]

    def kept(self, cache: DGALayerCache, full_bytes: int) -> list[dict[str, str]]:
        """Return rows of the bytes that the cache holds, by part."""
        parts = cache.num_bytes()
        rows = [self.row("cache", DGA, f"bytes of {name}", "B", [n]) for name, n in parts.items()]
        share = 100 * sum(parts.values()) / full_bytes
        return [*rows, self.row("cache", DGA, "bytes of full keys and values", "%", [share])]


def measure(
    shape: Shape, length: int, threads: int, kind: str, ops: list[str], args: argparse.Namespace
) -> list[dict[str, str]]:
    torch.set_num_threads(threads)
    table = table_of(shape, length, threads, kind, ops, args)
    if args.plan is not None:
        return measure_plan(shape, length, table, ops, args)
    prompt = Prompt.draw(shape, length, settings(args.window), kind)
    cache = prompt.cache()
    window = num_kept(cache)
    rows = table.kept(cache, 2 * prompt.k[:, :, :length].numel() * prompt.k.element_size())
    if "prefill" in ops:
        times = take_turns(prefill_runs(prompt, window), args.rounds)
        rows += table.speeds("prefill", times, SDPA, "ms", 1e3)
    if "decode" in ops:
        times = take_turns(decode_runs(prompt, cache, window), args.rounds)
        times = per_token(times, prompt.config.chunk)
        rows += table.speeds("decode", times, FOLDED, "us/token", 1e6)
    return rows


def table_of(
    shape: Shape, length: int, threads: int, kind: str, ops: list[str], args: argparse.Namespace
) -> Table:
    """Return the circumstances of one piece of a run."""
    name = f"{shape.heads}/{shape.key_heads} heads of {shape.dim}"
    if args.plan is not None:
        name += f" by {args.plan.name}"
    options = ("" if args.window is None else f" --window {args.window}") + (
        "" if args.plan is None else f" --plan {args.plan}"
    )
    return Table(
        shape=f"{name}; {length} tokens; {threads} thread{'s' if threads > 1 else ''}",
        command=f"{waiting()}research/bench_attention.py "
        f"--heads {shape.heads}/{shape.key_heads}x{shape.dim} --lengths {length} "
        f"--threads {threads} --rounds {args.rounds} --ops {' '.join(ops)} --dtypes {kind}"
        + options,
        kind=kind,
    )


def plan_bench(shape: Shape, length: int, plan: Path) -> PlanBench:
    """Return the layers of a plan on a random prompt."""
    layers = plan_layers(plan, shape.key_heads)
    steps = chunk_of(layers)
    prompt = Prompt.draw(shape, length, replace(full_config(), chunk=steps))
    return PlanBench(
        layers=layers, tensors=(prompt.q, prompt.k, prompt.v), length=length, steps=steps
    )


def measure_plan(
    shape: Shape, length: int, table: Table, ops: list[str], args: argparse.Namespace
) -> list[dict[str, str]]:
    """Return rows of all layers of a plan, beside as many of torch's."""
    bench, rows = plan_bench(shape, length, args.plan), []
    for op in ops:
        run = bench.prefill_seconds if op == "prefill" else bench.decode_seconds
        base, unit, factor = (SDPA, "ms", 1e3) if op == "prefill" else (FOLDED, "us/token", 1e6)
        pairs = [run() for _ in range(args.rounds)]
        times = {DGA: [own for own, _ in pairs], base: [other for _, other in pairs]}
        rows += [table.row(op, n, "time", unit, [x * factor for x in t]) for n, t in times.items()]
        rows.append(table.row(op, DGA, f"speed over {base}", "x", ratio(times, DGA, base)))
    return rows


def ops_left(table: Table, args: argparse.Namespace) -> list[str]:
    """Return which operations are not in the file yet; all without `--resume`."""
    done = {
        (row["op"], row["shape"], row["dtype"])
        for row in (csv_rows.read(args.csv) if args.resume else [])
        if row["metric"] == "time"
    }
    return [op for op in args.ops if table.circumstances(op) not in done]


def settings(window: int | None) -> DGAConfig:
    """Return the default settings, or those with another window."""
    return DGAConfig() if window is None else DGAConfig(window=window)


def waiting() -> str:
    """Return how threads wait for each other, where it was said: it decides many short calls."""
    policy = os.environ.get("OMP_WAIT_POLICY")
    return f"OMP_WAIT_POLICY={policy} " if policy else ""


def num_kept(cache: DGALayerCache) -> int:
    """Return how many keys the cache holds for each key head: units and raw tokens."""
    state = cache.states[0]
    assert state is not None
    return state.k_BKRD.shape[2] + (0 if state.units is None else state.units.num_units)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--heads", type=Shape.parse, nargs="+", default=[Shape.parse("14/2x64")])
    parser.add_argument("--lengths", type=int, nargs="+", default=[2048, 4096, 8192, 16384])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ops", nargs="+", default=["prefill", "decode"],
                        choices=["prefill", "decode"])  # fmt: skip
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=list(TOLERANCES))
    parser.add_argument("--window", type=int, help="of the grouped attention; default: its own")
    parser.add_argument("--plan", type=Path, help="settings by key head, for all layers")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--resume", action="store_true", help="leave out what --csv has")
    parser.add_argument("--table", type=Path, help="print this file of rows as Markdown; no run")
    parser.add_argument("--plot", type=Path, help="draw the times (needs matplotlib)")
    args = parser.parse_args()
    if args.table is not None:
        sys.stdout.writelines(f"{line}\n" for line in tables(csv_rows.read(args.table)))
        return
    refuse_unable(args.dtypes)
    rows: list[dict[str, str]] = []
    before = torch.get_float32_matmul_precision()
    with torch.no_grad():
        for kind in args.dtypes:
            torch.set_float32_matmul_precision("medium" if kind == "mixed" else "highest")
            for shape in args.heads:
                rows += report(shape, kind, args)
    torch.set_float32_matmul_precision(before)
    write_rows(rows, None)
    if args.plot:
        plot(rows, args.plot)


def refuse_unable(kinds: list[str]) -> None:
    """Exit with 1 and a message if this machine cannot run what is asked for."""
    try:
        choose_backend("cpp", config=DGAConfig())
    except ValueError as error:
        sys.exit(f"bench_attention: {error}")
    if set(kinds) != {"float32"} and not multiplies_in_bfloat16(torch.bfloat16):
        sys.exit("bench_attention: no AVX512-BF16 here; measure --dtypes float32 alone")


def report(shape: Shape, kind: str, args: argparse.Namespace) -> list[dict[str, str]]:
    """Check one head shape, then measure it; rows are in the file as soon as they are there."""
    pieces = []
    for threads in args.threads:
        for length in args.lengths:
            table = table_of(shape, length, threads, kind, args.ops, args)
            if ops := ops_left(table, args):
                pieces.append((length, threads, ops))
    if not pieces:
        return []
    rows = gate(shape, kind, args)
    append_rows(rows, args.csv)
    for length, threads, ops in pieces:
        print(f"{shape}, {kind}, {length} tokens, {threads} threads", file=sys.stderr)
        rows += (new := measure(shape, length, threads, kind, ops, args))
        append_rows(new, args.csv)
    return rows


def gate(shape: Shape, kind: str, args: argparse.Namespace) -> list[dict[str, str]]:
    """Return rows of the errors against float64; exits where one is too high."""
    torch.set_num_threads(max(args.threads))
    if args.plan is None:
        errors = errors_at(shape, settings(args.window), GATE_TOKENS, kind)
    else:
        errors = plan_errors(plan_bench(shape, GATE_TOKENS, args.plan))
    refuse_wrong(errors, kind)
    table = Table(
        shape=f"{shape.heads}/{shape.key_heads} heads of {shape.dim}; {GATE_TOKENS} tokens",
        command=f"research/bench_attention.py --heads {shape.heads}/{shape.key_heads}x{shape.dim} "
        f"--dtypes {kind}" + ("" if args.plan is None else f" --plan {args.plan}"),
        kind=kind,
    )
    return [
        table.row(*key.split(" ", 1), "error against float64", "relative", [error])
        for key, error in errors.items()
    ]


if __name__ == "__main__":
    main()
