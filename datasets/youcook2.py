"""YouCook2, clip retrieval: one instruction finds its clip among those of all cooking videos.

File: `validation_youcook.csv`: end, start, task, text, video_id; seconds. A candidate is a clip,
not a video: the stretch `span` of `video_id`. Papers: Zhou et al., arXiv 1703.09788; this task and
file: Miech et al., arXiv 1912.06430 (MIL-NCE).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.examples import Query, Split
from fdvs.datasets.files import csv_records

NAME = "youcook2"
COLUMNS = ("video_id", "start", "end", "text")
MAX_S = 86_400.0


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read the validation clips; ids are `VIDEO_N`, N counts a video's clips from 0.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    path = checks.find_files(folder, card, split)["clips"]
    queries, seen = [], Counter[str]()
    for record in csv_records(path, COLUMNS):
        video_id = record.name("video_id")
        queries.append(
            Query(
                id=f"{video_id}_{seen[video_id]}",
                video_id=video_id,
                text=record.text("text"),
                span=record.span("start", "end", high=MAX_S),
            )
        )
        seen[video_id] += 1
    return checked_split(card, split, queries=queries, allow_partial=allow_partial)
