"""Charades-STA: sentences about moments of half-minute films of daily life.

File: `charades_sta_test.txt`, a line "VIDEO START END##sentence", seconds. Paper: Gao et al., arXiv
1705.02101. For partially relevant retrieval the sentence is the query, whole videos the gallery.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.errors import DataError
from fdvs.datasets.examples import Query, Split
from fdvs.datasets.files import MAX_ROWS, read_text
from fdvs.datasets.records import Record, plain_text

NAME = "charades_sta"
MAX_S = 86_400.0


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read the test sentences; ids are `VIDEO_N`, N counts a video's sentences from 0.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    path = checks.find_files(folder, card, split)["sentences"]
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
    return checked_split(card, split, queries=queries, allow_partial=allow_partial)


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
