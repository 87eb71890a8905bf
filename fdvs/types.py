"""The data types that stages exchange: frozen dataclasses, independent of any model.

Times are presentation seconds from the first picture of the video; intervals are half-open
`[start_s, end_s)`; order is time order unless a name says `ranked_`. Images are RGB uint8
[H, W, 3], upright (rotation and sample aspect ratio applied).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fdvs.shown import html_of

Image = NDArray[np.uint8]
Vectors = NDArray[np.float32]
Mask = NDArray[np.bool_]
Scores = NDArray[np.float32]
JsonDict = dict[str, Any]
SpanType = TypeVar("SpanType", bound="Span")


def check_interval(what: str, start_s: float, end_s: float) -> None:
    """Raise ValueError unless 0 <= start_s < end_s."""
    if not 0 <= start_s < end_s:
        raise ValueError(f"{what}: need 0 <= start_s < end_s, got [{start_s}, {end_s})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Where the streams of a file lie on its one clock, in seconds from the first decoded picture.

    `origin_s` is that picture's time on the container's own clock; in a file without pictures the
    first sound's. `pictures_end_s` is 0.0 without pictures, `sound_start_s` is negative where the
    sound begins before the first picture. `duration_s` is the end of pictures and sound together.
    """

    origin_s: float
    pictures_end_s: float
    sound_start_s: float | None
    sound_end_s: float | None
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInfo:
    """What a probe measured of one file.

    `duration_s` is measured from the packets: the end of the pictures, or of the sound where that
    goes on; `declared_duration_s` is what the header claims. A file of sound alone has a width and
    height of 0. A picture is turned counterclockwise by `rotation_deg` and then, if `is_mirrored`,
    left and right are swapped. `key_times_s` are the presentation times of the keyframes, sorted,
    the first is 0.0. `is_timed` is False if time stamps are missing or run backwards: such a file
    is read sequentially and its frames are timed by the average rate. `stills_s` are the stretches
    (start, end) of more than a minute without a new picture or sound.
    """

    width_px: int
    height_px: int
    duration_s: float
    declared_duration_s: float | None
    fps: float | None
    rotation_deg: int
    codec: str
    container: str
    stream_index: int
    has_audio: bool
    is_timed: bool
    num_packets: int
    key_times_s: tuple[float, ...]
    warnings: tuple[str, ...] = ()
    timeline: Timeline | None = None
    is_mirrored: bool = False
    stills_s: tuple[tuple[float, float], ...] = ()

    @property
    def has_pictures(self) -> bool:
        return self.width_px > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A half-open stretch [start_s, end_s) of one video."""

    video_id: str
    index: int
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        check_interval(f"clip {self.index} of {self.video_id}", self.start_s, self.end_s)

    @property
    def duration_s(self) -> float:
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One decoded picture. `time_s` is its own presentation time, not the time asked for.

    `detail` is the same picture in a larger size, where that was asked for and the film has it.
    """

    time_s: float
    image: Image
    detail: Image | None = None

    def __repr__(self) -> str:
        return f"Frame(time_s={self.time_s}, image={self.image.shape})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which weights produced a result: part of every fingerprint, printed beside every result.

    `is_stand_in` marks an offline substitute that must never be called CLIP or VLM.
    """

    role: str
    backend: str
    name: str
    revision: str = ""
    weights_sha256: str = ""
    is_stand_in: bool = False

    def label(self) -> str:
        """Return a short name for people, e.g. `tags (offline stand-in)`."""
        at = f"@{self.revision[:12]}" if self.revision else ""
        return f"{self.name}{at}" + (" (offline stand-in)" if self.is_stand_in else "")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClipView:
    """What a describer is given of one clip: only the kept frames, with their embeddings.

    `vectors` are the raw image embeddings [num_kept, D] of `frames` by the model `embedder`;
    `motion` is the mean absolute difference of neighbouring sampled frames (0: still, at most 1).
    """

    video_path: Path
    clip: Clip
    frames: tuple[Frame, ...]
    vectors: Vectors | None = None
    embedder: ModelIdentity | None = None
    motion: float = 0.0

    def observation(self, source: str, text: str, confidence: float | None = None) -> Observation:
        """Return an observation that holds for the whole clip."""
        return Observation(
            source=source,
            text=text,
            start_s=self.clip.start_s,
            end_s=self.clip.end_s,
            confidence=confidence,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One thing that a describer noticed in a clip, in words: untrusted text."""

    source: str
    text: str
    start_s: float
    end_s: float
    confidence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """The note on one clip; `index` is the clip's.

    `text` holds all that is known, `title` is a heading shown in the clip, and `said` are the
    sentences of `text` that are spoken or subtitled, `said_s` when each begins and ends, in seconds
    (empty in chapters of older versions). A stored story keeps neither. `injections`
    are texts of the clip that read like an order to a model: `text` quotes them behind a mark, and
    no model is shown them (`fdvs.prompting.marks`).
    """

    video_id: str
    index: int
    start_s: float
    end_s: float
    text: str
    title: str = ""
    said: tuple[str, ...] = ()
    said_s: tuple[tuple[float, float], ...] = ()
    injections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A sentence of a scene or story and the indices of the clips it came from, at least one.

    `spans_s` are start and end in seconds of where it is said or shown, one for each clip; empty
    where that is not known better than by the clips' own times (see `Story.spans_of`).
    """

    text: str
    clips: tuple[int, ...]
    spans_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A run of consecutive kept chapters about one subject; `chapters` are clip indices.

    `title` is a heading shown in the scene or a telling phrase, "" where there is neither.
    """

    index: int
    start_s: float
    end_s: float
    chapters: tuple[int, ...]
    sentences: tuple[Sentence, ...]
    title: str = ""

    @property
    def text(self) -> str:
        return " ".join(s.text for s in self.sentences)


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The hierarchy of one video: sentences of the whole, scenes, kept chapters.

    `writers` says what wrote each level (chapter, scene, story).
    """

    video_id: str
    duration_s: float
    sentences: tuple[Sentence, ...]
    scenes: tuple[Scene, ...]
    chapters: tuple[Chapter, ...]
    num_clips: int
    writers: dict[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        return " ".join(s.text for s in self.sentences)

    def spans_of(self, sentence: Sentence) -> tuple[tuple[float, float], ...]:
        """Return start and end in seconds of a sentence, one for each clip it came from."""
        if sentence.spans_s:
            return sentence.spans_s
        known = {c.index: (c.start_s, c.end_s) for c in self.chapters if c.index in sentence.clips}
        return tuple(known[clip] for clip in sentence.clips if clip in known)

    def _repr_html_(self) -> str | None:
        return html_of(self)


Level = Literal["story", "scene", "chapter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch [start_s, end_s) of a video; `name` is the video's name in the library."""

    video_id: str
    name: str
    start_s: float
    end_s: float

    def where(self) -> JsonDict:
        """Return the four fields, to create another span of the same place."""
        return {
            "video_id": self.video_id,
            "name": self.name,
            "start_s": self.start_s,
            "end_s": self.end_s,
        }


def in_time_order(spans: Iterable[SpanType], *, videos: Sequence[str]) -> tuple[SpanType, ...]:
    """Return spans in the order of their videos in `videos` (ids), then by start."""
    return tuple(sorted(spans, key=lambda span: (videos.index(span.video_id), span.start_s)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment(Span):
    """A ranked span that matches a query, with the text that matched.

    `score` is the cosine of texts; `picture_score` that of the pictures, if they matched.
    `relevance` is the number that results are ordered by, at most 1.0 (see
    `fdvs.search.ranking.relevance`), None where nothing was ranked. `path` is the video's file.
    """

    score: float
    text: str
    clips: tuple[int, ...]
    matched_by: tuple[str, ...] = ()
    picture_score: float | None = None
    relevance: float | None = None
    path: str = ""

    def _repr_html_(self) -> str | None:
        return html_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoHit(Span):
    """A ranked video with its best text; `score` is that text's cosine to the query.

    `relevance` and `path` are as in `Moment`.
    """

    score: float
    level: Level
    text: str
    relevance: float = 0.0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation(Span):
    """A span that supports a sentence; always one of an answer's evidence.

    `support` is how well its text supports the sentence, 0 to 1. `said_s` is when just the words
    quoted are said, start and end in seconds; None where only the chapter's time is known.
    """

    support: float
    said_s: tuple[float, float] | None = None

    @property
    def at_s(self) -> tuple[float, float]:
        """Start and end in seconds, as exactly as they are known."""
        return self.said_s or (self.start_s, self.end_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerSentence:
    """A sentence of an answer and what supports it; without citations nothing does.

    `support` is the best of any chapter looked at, also where that is too little.
    """

    text: str
    support: float
    citations: tuple[Citation, ...] = ()

    @property
    def is_supported(self) -> bool:
        return bool(self.citations)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredOption:
    """An option of a multiple-choice question; scores compare within the question only."""

    text: str
    score: float
    parts: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskTiming:
    """Seconds of each part of an answer; 0 for what was not done.

    `story` says where the reading of the prompt's fixed part came from: "read", "from memory",
    "from cache" (on disk), or "" where nothing is read ahead.
    """

    retrieve_s: float = 0.0
    read_s: float = 0.0
    first_token_s: float = 0.0
    write_s: float = 0.0
    check_s: float = 0.0
    story: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer and the chapters it rests on, in time order.

    Attributes:
        text: the `sentences` with their citations `[NAME @ start-end]`; a refusal where `refused`.
        evidence: the chapters found; where `refused`, the nearest ones.
        backend: who answered; `attention` says which attention a language model ran.
        removed: sentences of the language model that nothing supports.
        reason: why the question was `refused`.
        support: the mean of the sentences' support, 0 to 1.
        fit: how well the question fits the chapters (see `fdvs.answers.fit`).
        options: those of a multiple-choice question; `chosen` is a place in it.
        num_background: the chapters of other videos that the options were weighed against.
        second_look: what a captioner says when shown the cited clips again, unchecked.
        notes: what was shortened or removed.
    """

    question: str
    text: str
    evidence: tuple[Moment, ...]
    backend: str
    attention: str
    num_prompt_tokens: int = 0
    num_answer_tokens: int = 0
    seconds: float = 0.0
    sentences: tuple[AnswerSentence, ...] = ()
    removed: tuple[AnswerSentence, ...] = ()
    refused: bool = False
    reason: str = ""
    support: float = 0.0
    fit: float = 0.0
    options: tuple[ScoredOption, ...] = ()
    chosen: int | None = None
    num_background: int = 0
    second_look: tuple[AnswerSentence, ...] = ()
    timing: AskTiming = field(default_factory=AskTiming)
    notes: tuple[str, ...] = ()

    @property
    def is_quoted(self) -> bool:
        """Whether every sentence is a quote, which is its own support."""
        return bool(self.sentences) and all(s.support == 1.0 for s in self.sentences)

    @property
    def told_from(self) -> tuple[Moment, ...]:
        """The evidence to show: of quotes the chapters that they stand in, else all."""
        if not self.is_quoted:
            return self.evidence
        cited = {(c.video_id, c.start_s) for s in self.sentences for c in s.citations}
        shown = tuple(m for m in self.evidence if (m.video_id, m.start_s) in cited)
        return shown or self.evidence

    @property
    def said(self) -> str:
        """The answer alone: no citations, no refusal."""
        return "" if self.refused else " ".join(s.text for s in self.sentences) or self.text

    def _repr_html_(self) -> str | None:
        return html_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRow:
    """One line of the library's list: a file that a build was given, and the outcome.

    The status is `missing` where the file is no longer at its path; its story stays. `notes` are
    sentences for people: what of the file was guessed, left out or failed.
    """

    name: str
    video_id: str | None
    path: str
    status: Literal["ok", "failed", "partial", "missing"]
    reason: str
    duration_s: float | None
    num_clips: int
    num_chapters: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What redundancy reduction saved: one per video, and the sum of all."""

    num_clips: int = 0
    num_frames_sampled: int = 0
    num_frames_kept: int = 0
    num_chapters: int = 0
    num_chapters_kept: int = 0
    num_captioner_calls: int = 0
    num_captioner_calls_saved: int = 0
    captioner_s: float = 0.0
    seconds_saved: float = 0.0
