"""ActivityNet Captions: two independent human descriptions of the same videos, by sentences.

Files: `val.json` (val_1) and `test.json` (val_2), named so by 2D-TAN; the authors call them
`val_1.json` and `val_2.json`: {v_id: {duration, timestamps [[start, end]], sentences}}.
Paper: Krishna et al., arXiv 1705.00754.

Every sentence is a query with its span: the queries of partially relevant retrieval. For paragraph
retrieval join them with `examples.by_paragraph`; `examples.captions_of` turns the other description
into captions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fdvs.datasets.examples import Parsed, Query
from fdvs.datasets.files import Record, check_id, json_object, plain_text, read_json

MAX_S = 86_400.0
# Times are rounded to two digits: a span may end a hundredth after its video.
ROUNDING_S = 0.02


def parse(files: Mapping[str, Path], split: str) -> Parsed:
    """Read the sentences; ids are `VIDEO_N`, N from 0."""
    path = files["descriptions"]
    queries: list[Query] = []
    durations_s: dict[str, float] = {}
    for uid, value in json_object(read_json(path), where=str(path)).items():
        video_id = check_id(uid, where=f"{path}: id")
        record = Record(value, where=f"{path}, record {video_id}")
        durations_s[video_id] = record.number("duration", low=0.01, high=MAX_S)
        queries += _queries(video_id, record, durations_s[video_id])
    return Parsed(queries=queries, durations_s=durations_s)


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
