"""The one JSON form of every result: command line, batch files, servers and exports share it.

A `...Json` type names the keys of an object, a function of the same name makes one. Times are
seconds of the video, `[start_s, end_s)`; a `citation` is what people read, `[NAME @ 1:02-1:07]`.
Sequences are JSON arrays. An evaluation's JSON is `fdvs.pipelines.evaluation.result.EvalResult`;
that of models and machines is typed in `fdvs.pipelines.machine`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from typing_extensions import TypedDict  # the form that pydantic reads before Python 3.12

from fdvs.report import RowStatus
from fdvs.text.timecode import citation
from fdvs.types import Level

if TYPE_CHECKING:
    from fdvs.models.cards import Card
    from fdvs.models.weights.fetch import FetchedModel
    from fdvs.pipelines.ask.batch import BatchDone
    from fdvs.pipelines.detail import VideoDetail
    from fdvs.pipelines.machine import FetchedModelJson, ModelJson, RepairedJson
    from fdvs.pipelines.merge import MergeReport
    from fdvs.report import BuildReport
    from fdvs.store.repair import Repaired
    from fdvs.types import Answer, Moment, Story, VideoHit, VideoRow


# controls, line and paragraph separators, lone surrogates
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


class SpanJson(TypedDict):
    """A stretch of a video."""

    video_id: str
    name: str
    start_s: float
    end_s: float
    citation: str


class PlacedJson(SpanJson):
    """A stretch with the video's file: `link` opens it there, `file:///...#t=START,END`.

    The part behind `#t=` is a media fragment (W3C), as browsers read it.
    """

    path: str
    link: str


class MomentJson(PlacedJson):
    """A ranked moment; `clips` are clip indices, `matched_by` the ways in which it matched.

    Moments found by a search come by falling `relevance`; it is null where nothing was ranked.
    """

    score: float
    text: str
    clips: Sequence[int]
    matched_by: Sequence[str]
    picture_score: float | None
    relevance: float | None


class VideoHitJson(PlacedJson):
    """A ranked video, with the interval and text of the passage that earned its score."""

    score: float
    level: Level
    text: str
    relevance: float


class QueryJson(TypedDict):
    """What was looked for."""

    query: str


class SearchJson(QueryJson, total=False):
    """What was found: `moments`, or `videos` where those were asked for.

    `image` is the SHA-256 of the example picture, where one was given instead of a query.
    `nearest` is there only where nothing fits well: what comes nearest, below the bound.
    """

    image: str
    moments: Sequence[MomentJson]
    videos: Sequence[VideoHitJson]
    nearest: Sequence[MomentJson] | Sequence[VideoHitJson]


class CitationJson(PlacedJson):
    """A stretch that supports a sentence; `support` is from 0 to 1.

    `said_s` is from when to when just the words quoted are said, which `citation` and `link` name.
    """

    support: float
    said_s: Sequence[float] | None


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
    """A kept chapter; `index` is its clip's, `title` may be empty. `injections`
    are texts that read like an order to a model; `text` quotes them behind a mark."""

    index: int
    title: str
    start_s: float
    end_s: float
    text: str
    injections: Sequence[str]


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
    injections: Sequence[str]
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


class MergedVideoJson(TypedDict):
    """A video of a shard; `how` is added, completed, known or left out, with the reason."""

    name: str
    how: str
    reason: str


class MergeJson(TypedDict):
    """What a merge did."""

    library: str
    videos: Sequence[MergedVideoJson]
    notes: Sequence[str]


class ErrorJson(TypedDict):
    """What `--json` prints instead of a result."""

    error: str
    exit_code: int


def to_json(value: Any) -> str:
    """Return one line of JSON. Raises TypeError for anything but plain values.

    Text stays as it is, but for what would end the line, steer a terminal or be no text in UTF-8
    (the bytes of a name that is none): these characters are escaped.
    """
    found = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", found)


def media_link(path: str, start_s: float, end_s: float) -> str:
    """Return a link that opens a file at [start_s, end_s), "" without a path."""
    if not path:
        return ""
    return f"{Path(path).absolute().as_uri()}#t={_seconds(start_s)},{_seconds(end_s)}"


def _seconds(time_s: float) -> str:
    return f"{time_s:.3f}".rstrip("0").rstrip(".")


def _cited(span: dict[str, Any]) -> dict[str, Any]:
    return span | {"citation": citation(span["name"], *_at_s(span))}


def _at_s(span: dict[str, Any]) -> tuple[float, float]:
    return span.get("said_s") or (span["start_s"], span["end_s"])


def _placed(span: dict[str, Any], path: str) -> dict[str, Any]:
    link = media_link(path, *_at_s(span))
    return _cited(span) | {"path": path, "link": link}


def moment_json(moment: Moment) -> MomentJson:
    """Return a moment as a JSON object."""
    return cast(MomentJson, _placed(asdict(moment), moment.path))


def hit_json(hit: VideoHit) -> VideoHitJson:
    """Return a ranked video as a JSON object."""
    return cast(VideoHitJson, _placed(asdict(hit), hit.path))


def search_json(query: str, found: Sequence[Moment], nearest: Sequence[Moment] = ()) -> SearchJson:
    """Return the moments of a search as a JSON object; `nearest` where there is none."""
    moments = [moment_json(one) for one in found]
    if moments or not nearest:
        return {"query": query, "moments": moments}
    return {"query": query, "moments": [], "nearest": [moment_json(one) for one in nearest]}


def like_json(image: bytes, found: Sequence[Moment], nearest: Sequence[Moment] = ()) -> SearchJson:
    """Return the moments that look like an example picture as a JSON object."""
    value = search_json("", found, nearest)
    return {"query": "", "image": hashlib.sha256(image).hexdigest(), **value}  # type: ignore[typeddict-item]


def videos_json(
    query: str, found: Sequence[VideoHit], nearest: Sequence[VideoHit] = ()
) -> SearchJson:
    """Return the videos of a search as a JSON object; `nearest` where there is none."""
    videos = [hit_json(one) for one in found]
    if videos or not nearest:
        return {"query": query, "videos": videos}
    return {"query": query, "videos": [], "nearest": [hit_json(one) for one in nearest]}


def answer_json(answer: Answer) -> AnswerJson:
    """Return an answer as a JSON object."""
    value = asdict(answer)
    value["looks"] = value.pop("second_look")
    paths = {moment.video_id: moment.path for moment in answer.evidence}
    value["evidence"] = [_placed(moment, moment["path"]) for moment in value["evidence"]]
    for sentence in (*value["sentences"], *value["removed"], *value["looks"]):
        sentence["citations"] = [
            _placed(cited, paths.get(cited["video_id"], "")) for cited in sentence["citations"]
        ]
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
    return cast("FetchedModelJson", asdict(model) | {"folder": folder})


def repaired_json(done: Repaired) -> RepairedJson:
    """Return what a repair did as a JSON object."""
    return cast("RepairedJson", asdict(done) | {"old_file": str(done.old_file)})


def merge_json(report: MergeReport, library: Path) -> MergeJson:
    """Return the report of a merge as a JSON object."""
    return {
        "library": str(library),
        "videos": [cast("MergedVideoJson", asdict(one)) for one in report.videos],
        "notes": list(report.notes),
    }


def error_json(message: str, exit_code: int) -> ErrorJson:
    """Return an error as a JSON object; `message` is one line."""
    return {"error": message, "exit_code": exit_code}
