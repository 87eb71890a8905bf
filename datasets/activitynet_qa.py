"""ActivityNet-QA: open questions with short answers about ActivityNet's videos.

Files: `val_q.json` [{video_name, question, question_id}] with `val_a.json` [{answer, type,
question_id}], the same for test. Paper: Yu et al., arXiv 1906.02467.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.examples import OpenQuestion, Parsed
from fdvs.datasets.files import Record, json_records
from fdvs.errors import DataError

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


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read questions with their answers; `kind` is the official category, a key of KINDS.

    A video's id is YouTube's, without the "v_" of ActivityNet's file names.

    Raises DataError, also for questions without answer and answers without question.
    """
    answers = _by_id(files["answers"])
    asked = _by_id(files["questions"])
    if strange := sorted(asked.keys() ^ answers.keys()):
        raise DataError(
            f"{files['questions']} and {files['answers']}: {len(strange)} ids are in one of them "
            f"only, e.g. {strange[0]}; give both files of the same split"
        )
    questions = [_question(name, record, answers[name]) for name, record in asked.items()]
    return Parsed(questions=questions)


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
