"""Markdown tables and a bar chart of results, beside published numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fdvs.datasets.cards import Published
from fdvs.errors import how_to_install
from fdvs.pipelines.evaluation.result import EvalResult

NOT_COMPARABLE = (
    "Published numbers are for orientation only: they were made with other captions, other "
    "models and, where a split is partial, on other questions."
)

OURS, CONTROL, THEIRS = "#1f6f8b", "#b0b0b0", "#e0a030"
BAR_INCHES = 0.36

logger = logging.getLogger(__name__)


def result_table(results: Sequence[EvalResult]) -> str:
    """Return one Markdown line per row: score, interval, floor, control, counts, source."""
    lines = [
        "| row | split | score | 95 % interval | floor (TF-IDF) | another video | n | texts |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        cells = (
            result.row,
            result.split,
            f"{result.metric} {percent(result.score)}",
            interval_words(result.interval),
            percent(result.floor),
            percent(result.other_video),
            f"{result.num_items} on {result.num_videos} videos",
            result.source,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def detail_table(result: EvalResult) -> str:
    """Return all other controls, metrics and groups of one row."""
    parts = [("control", result.controls), ("metric", result.metrics), ("group", result.groups)]
    lines = ["| what | name | value |", "|---|---|---|"]
    for what, numbers in parts:
        lines += [f"| {what} | {name} | {number_words(name, numbers[name])} |" for name in numbers]
    return "\n".join(lines) + "\n"


def published_table(result: EvalResult, published: Iterable[Published]) -> str:
    """Return our score above the published ones of the row, with why they do not compare."""
    lines = [f"| system | {result.metric} | from | why it does not compare |", "|---|---|---|---|"]
    lines.append(f"| **this run** | **{percent(result.score)}** | {result.source} | |")
    for one in published:
        cells = (one.system, percent(one.scores.get(result.metric)), one.source)
        lines.append(f"| {' | '.join(cells)} | {one.not_comparable} |")
    return "\n".join([*lines, "", NOT_COMPARABLE, ""])


def report(result: EvalResult, published: Sequence[Published]) -> str:
    """Return the whole Markdown page of one row."""
    notes = "".join(f"- {note}\n" for note in result.notes)
    backends = "".join(f"- {role}: {name}\n" for role, name in result.backends.items())
    return "\n".join(
        [
            f"# {result.row}: {result.split}\n",
            result_table([result]),
            detail_table(result),
            f"{published_table(result, published)}" if published else "",
            f"Models\n\n{backends}" if backends else "",
            f"Notes\n\n{notes}" if notes else "",
            f"{result.seconds:.0f} s; a language model read {result.num_prompt_tokens} tokens.\n",
        ]
    )


def percent(value: float | None) -> str:
    """Return a fraction as percent with one digit; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.1f} %"


def interval_words(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}"


def number_words(name: str, value: float) -> str:
    """Return counts, ranks and seconds as numbers, everything else as percent."""
    is_rank = any(word in name for word in ("MedR", "MeanR", "SumR", "RSum"))
    is_plain = is_rank or name.startswith("num_") or name.endswith("_s") or value > 1
    return f"{value:.4g}" if is_plain else percent(value)


def bars_of(result: EvalResult, published: Sequence[Published]) -> list[tuple[str, float, str]]:
    """Return (label, score, colour): ours, then floor and controls, then published scores."""
    bars = [("FDVS (this run)", result.score, OURS)]
    if result.floor is not None:
        bars.append(("floor: TF-IDF", result.floor, CONTROL))
    if result.other_video is not None:
        bars.append(("control: another video's texts", result.other_video, CONTROL))
    bars += [(f"control: {name.replace('_', ' ')}", value, CONTROL)
             for name, value in result.controls.items() if 0 <= value <= 1]  # fmt: skip
    bars += [(one.system, one.scores[result.metric], THEIRS)
             for one in published if result.metric in one.scores]  # fmt: skip
    return bars


def save_plot(result: EvalResult, published: Sequence[Published], path: Path) -> bool:
    """Write an SVG; without matplotlib log a warning and return False."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no plot: matplotlib is not installed; %s", how_to_install("eval"))
        return False
    bars = bars_of(result, published)
    figure = Figure(figsize=(8, 1.2 + BAR_INCHES * len(bars)), layout="constrained")
    _draw(figure.subplots(), result, bars)
    path.parent.mkdir(parents=True, exist_ok=True)
    # without date and random ids equal results give equal files
    with rc_context({"svg.hashsalt": "fdvs"}):
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _draw(axes: Any, result: EvalResult, bars: Sequence[tuple[str, float, str]]) -> None:
    places = range(len(bars))
    values = [100 * value for _, value, _ in bars]
    axes.barh(places, values, color=[colour for _, _, colour in bars])
    if result.interval is not None:
        low, high = (100 * end for end in result.interval)
        axes.errorbar(values[0], 0, xerr=[[values[0] - low], [high - values[0]]], color="black",
                      capsize=3)  # fmt: skip
    axes.set_yticks(places, [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.bar_label(axes.containers[0], fmt="%.1f", padding=3)
    axes.set_xlabel(f"{result.metric}, % - {result.split}, n = {result.num_items}")
    axes.set_title(f"{result.row}: published numbers are for orientation only", fontsize=10)
    axes.margins(x=0.1)
