"""Plots of `eval_attention.py`: quality against what is kept, and needles by depth and length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any


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


def quality_plot(summary: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw perplexity over full attention against the keys and values kept, a panel a domain."""
    domains = sorted({row["domain"] for row in summary})
    figure, axes = _axes(path, len(domains))
    for domain, axis in zip(domains, axes, strict=True):
        for row in summary:
            if row["domain"] != domain or row["settings"] == "full":
                continue
            more, low, high = (100 * (row[k] - 1) for k in ("ratio", "low", "high"))
            spread = [[max(0.0, more - low)], [max(0.0, high - more)]]
            axis.errorbar([100 * row["kept_share"]], [more], yerr=spread, fmt="o", capsize=3)
            axis.annotate(
                f" {row['settings']}", (100 * row["kept_share"], more), fontsize=7, va="bottom"
            )
        axis.axhline(0, color="grey", lw=0.8)
        axis.set(title=domain, xlabel="keys and values kept, %", ylabel="perplexity, % more")
    _write(figure, path)


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
