"""The rows that can be evaluated: a task on a dataset, by name. No code of theirs is here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fdvs.errors import UnknownName

Task = Literal["choice", "open", "retrieval", "prvr", "made"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row. `metric` is the headline; `in_paper` tells the eight rows of arXiv 2412.06182.

    `texts` says where the words about the videos come from when neither videos nor a captions
    file is given; empty where there is nothing of the kind. `second_split` is the split that holds
    them, where they are another description. `known_split` is another split, whose questions and
    answers a control that sees no video may look up. `paragraphs` joins all sentences about a
    video to one query, as is usual for ActivityNet and DiDeMo.
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
