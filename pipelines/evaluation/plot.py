"""A picture of one row: our score with its interval, floor and controls, and the published ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fdvs.datasets.cards import Published
from fdvs.pipelines.evaluation.result import EvalResult

OURS, CONTROL, THEIRS = "#1f6f8b", "#b0b0b0", "#e0a030"
BAR_INCHES = 0.36

logger = logging.getLogger(__name__)


def bars_of(result: EvalResult, published: Sequence[Published]) -> list[tuple[str, float, str]]:
    """Return (label, score, colour), ours first, then floor and controls, then published ones."""
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
    """Write an SVG; return False, and say so in the log, where matplotlib is not installed."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("no plot: matplotlib is not installed; pip install 'fdvs[eval]'")
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
