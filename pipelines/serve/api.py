"""The REST API: the JSON of the command line, under /api/v1, with problems as RFC 9457 says."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from fdvs.answers.question import MAX_OPTION_CHARS, MAX_OPTIONS
from fdvs.errors import InvalidValue
from fdvs.media.pictures import ALLOWED, MAX_BYTES
from fdvs.pipelines import results
from fdvs.pipelines.exports.formats import FORMATS, ZIP, suffix
from fdvs.pipelines.machine import DoctorJson
from fdvs.pipelines.serve.bounds import MAX_QUESTION_CHARS
from fdvs.pipelines.serve.engine import Engine
from fdvs.pipelines.serve.jobs import JobJson
from fdvs.pipelines.serve.media import encoding
from fdvs.pipelines.serve.problems import RESPONSES
from fdvs.pipelines.serve.streams import Events

PREFIX = "/api/v1"
MAX_QUERY_CHARS = 1000
MAX_RESULTS = 100
MAX_OFFSET = 1_000_000
MAX_NAMES = 100  # of videos that a search is limited to
MAX_ROWS = 200
PICTURE_TYPES = ("image/png", "image/jpeg", "image/webp")
NUM_NEAREST = 3  # told where nothing fits well
MAX_CLIP_S = 600.0
VISIBLE = r"\S"
Name = Annotated[str, Field(max_length=400)]
Source = Literal["speech", "subtitles", "screen", "pictures"]
Way = Literal["meaning", "words", "looks"]
Num = Annotated[int | None, Query(ge=1, le=MAX_RESULTS)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
MinScore = Annotated[float | None, Query(ge=-1, le=1)]
Names = Annotated[list[Name] | None, Query(max_length=MAX_NAMES)]
StartS = Annotated[float, Query(ge=0)]
EndS = Annotated[float | None, Query(gt=0)]


def _described(media_type: str) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {media_type: {"schema": {"type": "string"}}}}}


FILE = _described("application/octet-stream")
CLIP = _described("video/mp4")
STREAM = _described("text/event-stream")


class RowsJson(TypedDict):
    """A part of the list; `next` is the cursor of the rows after it."""

    items: list[results.VideoRowJson]
    next: int | None


class RemovedJson(TypedDict):
    """What was removed."""

    removed: results.VideoRowJson


router = APIRouter(prefix=PREFIX, responses=RESPONSES)


Option = Annotated[str, Field(max_length=MAX_OPTION_CHARS, pattern=VISIBLE)]
Options = Annotated[
    list[Option],
    Field(min_length=2, max_length=MAX_OPTIONS, json_schema_extra={"uniqueItems": True}),
]


class Question(BaseModel):
    """What `POST /ask` takes."""

    model_config = ConfigDict(extra="forbid")
    question: str = Field(min_length=1, max_length=MAX_QUESTION_CHARS, pattern=VISIBLE)
    video: str | None = Field(default=None, max_length=400)
    options: Options | None = None


class BuildRequest(BaseModel):
    """What `POST /builds` takes: files or folders on this machine."""

    model_config = ConfigDict(extra="forbid")
    paths: list[str] = Field(min_length=1, max_length=100)


def engine_of(request: Request) -> Engine:
    """Return the engine of the server that got a request."""
    engine: Engine = request.app.state.engine
    return engine


def plain(value: Any) -> Response:
    """Return a value byte for byte as the command line prints it."""
    return Response(results.to_json(value) + "\n", media_type="application/json")


@router.get("/videos", response_model=RowsJson)
def videos(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = MAX_ROWS,
    cursor: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """List the videos, as `fdvs list --json` does; `next` is the cursor of the following ones."""
    rows = engine_of(request).library.videos()
    part = rows[cursor : cursor + limit]
    following = cursor + limit if cursor + limit < len(rows) else None
    return plain({"items": [results.row_json(row) for row in part], "next": following})


@router.get("/videos/{video}/story", response_model=results.StoryJson)
def story(request: Request, video: str) -> Response:
    """Return a story, as `fdvs story --json` does."""
    return plain(results.story_json(engine_of(request).library.story(video)))


@router.get("/videos/{video}/export", response_class=Response, responses=FILE)
def export(
    request: Request,
    video: str,
    format: Annotated[str, Query(json_schema_extra={"enum": [*FORMATS, ZIP]})] = "html",
    level: Annotated[Literal["story", "scenes", "chapters", "speech"] | None, Query()] = None,
) -> Response:
    """Return a story in a format of `fdvs export`, as a file to keep."""
    library = engine_of(request).library
    content = library.export(video, format, level=level)
    name = f"{library.video(video).video_id}.{suffix(format)}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type="application/octet-stream", headers=headers)


@router.get("/videos/{video}/clip.mp4", response_class=FileResponse, responses=CLIP)
def clip(
    request: Request,
    video: str,
    start: StartS,
    end: Annotated[float, Query(gt=0)],
) -> FileResponse:
    """Return [start, end) seconds of a video as a file of its own, at most ten minutes."""
    if end - start > MAX_CLIP_S:
        raise InvalidValue("length", f"{end - start:g} s", f"at most {MAX_CLIP_S:g} s")
    folder = Path(tempfile.mkdtemp(prefix="fdvs-clip-"))
    target = folder / "clip.mp4"
    try:
        with encoding():
            engine_of(request).library.clip(video, start, end, target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    done = BackgroundTask(shutil.rmtree, folder, ignore_errors=True)
    return FileResponse(target, media_type="video/mp4", filename="clip.mp4", background=done)


@router.get("/videos/{video}", response_model=results.VideoDetailJson)
def video(request: Request, video: str) -> Response:
    """Return a video clip by clip: what is kept, what was left out and what stands for it."""
    return plain(results.detail_json(engine_of(request).library.video(video)))


@router.delete("/videos/{video}", response_model=RemovedJson)
def remove(request: Request, video: str) -> Response:
    """Remove a video from the library, as `fdvs remove --json` does; its file stays."""
    return plain({"removed": results.row_json(engine_of(request).remove(video))})


@router.get("/search", response_model=results.SearchJson)
def search(
    request: Request,
    q: Annotated[str, Query(min_length=1, max_length=MAX_QUERY_CHARS)],
    kind: Annotated[Literal["moments", "videos"], Query()] = "moments",
    num: Num = None,
    offset: Offset = 0,
    min_score: MinScore = None,
    video: Names = None,
    start_s: StartS = 0.0,
    end_s: EndS = None,
    source: Annotated[list[Source] | None, Query(max_length=4)] = None,
    by: Annotated[list[Way] | None, Query(max_length=3)] = None,
) -> Response:
    """Find moments or videos, as `fdvs search --json` does; most relevant first."""
    library = engine_of(request).library
    asked: dict[str, Any] = {"num": num, "offset": offset, "min_score": min_score}
    limits: dict[str, Any] = {
        "videos": video or (), "start_s": start_s, "end_s": end_s, "sources": source or (),
        "matched_by": by or (),
    }  # fmt: skip
    if kind == "videos":
        if any(limits.values()):
            raise InvalidValue("kind", kind, "moments, where a search has limits")
        return plain(results.videos_json(q, *or_nearest(library.search_videos, q, asked)))
    return plain(results.search_json(q, *or_nearest(library.search, q, asked | limits)))


@router.post(
    "/search/image",
    response_model=results.SearchJson,
    openapi_extra={"requestBody": {"required": True, "content": {
        kind: {"schema": {"type": "string", "format": "binary"}} for kind in PICTURE_TYPES
    }}},
)  # fmt: skip
async def search_image(
    request: Request,
    num: Num = None,
    offset: Offset = 0,
    min_score: MinScore = None,
    video: Names = None,
    start_s: StartS = 0.0,
    end_s: EndS = None,
) -> Response:
    """Find moments that look like the picture in the body, as `fdvs search --image --json` does."""
    picture = await _body(request, MAX_BYTES)
    asked: dict[str, Any] = {
        "image": picture, "num": num, "offset": offset, "min_score": min_score,
        "videos": video or (), "start_s": start_s, "end_s": end_s,
    }  # fmt: skip
    search = engine_of(request).library.search
    found = await run_in_threadpool(or_nearest, search, "", asked)
    return plain(results.like_json(picture, *found))


async def _body(request: Request, max_bytes: int) -> bytes:
    """Return the body of a request. Raises InvalidValue for one that is larger."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > max_bytes:
            raise InvalidValue("image", f"more than {max_bytes} bytes", ALLOWED)
    return bytes(data)


def or_nearest(find: Callable[..., Any], query: str, asked: dict[str, Any]) -> tuple[Any, Any]:
    """Return what was found and, where nothing fits well, what comes nearest."""
    found = find(query, **asked)
    if found or asked["offset"]:
        return found, ()
    return found, find(query, **{**asked, "num": NUM_NEAREST, "nearest": True})


@router.post("/ask", response_model=results.AnswerJson)
def ask(request: Request, body: Question) -> Response:
    """Answer a question, as `fdvs ask --json` does."""
    found = engine_of(request).ask(body.question, video=body.video, options=body.options)
    return plain(results.answer_json(found))


@router.get("/doctor", response_model=DoctorJson)
def doctor(request: Request) -> Response:
    """Tell what is installed on this machine and can run, as `fdvs doctor --json` does."""
    return plain(engine_of(request).doctor())


@router.post("/builds", status_code=202, response_model=JobJson)
def start_build(request: Request, body: BuildRequest) -> JSONResponse:
    """Start a build of files or folders on this machine."""
    job = engine_of(request).build(body.paths)
    place = {"Location": f"{PREFIX}/builds/{job.number}"}
    return JSONResponse(job.as_json(), status_code=202, headers=place)


@router.get("/builds", response_model=list[JobJson])
def builds(request: Request) -> JSONResponse:
    """List the builds that this server started."""
    return JSONResponse([job.as_json() for job in engine_of(request).jobs.jobs])


@router.get("/builds/{number}", response_model=JobJson)
def build(request: Request, number: int) -> JSONResponse:
    """Return one build."""
    return JSONResponse(engine_of(request).job(number).as_json())


@router.delete("/builds/{number}", response_model=JobJson)
def stop_build(request: Request, number: int) -> JSONResponse:
    """Stop a build; what it finished stays."""
    engine = engine_of(request)
    job = engine.job(number)
    engine.stop(job)
    return JSONResponse(job.as_json())


@router.get("/builds/{number}/events", response_class=StreamingResponse, responses=STREAM)
async def build_events(request: Request, number: int) -> Events:
    """Follow a build as server-sent events; `Last-Event-ID` goes on after an event."""
    engine = engine_of(request)
    given = request.headers.get("last-event-id", "")
    start = int(given) if given.isascii() and given.isdigit() else 0
    return Events(engine.job(number), start, engine.streams)
