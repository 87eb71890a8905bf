"""NExT-QA, multiple choice: questions about everyday videos, with captions once a second.

Files: `val.csv` (video, question, answer, qid, type, a0..a4 and more) and
`nextqa_allcaps_1fps.zip`, one member `ID_cap.json` a video = {"0": caption, "1": ...}: caption i
covers [i, i + 1). Paper: Xiao et al., arXiv 2105.08276. Captions: VideoAgent, arXiv 2403.10517.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.caption_zip import read_caption_zip
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import add_captions, checked_split
from fdvs.datasets.errors import DataError
from fdvs.datasets.examples import ChoiceQuestion, Split
from fdvs.datasets.files import csv_records
from fdvs.datasets.records import Record

NAME = "nextqa"
NUM_OPTIONS = 5
# Causal (why, how), temporal (current, next, previous), descriptive (count, location, other).
KINDS = ("CW", "CH", "TC", "TN", "TP", "DC", "DL", "DO")
_OPTIONS = tuple(f"a{i}" for i in range(NUM_OPTIONS))
COLUMNS = ("video", "question", "answer", "qid", "type", *_OPTIONS)


def load(
    folder: Path,
    *,
    split: str | None = None,
    allow_partial: bool = False,
    with_captions: bool | None = None,
) -> Split:
    """Read the questions and the captions; by default the captions where the split has them.

    `durations_s` is the number of captions, known to the second, for captioned videos.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    has_captions = "captions" in card.split(split).files
    if with_captions and not has_captions:
        raise DataError(f"{card.title} {split}: nobody published captions; use val or the videos")
    wanted = has_captions if with_captions is None else with_captions
    paths = checks.find_files(
        folder, card, split, roles=("questions", "captions") if wanted else ("questions",)
    )
    choices = read_questions(paths["questions"])
    found = checked_split(card, split, choices=choices, allow_partial=allow_partial)
    if not wanted:
        return found
    most = card.split(split).videos
    captions = read_caption_zip(paths["captions"], found.video_ids, most=most)
    where = str(paths["captions"])
    found = add_captions(found, captions, where=where, allow_partial=allow_partial)
    ends = {one: of_video[-1].end_s for one, of_video in found.captions.items()}
    return replace(found, durations_s=ends)


def read_questions(path: Path) -> tuple[ChoiceQuestion, ...]:
    """Parse val.csv or test.csv; ids are `video_qid` as in the official predictions."""
    questions = tuple(_question(record) for record in csv_records(path, COLUMNS))
    checks.unique((question.id for question in questions), where=str(path))
    return questions


def _question(record: Record) -> ChoiceQuestion:
    video_id = record.name("video")
    return ChoiceQuestion(
        id=f"{video_id}_{record.integer('qid', low=0, high=10**6)}",
        video_id=video_id,
        question=record.text("question"),
        options=tuple(record.text(field) for field in _OPTIONS),
        answer=record.integer("answer", low=0, high=NUM_OPTIONS - 1),
        kind=record.one_of("type", KINDS),
    )
