"""ActivityNet-QA: open questions with short answers about ActivityNet's videos.

Files: `val_q.json` [{video_name, question, question_id}] with `val_a.json` [{answer, type,
question_id}], the same for test. Paper: Yu et al., arXiv 1906.02467.
"""

from __future__ import annotations

from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.errors import DataError
from fdvs.datasets.examples import OpenQuestion, Split
from fdvs.datasets.files import json_records
from fdvs.datasets.records import Record

NAME = "activitynet_qa"
#: The official categories: 0 to 2 by what is asked for, 3 to 8 ("free") by the answer.
KINDS = {
    "0": "Motion",
    "1": "Spatial Relation",
    "2": "Temporal Relation",
    "3": "Yes/No",
    "4": "Color",
    "5": "Object",
    "6": "Location",
    "7": "Number",
    "8": "Other",
}


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read test (the default) or val; `kind` is the official category's number, a key of KINDS.

    A video's id is YouTube's, without the "v_" of ActivityNet's file names.

    Raises DataError for a missing or malformed file and for questions without answer or the other
    way round, PartialData for fewer records than official (unless `allow_partial`), UnknownName.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    paths = checks.find_files(folder, card, split)
    answers = _by_id(paths["answers"])
    asked = _by_id(paths["questions"])
    if strange := sorted(asked.keys() ^ answers.keys()):
        raise DataError(
            f"{paths['questions']} and {paths['answers']}: {len(strange)} ids stand in one of them "
            f"only, e.g. {strange[0]}; give both files of the same split"
        )
    questions = [_question(name, record, answers[name]) for name, record in asked.items()]
    return checked_split(card, split, questions=questions, allow_partial=allow_partial)


def _by_id(path: Path) -> dict[str, Record]:
    records = [(record.name("question_id"), record) for record in json_records(path)]
    checks.unique((name for name, _ in records), where=str(path))
    return dict(records)


def _question(name: str, question: Record, answer: Record) -> OpenQuestion:
    return OpenQuestion(
        id=name,
        video_id=question.name("video_name"),
        question=question.text("question"),
        answer=answer.text("answer"),
        kind=str(answer.integer("type", low=0, high=len(KINDS) - 1)),
    )
