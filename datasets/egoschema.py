"""EgoSchema: 500 five-way questions about three-minute egocentric clips, with LaViLa captions.

Files: the authors' `questions.json` [{q_uid, google_drive_id, question, "option 0".."option 4"}] of
all 5,031 with `subset_answers.json` {uid: answer} of 500; or both in one, as caption-based systems
carry it, `subset_anno.json` {uid: {..., truth}}. Captions: `lavila_subset.json` {uid: [180 texts]}.
Paper: Mangalam et al., arXiv 2308.09126.

The captions are narrations in Ego4D's notation, one a second: caption i covers [i, i + 1). A
marker opens each: "#C" says that the camera wearer acts, who is called C; "#O" that another
person does. The markers go, the words stay: "#C C lifts a cup" becomes "C lifts a cup", "#O man X
lifts a cup" becomes "man X lifts a cup". C is not spelled out, for the questions call the camera
wearer C, too.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import add_captions, checked_split
from fdvs.datasets.errors import AbsentData, DataError
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.datasets.files import json_list, json_object, read_json
from fdvs.datasets.records import MAX_CHARS, Record, check_id, plain_text

NAME = "egoschema"
NUM_OPTIONS = 5
ANSWERED, ANSWERS = "subset_anno.json", "subset_answers.json"
# Every clip of EgoSchema is three minutes long, and LaViLa's captions are one a second.
CLIP_S = 180
_OPENING = re.compile(r"^#\s*[A-Za-z]\s+")
_STRAY = re.compile(r"#[A-Za-z]?(?![A-Za-z])")


def load(
    folder: Path,
    *,
    split: str | None = None,
    allow_partial: bool = False,
    with_captions: bool = True,
) -> Split:
    """Read the subset's questions and, unless `with_captions` is off, its captions.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    roles = ("questions", "captions") if with_captions else ("questions",)
    paths = checks.find_files(folder, card, split, roles=roles)
    choices = read_questions(paths["questions"])
    found = checked_split(
        card,
        split,
        choices=choices,
        allow_partial=allow_partial,
        durations_s={question.video_id: float(CLIP_S) for question in choices},
    )
    if not with_captions:
        return found
    captions = read_captions(paths["captions"], most=card.split(split).videos)
    where = str(paths["captions"])
    return add_captions(found, captions, where=where, allow_partial=allow_partial)


def read_questions(path: Path) -> tuple[ChoiceQuestion, ...]:
    """Parse subset_anno.json, or questions.json with its answers; a question's id is the clip's.

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


def read_captions(path: Path, *, most: int) -> dict[str, tuple[Caption, ...]]:
    """Parse lavila_subset.json, at most `most` videos. Raises DataError."""
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
    """Return a narration as plain words: no markers, "C" for the camera wearer.

    "#unsure" stands where the narrator did not know the thing and becomes "something".
    """
    text = re.sub(r"#\s*unsure", "something", plain_text(caption), flags=re.IGNORECASE)
    text = " ".join(_STRAY.sub(" ", _OPENING.sub("", text)).split())
    return re.sub(r"^c(?= )", "C", text)
