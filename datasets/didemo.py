"""DiDeMo: descriptions of moments in half-minute Flickr videos, joined for paragraph retrieval.

Files: `test_data.json` [{annotation_id, video, description, times [[i, j]], num_segments, ...}],
times in segments of five seconds, both ends included, one pair an annotator; and
`split_test_list.txt`, the ids of the videos that retrieval is reported on: 33 of test were no
longer available when that became usual. Papers: Hendricks et al., arXiv 1708.01641; the lists: Liu
et al., arXiv 1907.13487.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets import checks
from fdvs.datasets.examples import Parsed, Query
from fdvs.datasets.files import Record, check_id, json_records, read_text
from fdvs.errors import DataError

SEGMENT_S = 5.0
MAX_SEGMENTS = 6


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the descriptions, those of the videos in the list of ids where the split has one.

    One query a description; its span is the segments that most annotators chose, the first of
    equals. Join them with `examples.by_paragraph` for the published protocol.
    """
    queries = [_query(record) for record in json_records(files["descriptions"])]
    if "ids" in files:
        listed = read_ids(files["ids"])
        queries = [query for query in queries if query.video_id in listed]
        if not queries:
            raise DataError(
                f"{files['ids']}: none of its {len(listed)} videos is in {files['descriptions']}; "
                "give both files of the same split"
            )
    return Parsed(queries=queries)


def read_ids(path: Path) -> frozenset[str]:
    """Return the ids of a list, one a line. Raises DataError for a doubled or malformed one."""
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    ids = [check_id(line, where=f"{path}, line {n}") for n, line in enumerate(lines, start=1)]
    checks.unique(ids, where=str(path))
    if not ids:
        raise DataError(f"{path}: nothing in it; expected one video id a line")
    return frozenset(ids)


def _query(record: Record) -> Query:
    number = record.integer("annotation_id", low=0, high=10**7)
    num_segments = record.integer("num_segments", low=1, high=MAX_SEGMENTS)
    spans = [_segments(span, record) for span in record.sequence("times")]
    first, last = max(spans, key=spans.count)
    return Query(
        id=str(number),
        video_id=record.name("video"),
        text=record.text("description"),
        span=(first * SEGMENT_S, (min(last, num_segments - 1) + 1) * SEGMENT_S),
    )


def _segments(span: Any, record: Record) -> tuple[int, int]:
    if not isinstance(span, list) or len(span) != 2:
        raise record.fault("times", "pairs of segments [first, last]")
    both = Record({"first": span[0], "last": span[1]}, where=record.where)
    first = both.integer("first", low=0, high=MAX_SEGMENTS - 1)
    return first, both.integer("last", low=first, high=MAX_SEGMENTS - 1)
