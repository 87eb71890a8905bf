"""Evaluation for people: the list of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from fdvs.pipelines.show.tables import HEAD, console

COLUMNS = ("row", "task", "split", "records", "metric", "needs")


def show_row_facts(facts: Sequence[Mapping[str, Any]]) -> None:
    """Print one line a row; a star marks the rows of the paper."""
    table = Table(box=None, header_style=HEAD, pad_edge=False)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for fact in facts:
        table.add_row(
            fact["name"] + (" *" if fact["in_paper"] else ""),
            fact["task"],
            f"{fact['dataset']} {fact['split']}",
            str(fact["num_records"] or "-"),
            fact["metric"],
            fact["needs"],
        )
    out = console()
    out.print(table)
    out.print(
        "* row of arXiv 2412.06182. fdvs eval ROW --data FOLDER; fdvs eval all runs what can."
    )
