"""The nouns of benchmarks: questions, queries, captions, and a split that holds them.

Every file of this folder parses one dataset's official files into these. Ids are strings, times
are seconds, spans half-open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """Words that somebody published about a stretch of a video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceQuestion:
    """A question with options; `answer` is the place of the right one, None where not public."""

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
class Split:
    """One split of a dataset as its files on disk hold it.

    `name` carries what the files are: the dataset, the split, and "partial" where records are
    missing. `captions` are published ones, by video id, in time order; empty where there are none
    or none were asked for. `without_captions` are the videos that a partial caption file lacks:
    their questions stay. `durations_s` holds what the files say or imply, by video id.
    `expected` is the official number of `videos` and `records`, `dataset` the card's name.
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
