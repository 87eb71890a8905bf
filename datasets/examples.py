"""What benchmark annotations become: questions, queries, captions, and the split that holds them.

Every adapter in this folder parses one dataset's official files into these. Ids are strings, times
are seconds, spans half-open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A published description of a stretch of a video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceQuestion:
    """A question with options; `answer` is the index of the right one, None where not public."""

    id: str
    video_id: str
    question: str
    options: tuple[str, ...]
    answer: int | None
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """A question with a short answer in words; `kind` is the official category."""

    id: str
    video_id: str
    question: str
    answer: str
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A text that describes a video, or the stretch `span` of it."""

    id: str
    video_id: str
    text: str
    span: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """The content of a split's files, in the order of the files, not yet checked as a whole.

    `durations_s` are those that the files give or imply, by video id.
    """

    choices: Sequence[ChoiceQuestion] = ()
    questions: Sequence[OpenQuestion] = ()
    queries: Sequence[Query] = ()
    durations_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split of a dataset as its files on disk hold it.

    `dataset` is the card's name; `name` adds the split, and "partial" where records are missing.
    `captions` are published ones, by video id, in time order; empty where there are none or none
    were asked for. `without_captions` are videos that a partial caption file lacks; their questions
    stay. `durations_s` are those that the files give or imply, by video id. `expected` is the
    official number of `videos` and `records`.
    """

    dataset: str
    name: str
    is_partial: bool
    video_ids: tuple[str, ...]
    choices: tuple[ChoiceQuestion, ...] = ()
    questions: tuple[OpenQuestion, ...] = ()
    queries: tuple[Query, ...] = ()
    captions: Mapping[str, tuple[Caption, ...]] = field(default_factory=dict)
    without_captions: tuple[str, ...] = ()
    durations_s: Mapping[str, float] = field(default_factory=dict)
    expected: Mapping[str, int] = field(default_factory=dict)


def by_video(queries: Sequence[Query]) -> dict[str, tuple[Query, ...]]:
    """Return the queries of each video, in the order of the file."""
    found: dict[str, list[Query]] = {}
    for query in queries:
        found.setdefault(query.video_id, []).append(query)
    return {video_id: tuple(of_video) for video_id, of_video in found.items()}


def paragraphs(queries: Sequence[Query]) -> tuple[Query, ...]:
    """Return one query a video: its texts joined in the order of the file; its id is the video's.

    The published protocol of paragraph retrieval (ActivityNet Captions, DiDeMo).
    """
    return tuple(
        Query(id=video_id, video_id=video_id, text=" ".join(query.text for query in of_video))
        for video_id, of_video in by_video(queries).items()
    )


def by_paragraph(split: Split) -> Split:
    """Return the split with one joined query a video (idempotent)."""
    return replace(split, queries=paragraphs(split.queries))


def captions_of(queries: Sequence[Query]) -> Mapping[str, tuple[Caption, ...]]:
    """Return queries with spans as captions by video, in time order; others are left out.

    One description of a video can then serve as its chapters while another is the query.
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
