"""ActivityNet Captions: two independent human descriptions of the same videos, by sentences.

Files: `val.json` (val_1) and `test.json` (val_2), named so by 2D-TAN; the authors call them
`val_1.json` and `val_2.json`: {v_id: {duration, timestamps [[start, end]], sentences}}.
Paper: Krishna et al., arXiv 1705.00754.

Every sentence is a query with its span: the queries of partially relevant retrieval. For paragraph
retrieval join them with `forms.by_paragraph`. `forms.captions_of` makes the other description stand
for a video's chapters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fdvs.datasets import checks
from fdvs.datasets.cards import load_card
from fdvs.datasets.checked_split import checked_split
from fdvs.datasets.examples import Query, Split
from fdvs.datasets.files import json_object, read_json
from fdvs.datasets.records import Record, check_id, plain_text

NAME = "activitynet_captions"
MAX_S = 86_400.0
# Times are rounded to two digits: a span may end a hundredth after its video.
ROUNDING_S = 0.02


def load(folder: Path, *, split: str | None = None, allow_partial: bool = False) -> Split:
    """Read the sentences of val_1 (the default) or val_2; ids are `VIDEO_N`, N from 0.

    Raises DataError for a missing or malformed file, PartialData for one with fewer records than
    the official file (unless `allow_partial`), UnknownName for another split.
    """
    card = load_card(NAME)
    split = card.default_split if split is None else split
    path = checks.find_files(folder, card, split)["descriptions"]
    queries: list[Query] = []
    durations_s: dict[str, float] = {}
    for uid, value in json_object(read_json(path), where=str(path)).items():
        video_id = check_id(uid, where=f"{path}: id")
        record = Record(value, where=f"{path}, record {video_id}")
        durations_s[video_id] = record.number("duration", low=0.01, high=MAX_S)
        queries += _queries(video_id, record, durations_s[video_id])
    return checked_split(
        card, split, queries=queries, allow_partial=allow_partial, durations_s=durations_s
    )


def _queries(video_id: str, record: Record, duration_s: float) -> list[Query]:
    sentences, spans = record.sequence("sentences"), record.sequence("timestamps")
    if len(sentences) != len(spans):
        raise record.fault("timestamps", f"{len(sentences)} spans, one a sentence")
    return [
        Query(
            id=f"{video_id}_{number}",
            video_id=video_id,
            text=_text(sentence, record),
            span=_span(span, record, duration_s),
        )
        for number, (sentence, span) in enumerate(zip(sentences, spans, strict=True))
    ]


def _text(sentence: Any, record: Record) -> str:
    return Record({"sentence": sentence}, where=record.where).text("sentence")


def _span(span: Any, record: Record, duration_s: float) -> tuple[float, float]:
    if not isinstance(span, list) or len(span) != 2:
        raise record.fault("timestamps", f"[start, end] each, not {plain_text(repr(span))[:40]}")
    both = Record({"start": span[0], "end": span[1]}, where=record.where)
    start_s, end_s = both.span("start", "end", high=duration_s + ROUNDING_S)
    return start_s, min(end_s, duration_s)
