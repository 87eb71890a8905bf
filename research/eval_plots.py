"""Plots of `eval_attention.py`: quality against what is kept, and needles by depth and length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval_settings import REREAD


def _axes(path: Path, columns: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    import matplotlib.pyplot as plt

    # the same picture gives the same file
    matplotlib.rcParams["svg.hashsalt"] = "fdvs"
    figure, axes = plt.subplots(
        1, columns, figsize=(max(4.5, 3.4 * columns), 3.4), layout="constrained", squeeze=False
    )
    return figure, axes[0]


def _write(figure: Any, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


#: Settings that differ in their budget only, by what their names are made of, with and without
#: the ending of those that read twice.
CURVE = ("ask", "units_")
CURVES = {"": "read once, one budget for all heads", REREAD: "read twice, budgets from the text"}


def quality_plot(summary: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw perplexity over full attention against the keys and values kept, a panel a domain.

    Settings that differ in their budget only are joined to a curve.
    """
    domains = sorted({row["domain"] for row in summary})
    figure, axes = _axes(path, len(domains))
    shown = [row for row in summary if row["settings"] != "full"]
    names = sorted({_series(row["settings"]) for row in shown})
    for domain, axis in zip(domains, axes, strict=True):
        for index, name in enumerate(names):
            own = [r for r in shown if r["domain"] == domain and _series(r["settings"]) == name]
            _errorbars(axis, own, name, f"C{index}")
        axis.axhline(0, color="grey", lw=0.8)
        axis.set(title=domain, xlabel="keys and values kept, %", ylabel="perplexity, % more")
    known = dict(
        pair
        for axis in axes
        for pair in zip(*reversed(axis.get_legend_handles_labels()), strict=True)
    )
    figure.legend(known.values(), known, loc="outside lower center", ncol=2, fontsize=8)
    _write(figure, path)


def _series(name: str) -> str:
    """Return what a setting is called in the legend."""
    ending = _curve(name)
    return name if ending is None else CURVES[ending]


def _curve(name: str) -> str | None:
    """Return which curve a setting is a point of, or None."""
    ending = REREAD if name.endswith(REREAD) else ""
    return ending if name.removesuffix(REREAD).startswith(CURVE) else None


def _errorbars(axis: Any, rows: Sequence[dict[str, Any]], label: str, color: str) -> None:
    """Draw rows as points with their intervals, joined where there are several."""
    if not rows:
        return
    rows = sorted(rows, key=lambda row: row["kept_share"])
    more, low, high = ([100 * (row[k] - 1) for row in rows] for k in ("ratio", "low", "high"))
    spread = [
        [max(0.0, m - x) for m, x in zip(more, low, strict=True)],
        [max(0.0, x - m) for m, x in zip(more, high, strict=True)],
    ]
    kept = [100 * row["kept_share"] for row in rows]
    axis.errorbar(kept, more, yerr=spread, fmt="o-", capsize=3, label=label, color=color)


def needle_plot(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Draw the share of needles found by depth and length, a panel a setting."""
    kept = [row for row in rows if row["kind"] == "needle"]
    names = list(dict.fromkeys(row["settings"] for row in kept))
    lengths = sorted({row["tokens"] for row in kept})
    depths = sorted({row["depth"] for row in kept})
    figure, axes = _axes(path, len(names))
    for name, axis in zip(names, axes, strict=True):
        grid = [[_share(kept, name, length, depth) for length in lengths] for depth in depths]
        axis.imshow(grid, vmin=0, vmax=1, cmap="RdYlGn", aspect="auto")
        for y, line in enumerate(grid):
            for x, share in enumerate(line):
                axis.text(x, y, f"{share:.0%}", ha="center", va="center", fontsize=7)
        axis.set_xticks(range(len(lengths)), [str(length) for length in lengths])
        axis.set_yticks(range(len(depths)), [f"{depth:g}" for depth in depths])
        axis.set(title=name, xlabel="tokens", ylabel="depth")
    _write(figure, path)


def _share(rows: Sequence[dict[str, Any]], name: str, tokens: int, depth: float) -> float:
    hits = [
        row["found"]
        for row in rows
        if (row["settings"], row["tokens"], row["depth"]) == (name, tokens, depth)
    ]
    return sum(hits) / len(hits) if hits else float("nan")
