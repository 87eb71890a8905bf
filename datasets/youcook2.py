"""YouCook2, clip retrieval: one instruction finds its clip among those of all cooking videos.

File: `validation_youcook.csv`: end, start, task, text, video_id; seconds. A candidate is a clip,
not a video: the stretch `span` of `video_id`. Papers: Zhou et al., arXiv 1703.09788; this task and
file: Miech et al., arXiv 1912.06430 (MIL-NCE).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fdvs.datasets.examples import Parsed, Query
from fdvs.datasets.files import csv_records

COLUMNS = ("video_id", "start", "end", "text")
MAX_S = 86_400.0


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the clips; ids are `VIDEO_N`, N counts a video's clips from 0."""
    queries, seen = [], Counter[str]()
    for record in csv_records(files["clips"], COLUMNS):
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
    return Parsed(queries=queries)
