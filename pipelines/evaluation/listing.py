"""What `fdvs eval --list` tells: every row with its files, licence and what it needs."""

from __future__ import annotations

from typing import Any

from fdvs.datasets.cards import DatasetCard, card_names, load_card
from fdvs.pipelines.evaluation.benchmarks import ROWS, Row


def row_facts() -> list[dict[str, Any]]:
    """Return one plain object a row, in the order of the rows."""
    return [_facts(row) for row in ROWS.values()]


def _facts(row: Row) -> dict[str, Any]:
    card = load_card(row.dataset) if row.dataset in card_names() else None
    return {
        "name": row.name,
        "task": row.task,
        "dataset": row.dataset,
        "split": row.split,
        "metric": row.metric,
        "in_paper": row.in_paper,
        "needs": needs_of(row),
        "texts": row.texts or "none published: needs --videos or --captions",
        **_card_facts(row, card),
    }


def needs_of(row: Row) -> str:
    """Return what a user has to give."""
    if row.task == "made":
        return "nothing"
    return "--data" if row.texts else "--data and --videos or --captions"


def _card_facts(row: Row, card: DatasetCard | None) -> dict[str, Any]:
    if card is None:
        return {"about": "Films made from recipes; the truth is known by construction.",
                "licence": "Apache-2.0", "files": [], "num_videos": None, "num_records": None,
                "comparable": "With nothing published."}  # fmt: skip
    split = card.split(row.split)
    files = [name for names in split.files.values() for name in names[:1]]
    return {
        "about": card.about,
        "licence": card.licence,
        "files": files,
        "num_videos": split.videos,
        "num_records": split.records,
        "comparable": card.comparable,
    }
