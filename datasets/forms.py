"""A split in another form: sentences joined to paragraphs, spans taken as captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fdvs.datasets.examples import Caption, Query, Split


def by_video(queries: Sequence[Query]) -> dict[str, tuple[Query, ...]]:
    """Return the queries of each video, in the order of the file."""
    found: dict[str, list[Query]] = {}
    for query in queries:
        found.setdefault(query.video_id, []).append(query)
    return {video_id: tuple(of_video) for video_id, of_video in found.items()}


def paragraphs(queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return one query a video: its texts joined in the order of the file, the id is the video's.

    The published protocol of paragraph retrieval (ActivityNet Captions, DiDeMo).
    """
    return tuple(
        Query(id=video_id, video_id=video_id, text=" ".join(query.text for query in of_video))
        for video_id, of_video in by_video(queries).items()
    )


def by_paragraph(split: Split) -> Split:
    """Return the split with one joined query a video; joining twice changes nothing."""
    return replace(split, queries=paragraphs(split.queries))


def captions_of(queries: Sequence[Query]) -> Mapping[str, tuple[Caption, ...]]:
    """Return descriptions with spans as captions by video, in time order.

    So one description of a video can stand for its chapters while another is the query. Queries
    without a span are left out.
    """
    return {
        video_id: tuple(
            sorted(
                (
                    Caption(start_s=query.span[0], end_s=query.span[1], text=query.text)
                    for query in of_video
                    if query.span is not None
                ),
                key=lambda caption: (caption.start_s, caption.end_s),
            )
        )
        for video_id, of_video in by_video(queries).items()
    }
