"""Rows of `bench_attention.py` as Markdown tables (numbers are never typed by hand) and curves.

One table for each operation, head shape and number of threads; a column for each length.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

Row = dict[str, str]
OPS = ("attention prefill", "attention decode")


def tables(rows: Sequence[Row]) -> Iterator[str]:
    """Write the lines of all tables; of equal circumstances the last row counts."""
    ratios = [row for row in rows if row["metric"].startswith("speed over ") and row["op"] in OPS]
    for op in OPS:
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in ratios:
            if row["op"] == op:
                heads, _, threads = row["shape"].split("; ")
                groups.setdefault((heads, threads), []).append(row)
        for (heads, threads), own in groups.items():
            yield from one_table(f"{op.split()[1]}, {heads}, {threads}", own)
    yield from bytes_kept(rows)


def one_table(title: str, rows: Sequence[Row]) -> Iterator[str]:
    """Write one table: a line for each dtype, candidate and baseline."""
    lengths = sorted({length_of(row) for row in rows})
    yield f"| {title} | {' | '.join(map(str, lengths))} |"
    yield "|---" * (len(lengths) + 1) + "|"
    lines: dict[tuple[str, str, str], dict[int, str]] = {}
    for row in rows:
        key = (row["dtype"], row["backend"], row["metric"])
        lines.setdefault(key, {})[length_of(row)] = number(row)
    for (dtype, name, metric), cells in lines.items():
        values = " | ".join(cells.get(length, "") for length in lengths)
        yield f"| {dtype}: {name}, {metric} | {values} |"
    yield ""


def bytes_kept(rows: Sequence[Row]) -> Iterator[str]:
    """Write what the cache keeps, in percent of full keys and values."""
    kept: dict[tuple[str, str], dict[int, str]] = {}
    for row in rows:
        if row["metric"] == "bytes of full keys and values":
            heads = row["shape"].split("; ")[0]
            kept.setdefault((heads, row["dtype"]), {})[length_of(row)] = row["p50"]
    lengths = sorted({length for cells in kept.values() for length in cells})
    if kept:
        yield f"| bytes kept, % of full keys and values | {' | '.join(map(str, lengths))} |"
        yield "|---" * (len(lengths) + 1) + "|"
    for (heads, dtype), cells in kept.items():
        yield f"| {dtype}, {heads} | {' | '.join(cells.get(n, '') for n in lengths)} |"


def number(row: Row) -> str:
    """Return the median with its 20th and 80th percentile, where it was measured several times."""
    middle = f"{float(row['p50']):.1f}"
    if not row["p20"]:
        return middle
    return f"{middle} ({float(row['p20']):.1f} to {float(row['p80']):.1f})"


def length_of(row: Row) -> int:
    """Return the tokens of a row."""
    return int(row["shape"].split("; ")[1].split()[0])


def plot(rows: list[dict[str, str]], target: Path) -> None:
    """Draw time over length of the first head shape and thread count, prefill and decode."""
    try:
        from matplotlib import pyplot
    except ImportError:
        sys.exit("bench_attention: --plot needs matplotlib; pip install matplotlib, or leave it")
    times = [row for row in rows if row["metric"] == "time"]
    ops = list(dict.fromkeys(row["op"] for row in times))
    figure, fields = pyplot.subplots(1, len(ops), figsize=(6 * len(ops), 4), squeeze=False)
    for field, op in zip(fields[0], ops, strict=True):
        mine = [row for row in times if row["op"] == op]
        for name, (lengths, values) in curves(mine).items():
            field.loglog(lengths, values, marker="o", label=name)
        field.set(title=op, xlabel="tokens", ylabel=mine[0]["unit"])
        field.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(target)


def curves(rows: list[dict[str, str]]) -> dict[str, tuple[list[int], list[float]]]:
    """Return lengths and medians of each candidate, for the circumstances of the first row."""
    found: dict[str, tuple[list[int], list[float]]] = {}
    heads, _, threads = rows[0]["shape"].split("; ")
    for row in rows:
        own_heads, tokens, own_threads = row["shape"].split("; ")
        if (own_heads, own_threads) == (heads, threads):
            lengths, values = found.setdefault(row["backend"], ([], []))
            lengths.append(int(tokens.split()[0]))
            values.append(float(row["p50"]))
    return found
