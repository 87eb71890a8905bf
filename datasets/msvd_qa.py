"""MSVD-QA: open questions made from captions, answers of one word.

Files: the authors' `val_qa.json`, or `msvd_qa_val.csv`, the same as IG-VLM carries it, where
videos go by their clip's name (YouTube id, start, end) and not by the authors' number. Paper: Xu
et al., ACM Multimedia 2017.
"""

from __future__ import annotations

from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.examples import Split
from fdvs.datasets.question_files import read_qa

NAME = "msvd_qa"
#: The authors number the videos, split by split; a file is called by prefix and number.
NUMBERS = {"val": range(1201, 1451)}
VIDEO_PREFIX = "vid"


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read val; `kind` is what, who, how, when, where or other.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    path = checks.find_files(folder, card, split)["questions"]
    questions = read_qa(path, numbers=NUMBERS[split], video_prefix=VIDEO_PREFIX)
    return checked_split(card, split, questions=questions, allow_partial=allow_partial)
