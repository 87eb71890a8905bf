"""MSR-VTT 1k-A: 1,000 videos with one sentence each, the usual test of short-clip retrieval.

File: `msrvtt_test.csv`, also known as `MSRVTT_JSFUSION_test.csv`: key, vid_key, video_id, sentence.
Papers: Xu et al., CVPR 2016; the split: Yu et al., arXiv 1808.02559 (JSFusion).
"""

from __future__ import annotations

from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.examples import Query, Split
from fdvs.datasets.files import csv_records

NAME = "msrvtt"
COLUMNS = ("key", "video_id", "sentence")


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read the 1,000 pairs; an id is the file's key ("ret0").

    Raises DataError for a missing or malformed file or a video that comes twice, PartialData for
    fewer records than official (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    path = checks.find_files(folder, card, split)["pairs"]
    queries = [
        Query(id=record.name("key"), video_id=record.name("video_id"), text=record.text("sentence"))
        for record in csv_records(path, COLUMNS)
    ]
    checks.unique((query.video_id for query in queries), where=f"{path}: video_id")
    return checked_split(card, split, queries=queries, allow_partial=allow_partial)
