"""Charades-STA: sentences about moments of half-minute films of daily life.

File: `charades_sta_test.txt`, a line "VIDEO START END##sentence", seconds. Paper: Gao et al., arXiv
1705.02101. For partially relevant retrieval the sentence is the query, whole videos the gallery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from fdvs.datasets.examples import Parsed, Query
from fdvs.datasets.files import MAX_ROWS, Record, plain_text, read_text
from fdvs.errors import DataError

MAX_S = 86_400.0


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the sentences; ids are `VIDEO_N`, N counts a video's sentences from 0."""
    path = files["sentences"]
    lines = read_text(path).splitlines()
    if len(lines) > MAX_ROWS:
        raise DataError(f"{path}: over {MAX_ROWS} lines; give the dataset's own file")
    queries, seen = [], Counter[str]()
    for number, line in enumerate(lines, start=1):
        if line.strip():
            record = _record(line, where=f"{path}, line {number}")
            video_id = record.name("video")
            queries.append(_query(record, f"{video_id}_{seen[video_id]}"))
            seen[video_id] += 1
    if not queries:
        raise DataError(f"{path}: nothing in it; expected a line VIDEO START END##sentence each")
    return Parsed(queries=queries)


def _record(line: str, *, where: str) -> Record:
    place, mark, sentence = line.partition("##")
    cells = place.split()
    if not mark or len(cells) != 3:
        raise DataError(
            f"{where}: {plain_text(line)[:60]!r}; expected VIDEO START END##sentence, in seconds"
        )
    fields = dict(zip(("video", "start", "end"), cells, strict=True))
    return Record({**fields, "sentence": sentence}, where=where, is_text=True)


def _query(record: Record, name: str) -> Query:
    return Query(
        id=name,
        video_id=record.name("video"),
        text=record.text("sentence"),
        span=record.span("start", "end", high=MAX_S),
    )
