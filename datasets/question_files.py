"""The two forms that the files of MSRVTT-QA and MSVD-QA come in.

The authors publish JSON: [{id, video_id, question, answer, ...}] with numbers as ids. IG-VLM
carries the val splits as CSV: video_name, question_id, question, answer and more.
"""

from __future__ import annotations

import re
from pathlib import Path

from fdvs.datasets.examples import OpenQuestion
from fdvs.datasets.files import csv_records, json_records
from fdvs.datasets.records import Record

COLUMNS = ("video_id", "video_name", "question_id", "question", "answer")
# The five kinds of question of both datasets, told by the first word (Xu et al., 2017).
KINDS = ("what", "who", "how", "when", "where")
OTHER_KIND = "other"
MAX_NUMBER = 10**7


def read_qa(path: Path, *, numbers: range, video_prefix: str) -> tuple[OpenQuestion, ...]:
    """Parse the authors' JSON, whose video 12 is called `video_prefix` + "12", or the CSV.

    `numbers` are those of the split's videos: both datasets and all splits publish files of the
    same name and form. Raises DataError for a video outside of them.
    """
    if path.suffix == ".json":
        return tuple(_from_json(record, numbers, video_prefix) for record in json_records(path))
    return tuple(_from_csv(record, numbers) for record in csv_records(path, COLUMNS))


def _number(record: Record, numbers: range) -> int:
    return record.integer("video_id", low=numbers[0], high=numbers[-1])


def _from_json(record: Record, numbers: range, video_prefix: str) -> OpenQuestion:
    name = str(record.integer("id", low=0, high=MAX_NUMBER))
    return _question(record, name, f"{video_prefix}{_number(record, numbers)}")


def _from_csv(record: Record, numbers: range) -> OpenQuestion:
    _number(record, numbers)
    return _question(record, record.name("question_id"), record.name("video_name"))


def _question(record: Record, name: str, video_id: str) -> OpenQuestion:
    question = record.text("question")
    return OpenQuestion(
        id=name,
        video_id=video_id,
        question=question,
        answer=record.text("answer"),
        kind=kind_of(question),
    )


def kind_of(question: str) -> str:
    """Return the question's kind by its first word: one of KINDS, or "other"."""
    first = re.match(r"[a-z]*", question.lower())
    return first[0] if first and first[0] in KINDS else OTHER_KIND
