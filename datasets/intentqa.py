"""IntentQA: five-way questions about why people and animals do what they do, on NExT-QA's videos.

Files: `Intentqa_anno.json`, an object from question id to {q_uid, video_id, question, "option 0" ..
"option 4", truth, type}, and `action_captions_intentqa_cogagent.json`, from video id to captions in
time order. Paper: Li et al., "IntentQA: Context-aware Video Intent Reasoning", ICCV 2023. Files and
captions (CogAgent): VideoHV-Agent, arXiv 2603.04977.

The captions have no times: caption i stands for [i, i + 1), which are positions, not seconds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets import checks
from fdvs.datasets.examples import Caption, ChoiceQuestion, Parsed
from fdvs.datasets.files import (
    MAX_CHARS,
    Record,
    check_id,
    json_object,
    plain_text,
    read_json,
)
from fdvs.errors import DataError

NUM_OPTIONS = 5
# Causal (why, how) and temporal (current, next, previous), as in NExT-QA.
KINDS = ("CW", "CH", "TC", "TN", "TP")
MAX_CAPTIONS = 10_000  # of one video


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the questions; ids are those of the file."""
    path = files["questions"]
    records = json_object(read_json(path), where=str(path))
    choices = [_question(uid, value, path) for uid, value in records.items()]
    checks.unique((question.id for question in choices), where=str(path))
    return Parsed(choices=choices)


def _question(uid: str, value: Any, path: Path) -> ChoiceQuestion:
    record = Record(value, where=f"{path}, record {uid[:80]}")
    name = check_id(uid, where=f"{path}: id")
    if record.name("q_uid") != name:
        raise record.fault("q_uid", f"the record's own id {name}")
    return ChoiceQuestion(
        id=name,
        video_id=record.name("video_id"),
        question=record.text("question"),
        options=tuple(record.text(f"option {i}") for i in range(NUM_OPTIONS)),
        answer=record.integer("truth", low=0, high=NUM_OPTIONS - 1),
        kind=record.one_of("type", KINDS),
    )


def read_captions(
    path: Path, video_ids: Collection[str], *, most: int
) -> dict[str, tuple[Caption, ...]]:
    """Read the captions of some videos, in order; absent ones are left out. Raises DataError."""
    records = json_object(read_json(path), where=str(path))
    if len(records) > most:
        raise DataError(f"{path}: captions of {len(records)} videos; the official file has {most}")
    return {
        one: _captions(records[one], where=f"{path}, record {one[:80]}")
        for one in video_ids
        if one in records
    }


def _captions(value: Any, *, where: str) -> tuple[Caption, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_CAPTIONS:
        raise DataError(f"{where}: expected a list of 1 to {MAX_CAPTIONS} captions")
    for place, text in enumerate(value):
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise DataError(f"{where}, caption {place}: expected a text up to {MAX_CHARS} long")
    plain = ((place, plain_text(text)) for place, text in enumerate(value))
    found = tuple(Caption(start_s=i, end_s=i + 1, text=text) for i, text in plain if text)
    if not found:
        raise DataError(f"{where}: no caption with words")
    return found
