"""EgoSchema: 500 five-way questions about three-minute egocentric clips, with LaViLa captions.

Files: the authors' `questions.json` [{q_uid, google_drive_id, question, "option 0".."option 4"}] of
all 5,031 with `subset_answers.json` {uid: answer} of 500; or both in one, as caption-based systems
carry it, `subset_anno.json` {uid: {..., truth}}. Captions: `lavila_subset.json` {uid: [180 texts]}.
Paper: Mangalam et al., arXiv 2308.09126.

The captions are narrations in Ego4D's notation, one a second: caption i covers [i, i + 1). Each
opens with a marker: "#C" for the camera wearer, who is called C, "#O" for another person. Markers
are removed: "#C C lifts a cup" becomes "C lifts a cup", "#O man X lifts a cup" becomes "man X lifts
a cup". C is not spelled out, because the questions call the camera wearer C, too.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets import checks
from fdvs.datasets.examples import Caption, ChoiceQuestion, Parsed
from fdvs.datasets.files import (
    MAX_CHARS,
    Record,
    check_id,
    json_list,
    json_object,
    plain_text,
    read_json,
)
from fdvs.errors import AbsentData, DataError

NUM_OPTIONS = 5
ANSWERED, ANSWERS = "subset_anno.json", "subset_answers.json"
# Every clip is three minutes long, with one caption a second.
CLIP_S = 180
_OPENING = re.compile(r"^#\s*[A-Za-z]\s+")
_STRAY = re.compile(r"#[A-Za-z]?(?![A-Za-z])")


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the questions; a question's id is the clip's."""
    choices = read_questions(files["questions"])
    return Parsed(choices=choices, durations_s={one.video_id: float(CLIP_S) for one in choices})


def read_questions(path: Path) -> tuple[ChoiceQuestion, ...]:
    """Parse subset_anno.json, or questions.json with the answers beside it.

    Raises DataError, AbsentData where questions.json has no subset_answers.json beside it.
    """
    if path.name == ANSWERED:
        records = json_object(read_json(path), where=str(path)).items()
        return tuple(_question_with_answer(uid, record, path) for uid, record in records)
    answers = _read_answers(path.with_name(ANSWERS))
    listed = json_list(read_json(path), where=str(path))
    asked = [Record(one, where=f"{path}, record {n}") for n, one in enumerate(listed, start=1)]
    questions = tuple(
        _question(record, name, answers[name])
        for record in asked
        if (name := record.name("q_uid")) in answers
    )
    checks.unique((question.id for question in questions), where=str(path))
    if missing := sorted(answers.keys() - {question.id for question in questions}):
        raise DataError(f"{path}: no question for {len(missing)} of the answers, e.g. {missing[0]}")
    return questions


def _read_answers(path: Path) -> dict[str, int]:
    if not path.is_file():
        raise AbsentData(f"{path}: no such file; questions.json needs it, or give {ANSWERED}")
    answers = Record(json_object(read_json(path), where=str(path)), where=str(path))
    return {
        check_id(uid, where=f"{path}: id"): answers.integer(uid, low=0, high=NUM_OPTIONS - 1)
        for uid in answers.fields
    }


def _question_with_answer(uid: str, value: Any, path: Path) -> ChoiceQuestion:
    record = Record(value, where=f"{path}, record {uid[:80]}")
    name = check_id(uid, where=f"{path}: id")
    if record.name("q_uid") != name:
        raise record.fault("q_uid", f"the record's own id {name}")
    return _question(record, name, record.integer("truth", low=0, high=NUM_OPTIONS - 1))


def _question(record: Record, name: str, answer: int) -> ChoiceQuestion:
    return ChoiceQuestion(
        id=name,
        video_id=name,
        question=record.text("question"),
        options=tuple(record.text(f"option {i}") for i in range(NUM_OPTIONS)),
        answer=answer,
    )


def read_captions(
    path: Path, video_ids: Collection[str], *, most: int
) -> dict[str, tuple[Caption, ...]]:
    """Parse lavila_subset.json, all of at most `most` videos. Raises DataError."""
    records = json_object(read_json(path), where=str(path))
    if len(records) > most:
        raise DataError(f"{path}: captions of {len(records)} videos; the official file has {most}")
    return {
        check_id(uid, where=f"{path}: id"): _captions(value, where=f"{path}, record {uid[:80]}")
        for uid, value in records.items()
    }


def _captions(value: Any, *, where: str) -> tuple[Caption, ...]:
    if not isinstance(value, list) or len(value) != CLIP_S:
        found = f"{len(value)} captions" if isinstance(value, list) else type(value).__name__
        raise DataError(f"{where}: {found}; expected {CLIP_S}, one a second")
    for second, text in enumerate(value):
        if not isinstance(text, str) or len(text) > MAX_CHARS:
            raise DataError(f"{where}, caption {second}: expected a text up to {MAX_CHARS} long")
    plain = ((i, readable(text)) for i, text in enumerate(value))
    return tuple(Caption(start_s=i, end_s=i + 1, text=text) for i, text in plain if text)


def readable(caption: str) -> str:
    """Return a narration without markers, "C" for the camera wearer.

    "#unsure", where the narrator did not recognise the thing, becomes "something".
    """
    text = re.sub(r"#\s*unsure", "something", plain_text(caption), flags=re.IGNORECASE)
    text = " ".join(_STRAY.sub(" ", _OPENING.sub("", text)).split())
    return re.sub(r"^c(?= )", "C", text)
