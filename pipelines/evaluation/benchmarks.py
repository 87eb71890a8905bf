"""The benchmark rows by name (a task on a dataset each), and what `fdvs eval --list` says of them.

A list of rows loads no model: the code that evaluates them is not imported here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fdvs.datasets.cards import DatasetCard, card_names, load_card
from fdvs.errors import UnknownName

Task = Literal["choice", "open", "retrieval", "prvr", "made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the benchmarks.

    Attributes:
        metric: the headline score.
        in_paper: whether it is one of the eight rows of arXiv 2412.06182.
        texts: where the words about the videos come from without `--videos` and `--captions`;
            empty where nothing is published.
        second_split: the split that holds these words, where they are a second description.
        known_split: a split whose questions and answers the question-only control may look up.
        paragraphs: join all sentences about a video to one query, as usual for ActivityNet and
            DiDeMo.
    """

    name: str
    task: Task
    dataset: str
    split: str
    metric: str
    in_paper: bool
    texts: str = ""
    second_split: str = ""
    known_split: str = ""
    paragraphs: bool = False


_PUBLISHED = "published captions"
_OTHER_PEOPLE = "a second description of the same videos by other people"
_OWN_FILMS = "films made from recipes"

_ALL = (
    Row(name="prvr-activitynet", task="prvr", dataset="activitynet_captions", split="val_1",
        metric="R@1", in_paper=True, texts=_OTHER_PEOPLE, second_split="val_2"),
    Row(name="prvr-charades", task="prvr", dataset="charades_sta", split="test", metric="R@1",
        in_paper=True),
    Row(name="retrieval-activitynet", task="retrieval", dataset="activitynet_captions",
        split="val_1", metric="R@1", in_paper=True, texts=_OTHER_PEOPLE, second_split="val_2",
        paragraphs=True),
    Row(name="retrieval-msrvtt", task="retrieval", dataset="msrvtt", split="test", metric="R@1",
        in_paper=True),
    Row(name="msrvtt-qa", task="open", dataset="msrvtt_qa", split="val", metric="accuracy",
        in_paper=True),
    Row(name="activitynet-qa", task="open", dataset="activitynet_qa", split="test",
        metric="accuracy", in_paper=True, known_split="val"),
    Row(name="egoschema", task="choice", dataset="egoschema", split="subset",
        metric="accuracy", in_paper=True, texts=_PUBLISHED),
    Row(name="nextqa", task="choice", dataset="nextqa", split="val", metric="accuracy",
        in_paper=True, texts=_PUBLISHED),
    Row(name="intentqa", task="choice", dataset="intentqa", split="test", metric="accuracy",
        in_paper=False, texts=_PUBLISHED),
    Row(name="msvd-qa", task="open", dataset="msvd_qa", split="val", metric="accuracy",
        in_paper=False),
    Row(name="retrieval-didemo", task="retrieval", dataset="didemo", split="test", metric="R@1",
        in_paper=False, paragraphs=True),
    Row(name="retrieval-youcook2", task="retrieval", dataset="youcook2", split="val",
        metric="R@1", in_paper=False),
    Row(name="synthetic", task="made", dataset="synthetic", split="made", metric="accuracy",
        in_paper=False, texts=_OWN_FILMS),
)  # fmt: skip

ROWS = {row.name: row for row in _ALL}


def row_named(name: str) -> Row:
    """Return a row. Raises UnknownName with near matches."""
    if name not in ROWS:
        raise UnknownName("evaluation row", name, ROWS)
    return ROWS[name]


def row_facts() -> list[dict[str, Any]]:
    """Return what `fdvs eval --list` shows: one JSON object per row, in the order of `ROWS`."""
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
    """Return which options a user has to give for the row."""
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
