"""The one JSON form of every result: command line, batch files, servers and exports share it.

A `...Json` type names the keys of an object, a function of the same name makes one. Times are
seconds of the video, `[start_s, end_s)`; a `citation` is what people read, `[NAME @ 1:02-1:07]`.
Sequences are JSON arrays. An evaluation's JSON is `fdvs.pipelines.evaluation.result.EvalResult`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from fdvs.report import RowStatus
from fdvs.text.timecode import citation
from fdvs.types import Level

if TYPE_CHECKING:
    from fdvs.models.cards import Card
    from fdvs.models.weights.fetch import FetchedModel
    from fdvs.pipelines.ask.batch import BatchDone
    from fdvs.pipelines.detail import VideoDetail
    from fdvs.report import BuildReport
    from fdvs.store.repair import Repaired
    from fdvs.types import Answer, Moment, Story, VideoHit, VideoRow


class SpanJson(TypedDict):
    """A stretch of a video."""

    video_id: str
    name: str
    start_s: float
    end_s: float
    citation: str


class MomentJson(SpanJson):
    """A ranked moment; `clips` are clip indices, `matched_by` the ways in which it matched."""

    score: float
    text: str
    clips: Sequence[int]
    matched_by: Sequence[str]
    picture_score: float | None


class VideoHitJson(SpanJson):
    """A ranked video, with the interval and text of the passage that earned its score."""

    score: float
    level: Level
    text: str


class CitationJson(SpanJson):
    """A stretch that supports a sentence; `support` is from 0 to 1."""

    support: float


class AnswerSentenceJson(TypedDict):
    """A sentence of an answer; without citations no evidence supports it."""

    text: str
    support: float
    citations: Sequence[CitationJson]


class OptionJson(TypedDict):
    """An option of a multiple-choice question with its score and the score's parts."""

    text: str
    score: float
    parts: Mapping[str, float]


class TimingJson(TypedDict):
    """Seconds of each part of an answer; `story` says where the prompt's prefill came from."""

    retrieve_s: float
    read_s: float
    first_token_s: float
    write_s: float
    check_s: float
    story: str


class AnswerJson(TypedDict):
    """An answer; `chosen` is a place in `options`, `looks` the captioner's second look."""

    question: str
    text: str
    evidence: Sequence[MomentJson]
    backend: str
    attention: str
    num_prompt_tokens: int
    num_answer_tokens: int
    seconds: float
    sentences: Sequence[AnswerSentenceJson]
    removed: Sequence[AnswerSentenceJson]
    refused: bool
    reason: str
    support: float
    fit: float
    options: Sequence[OptionJson]
    chosen: int | None
    num_background: int
    looks: Sequence[AnswerSentenceJson]
    timing: TimingJson
    notes: Sequence[str]


class StorySentenceJson(TypedDict):
    """A sentence of a story with the clips it came from, and their [start_s, end_s]."""

    text: str
    clips: Sequence[int]
    times: Sequence[Sequence[float]]


class SceneJson(TypedDict):
    """A scene; `chapters` are clip indices, `title` may be empty."""

    index: int
    title: str
    start_s: float
    end_s: float
    chapters: Sequence[int]
    sentences: Sequence[StorySentenceJson]


class ChapterJson(TypedDict):
    """A kept chapter; `index` is its clip's, `title` may be empty."""

    index: int
    title: str
    start_s: float
    end_s: float
    text: str


class StoryJson(TypedDict):
    """A story: equal content gives equal bytes (no names, paths or run times)."""

    video_id: str
    duration_s: float
    num_clips: int
    writers: Mapping[str, str]
    story: Sequence[StorySentenceJson]
    scenes: Sequence[SceneJson]
    chapters: Sequence[ChapterJson]


class VideoRowJson(TypedDict):
    """One file of the library's list; `notes` say what was guessed, left out or failed."""

    name: str
    video_id: str | None
    path: str
    status: Literal["ok", "failed", "partial", "missing"]
    reason: str
    duration_s: float | None
    num_clips: int
    num_chapters: int
    notes: Sequence[str]


class ClipJson(SpanJson):
    """A clip with its chapter; `stands_for` is the kept clip that a left-out one resembles."""

    index: int
    text: str
    title: str
    said: Sequence[str]
    is_kept: bool
    similarity: float | None
    stands_for: int | None
    colour: str
    has_picture: bool


class VideoDetailJson(TypedDict):
    """A video clip by clip, with its story."""

    video_id: str
    name: str
    duration_s: float
    notes: Sequence[str]
    saved: SavedJson | None
    clips: Sequence[ClipJson]
    story: StoryJson


class SavedJson(TypedDict):
    """What redundancy reduction saved; `captioner_s` and `seconds_saved` are seconds of work."""

    num_clips: int
    num_frames_sampled: int
    num_frames_kept: int
    num_chapters: int
    num_chapters_kept: int
    num_captioner_calls: int
    num_captioner_calls_saved: int
    captioner_s: float
    seconds_saved: float


class BuildRowJson(TypedDict):
    """One file of a build; `reason` says why it failed; the models in `missing` did on a part;
    `found` counts what each source found."""

    path: str
    name: str
    video_id: str | None
    status: RowStatus
    reason: str
    warnings: Sequence[str]
    missing: Sequence[str]
    duration_s: float | None
    num_clips: int
    num_clips_computed: int
    seconds: float
    gop: str
    saved: SavedJson | None
    found: Mapping[str, int]


class BuildReportJson(TypedDict):
    """A whole build; `rules` are the redundancy rules of frames and chapters, in words."""

    library: str
    rows: Sequence[BuildRowJson]
    num_failed: int
    num_ignored: int
    saved: SavedJson
    rules: Mapping[str, str]
    backends: Mapping[str, str]
    notes: Sequence[str]
    seconds: float
    exit_code: int


class BatchJson(TypedDict):
    """A finished file of questions; the counts are of all rows of the output at `path`."""

    path: str
    num_answered: int
    num_refused: int
    num_failed: int
    num_resumed: int


class ModelJson(TypedDict):
    """A model that FDVS knows; `here`: its weights are on this machine, `used`: by the settings."""

    name: str
    role: str
    backend: str
    presets: Sequence[str]
    licence: str
    tested: str
    stand_in: bool
    here: bool
    used: bool
    about: str


class FetchedModelJson(TypedDict):
    """A model after `fdvs models fetch`; `revision` is a wheel's version or a hub commit."""

    name: str
    status: Literal["fetched", "present", "nothing to fetch"]
    folder: str | None
    revision: str
    num_bytes: int
    seconds: float


class PackageJson(TypedDict):
    """A package that FDVS can use; `extra` is "" for what is always installed."""

    name: str
    version: str | None
    extra: str


class BackendJson(TypedDict):
    """One way to do something, whether it can run here, and why or why not."""

    kind: str
    name: str
    runs: bool
    reason: str


class PresetJson(TypedDict):
    """Settings and whether they can run here; `problems` say why not.

    `untested` are the models whose real weights the project never ran, `stand_ins` those that
    replace a real vision model.
    """

    name: str
    about: str
    runs: bool
    problems: Sequence[str]
    untested: Sequence[str]
    stand_ins: Sequence[str]


class ServerJson(TypedDict):
    """A model server on this machine; `line` is what to type to let it describe pictures."""

    dialect: str
    base_url: str
    models: Sequence[str]
    seeing: Sequence[str]
    line: str


class HealthJson(TypedDict):
    """What `fdvs doctor` shows: this machine, packages, backends, presets, and the library."""

    version: str
    python: str
    system: str
    devices: Sequence[str]
    ffmpeg: str
    cache: str
    library: str
    packages: Sequence[PackageJson]
    backends: Sequence[BackendJson]
    servers: Sequence[ServerJson]
    presets: Sequence[PresetJson]


class DoctorJson(TypedDict):
    """`settings` is the state of the settings that were asked about, if any."""

    health: HealthJson
    settings: PresetJson | None


class RepairedJson(TypedDict):
    """What a repair of a library kept; `old_file` is the damaged one, which stays."""

    old_file: str
    num_videos: int
    num_files: int
    num_rows: int
    num_rows_dropped: int


class ErrorJson(TypedDict):
    """What `--json` prints instead of a result."""

    error: str
    exit_code: int


def to_json(value: Any) -> str:
    """Return one line of JSON, in plain ASCII. Raises TypeError for anything but plain values."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False)


def _cited(span: dict[str, Any]) -> dict[str, Any]:
    return span | {"citation": citation(span["name"], span["start_s"], span["end_s"])}


def moment_json(moment: Moment) -> MomentJson:
    """Return a moment as a JSON object."""
    return cast(MomentJson, _cited(asdict(moment)))


def hit_json(hit: VideoHit) -> VideoHitJson:
    """Return a ranked video as a JSON object."""
    return cast(VideoHitJson, _cited(asdict(hit)))


def answer_json(answer: Answer) -> AnswerJson:
    """Return an answer as a JSON object."""
    value = asdict(answer)
    value["looks"] = value.pop("second_look")
    value["evidence"] = [_cited(moment) for moment in value["evidence"]]
    for sentence in (*value["sentences"], *value["removed"], *value["looks"]):
        sentence["citations"] = [_cited(cited) for cited in sentence["citations"]]
    return cast(AnswerJson, value)


def story_json(story: Story) -> StoryJson:
    """Return a story as a JSON object: the form in which it is stored."""
    from fdvs.story.as_json import story_to_json

    return cast(StoryJson, story_to_json(story))


def detail_json(detail: VideoDetail) -> VideoDetailJson:
    """Return a video's detail as a JSON object."""
    return {
        "video_id": detail.video_id,
        "name": detail.name,
        "duration_s": detail.duration_s,
        "notes": list(detail.notes),
        "saved": None if detail.saved is None else cast(SavedJson, asdict(detail.saved)),
        "clips": [cast(ClipJson, _cited(asdict(clip))) for clip in detail.clips],
        "story": story_json(detail.story),
    }


def row_json(row: VideoRow) -> VideoRowJson:
    """Return a row of the library's list as a JSON object."""
    return cast(VideoRowJson, asdict(row))


def build_json(report: BuildReport, library: Path) -> BuildReportJson:
    """Return the report of a build as a JSON object."""
    return {
        "library": str(library),
        "rows": [cast(BuildRowJson, asdict(row)) for row in report.rows],
        "num_failed": report.num_failed,
        "num_ignored": report.num_ignored,
        "saved": cast(SavedJson, asdict(report.saved)),
        "rules": report.rules,
        "backends": report.backends,
        "notes": list(report.notes),
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
    }


def batch_json(done: BatchDone) -> BatchJson:
    """Return what became of a file of questions as a JSON object."""
    return cast(BatchJson, asdict(done) | {"path": str(done.path)})


def model_json(card: Card, *, here: bool, used: bool) -> ModelJson:
    """Return a model's card as a JSON object."""
    return {
        "name": card.name,
        "role": card.role,
        "backend": card.backend,
        "presets": list(card.presets),
        "licence": card.licence,
        "tested": card.tested,
        "stand_in": card.stand_in,
        "here": here,
        "used": used,
        "about": card.about,
    }


def fetched_json(model: FetchedModel) -> FetchedModelJson:
    """Return a fetched model as a JSON object."""
    folder = None if model.folder is None else str(model.folder)
    return cast(FetchedModelJson, asdict(model) | {"folder": folder})


def repaired_json(done: Repaired) -> RepairedJson:
    """Return what a repair did as a JSON object."""
    return cast(RepairedJson, asdict(done) | {"old_file": str(done.old_file)})


def error_json(message: str, exit_code: int) -> ErrorJson:
    """Return an error as a JSON object; `message` is one line."""
    return {"error": message, "exit_code": exit_code}
