"""MSR-VTT 1k-A: 1,000 videos with one sentence each, the usual test of short-clip retrieval.

File: `msrvtt_test.csv`, also known as `MSRVTT_JSFUSION_test.csv`: key, vid_key, video_id, sentence.
Papers: Xu et al., CVPR 2016; the split: Yu et al., arXiv 1808.02559 (JSFusion).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.examples import Parsed, Query
from fdvs.datasets.files import csv_records

COLUMNS = ("key", "video_id", "sentence")


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the pairs; an id is the file's key ("ret0").

    Raises DataError, also for a video that occurs twice.
    """
    path = files["pairs"]
    queries = [
        Query(id=record.name("key"), video_id=record.name("video_id"), text=record.text("sentence"))
        for record in csv_records(path, COLUMNS)
    ]
    checks.unique((query.video_id for query in queries), where=f"{path}: video_id")
    return Parsed(queries=queries)
