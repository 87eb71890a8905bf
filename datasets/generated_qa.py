"""MSRVTT-QA and MSVD-QA: open questions generated from captions, with answers of one word.

The authors publish JSON, `val_qa.json` and `test_qa.json`: [{id, video_id, question, answer, ...}]
with numbers as ids. IG-VLM carries the val splits as CSV (`msrvtt_qa_val.csv`, `msvd_qa_val.csv`):
video_name, question_id, question, answer and more; there MSVD's videos go by their clip's name
(YouTube id, start, end). Paper: Xu et al., ACM Multimedia 2017.

Most published scores are those of test: a score on val says so in its name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fdvs.datasets.examples import OpenQuestion, Parsed
from fdvs.datasets.files import Record, csv_records, json_records

COLUMNS = ("video_id", "video_name", "question_id", "question", "answer")
# The kinds of question of both datasets, by the first word (Xu et al., 2017).
KINDS = ("what", "who", "how", "when", "where")
OTHER_KIND = "other"
MAX_NUMBER = 10**7
#: The authors number the videos, split by split.
MSRVTT_NUMBERS = {"val": range(6513, 7010), "test": range(7010, 10000)}
MSVD_NUMBERS = {"val": range(1201, 1451)}


def parse_msrvtt(files: Mapping[str, Path], split: str) -> Parsed:
    """Read MSRVTT-QA; video 12 is called "video12"."""
    return _parse(files["questions"], MSRVTT_NUMBERS[split], "video")


def parse_msvd(files: Mapping[str, Path], split: str) -> Parsed:
    """Read MSVD-QA; in the authors' JSON video 12 is called "vid12"."""
    return _parse(files["questions"], MSVD_NUMBERS[split], "vid")


def _parse(path: Path, numbers: range, video_prefix: str) -> Parsed:
    """Parse JSON or CSV by the file's suffix.

    Both datasets and all splits publish files of the same name and form, so a video whose number is
    outside `numbers` is a DataError.
    """
    if path.suffix == ".json":
        records = json_records(path)
        return Parsed(questions=[_from_json(one, numbers, video_prefix) for one in records])
    return Parsed(questions=[_from_csv(one, numbers) for one in csv_records(path, COLUMNS)])


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
    """Return the kind of a question by its first word: one of KINDS, or "other"."""
    first = re.match(r"[a-z]*", question.lower())
    return first[0] if first and first[0] in KINDS else OTHER_KIND
