"""The page: library, video, search and ask, as HTML that works without scripts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args
from urllib.parse import quote

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from fdvs.errors import FdvsError, InvalidValue, NotFound
from fdvs.pipelines.detail import ClipDetail, VideoDetail
from fdvs.pipelines.serve.api import MAX_OFFSET, Source, engine_of, or_nearest
from fdvs.pipelines.serve.media import media_type, playlist, plays_natively, segment
from fdvs.pipelines.serve.problems import status_of, told
from fdvs.text.clean import one_line
from fdvs.text.timecode import end_code, timecode
from fdvs.text.vocabulary import STOP_WORDS
from fdvs.types import Moment

router = APIRouter(include_in_schema=False)
NUM_MOMENTS = 24
NUM_CARDS = 48
MAX_TEXT_CHARS = 260
CUT_S = 10.0  # offered where no end is given
LOW = 58  # per cent of the strip that a left-out clip lacks
CACHED = {"Cache-Control": "private, max-age=31536000, immutable"}


def address(video_id: str, start_s: float | None = None, end_s: float | None = None) -> str:
    """Return the address of a video's page, at a time."""
    place = f"/v/{quote(video_id, safe='')}"
    if start_s is None:
        return place
    return f"{place}?t={start_s:g}" + ("" if end_s is None else f"-{end_s:g}")


def marked(text: str, query: str) -> Markup:
    """Return a text with the words of a query marked."""
    words = set(re.findall(r"\w{3,}", query.lower())) - STOP_WORDS
    parts = re.split(r"(\w+)", text)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if part.lower() in words else part for part in parts
    )


def clipped(text: str) -> str:
    """Return a text as one line of at most a few lines' length."""
    line = one_line(text)
    return line if len(line) <= MAX_TEXT_CHARS else line[:MAX_TEXT_CHARS].rsplit(" ", 1)[0] + " …"


def counted(number: int, what: str) -> str:
    """Return a number of things in words: `1 scene`, `2 scenes`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def strip(clips: Sequence[ClipDetail], duration_s: float) -> list[dict[str, Any]]:
    """Return the bars of a strip, in per cent of its width."""
    whole = max(duration_s, 0.001)
    return [
        {
            "x": f"{100 * clip.start_s / whole:.2f}", "colour": clip.colour,
            "width": f"{max(0.15, 100 * (clip.end_s - clip.start_s) / whole):.2f}",
            "low": not clip.is_kept,
        }
        for clip in clips
    ]  # fmt: skip


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("fdvs.pipelines.serve"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "time": timecode,
        "end": end_code,
        "clipped": clipped,
        "line": one_line,
        "count": counted,
    }
    made.globals |= {"address": address, "marked": marked, "strip": strip, "LOW": LOW}
    return made


TEMPLATES = _environment()


def page(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page made from a template."""
    engine = engine_of(request)
    text = TEMPLATES.get_template(name).render(
        here=request.url.path, query=request.query_params.get("q", ""),
        folder=str(engine.library.path), **values,
    )  # fmt: skip
    return HTMLResponse(text, status_code=status)


def trouble(request: Request, error: Exception) -> HTMLResponse:
    """Return the page of an error that a person can do something about."""
    status = status_of(error)
    return page(request, "problem.html", status=status, told=told(error, status))


@router.get("/")
def library(
    request: Request, page_number: Annotated[int, Query(alias="page", ge=1)] = 1
) -> Response:
    """Show the videos of the library as cards, so many a page."""
    engine = engine_of(request)
    every = engine.library.videos()
    rows = every[(page_number - 1) * NUM_CARDS : page_number * NUM_CARDS]
    details: dict[str, VideoDetail] = {}
    for row in rows:
        if row.video_id and row.video_id not in details:
            try:
                details[row.video_id] = engine.library.video(row.video_id)
            except FdvsError:
                continue
    lengths = {row.video_id: row.duration_s or 0.0 for row in every}
    num_pages = -(-len(every) // NUM_CARDS)
    return page(
        request, "library.html", rows=rows, details=details, total_s=sum(lengths.values()),
        can_build=not engine.doors.is_read_only,
        num_videos=len(every), number=page_number, num_pages=num_pages,
        jobs=[job for job in engine.jobs.jobs if not job.is_over],
        last=next((job for job in reversed(engine.jobs.jobs) if job.is_over), None),
    )  # fmt: skip


@router.get("/v/{video}")
def video(request: Request, video: str, t: str = "") -> Response:
    """Show a video: player, strip, scenes, story, chapters, and what was left out."""
    detail = engine_of(request).library.video(video)
    start_s, end_s = _times(t)
    cut_end_s = max(end_s, min(start_s + CUT_S, detail.duration_s))
    return page(
        request, "video.html", detail=detail, native=plays_natively(detail), start_s=start_s,
        end_s=end_s, cut_end_s=cut_end_s, clips={clip.index: clip for clip in detail.clips},
    )  # fmt: skip


@router.get("/search")
def search(
    request: Request,
    q: str = "",
    video: str = "",
    source: Source | Literal[""] = "",
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Response:
    """Show the moments that match a query, so many a page, of one video or of all."""
    library = engine_of(request).library
    moments: list[Moment] = []
    nearest: list[Moment] = []
    asked: dict[str, Any] = {
        "num": NUM_MOMENTS + 1, "offset": offset, "video": video or None,
        "sources": (source,) if source else (),
    }  # fmt: skip
    if q.strip():
        moments, nearest = or_nearest(library.search, q, asked)
    return page(
        request, "search.html", moments=moments[:NUM_MOMENTS], nearest=nearest, video=video,
        source=source, sources=get_args(Source), offset=offset, size=NUM_MOMENTS,
        has_more=len(moments) > NUM_MOMENTS, rows=[row for row in library.videos() if row.video_id],
    )  # fmt: skip


@router.get("/ask")
def ask(request: Request, q: str = "", video: str = "") -> Response:
    """Ask a question and show the answer, whose citations play."""
    engine = engine_of(request)
    found = engine.ask(q, video=video or None) if q.strip() else None
    return page(
        request, "ask.html", answer=found, video=video, told=found.told_from if found else (),
        rows=[row for row in engine.library.videos() if row.video_id],
    )  # fmt: skip


@router.get("/doctor")
def doctor(request: Request) -> Response:
    """Show what is installed on this machine, what can run, and what is missing."""
    found = engine_of(request).doctor()
    return page(request, "doctor.html", health=found["health"], settings=found["settings"])


@router.post("/builds")
def build(request: Request, path: str = Form()) -> Response:
    """Start a build of a folder or file on this machine, from the page's form."""
    engine_of(request).build([path.strip()])
    return RedirectResponse("/", status_code=303)


@router.get("/builds/{number}")
def report(request: Request, number: int) -> Response:
    """Show what a build did: each file with its state and reason, and the notes."""
    return page(request, "build.html", job=engine_of(request).job(number))


@router.post("/builds/{number}/stop")
def stop(request: Request, number: int) -> Response:
    """Stop a build, from the page's button."""
    engine = engine_of(request)
    engine.stop(engine.job(number))
    return RedirectResponse("/", status_code=303)


@router.get("/v/{video}/file")
def file(request: Request, video: str) -> Response:
    """Send the file itself, in ranges."""
    path = engine_of(request).library.media(video)
    return FileResponse(path, media_type=media_type(path), headers={"Cache-Control": "private"})


@router.get("/v/{video}/hls/index.m3u8")
def hls(request: Request, video: str) -> Response:
    """Send the playlist of a file that browsers do not play."""
    detail = engine_of(request).library.video(video)
    return Response(playlist(detail.duration_s), media_type="application/vnd.apple.mpegurl")


@router.get("/v/{video}/hls/{number}.ts")
def hls_segment(request: Request, video: str, number: int) -> Response:
    """Send one segment, cut from the file now."""
    library = engine_of(request).library
    detail, path = library.video(video), library.media(video)
    content = segment(path, number, duration_s=detail.duration_s)
    return Response(content, media_type="video/mp2t", headers=CACHED)


@router.get("/v/{video}/thumbnails/{clip}.jpg")
def thumbnail(request: Request, video: str, clip: int) -> Response:
    """Send the picture of a clip; a drawn wave for one that has none, such as a recording's."""
    library = engine_of(request).library
    try:
        jpeg = library.thumbnail(video, clip)
    except NotFound:
        if all(one.index != clip for one in library.video(video).clips):
            raise
        return RedirectResponse("/static/sound.svg")
    return Response(jpeg, media_type="image/jpeg", headers=CACHED)


def _times(text: str) -> tuple[float, float]:
    """Return start and end of `80` or `80-100`, in seconds; 0 where there is none."""
    found = re.fullmatch(r"(\d{1,7}(?:\.\d{1,3})?)(?:-(\d{1,7}(?:\.\d{1,3})?))?", text)
    if not text:
        return 0.0, 0.0
    if found is None:
        raise InvalidValue("t", text, "seconds, such as 80 or 80-100")
    start_s = float(found[1])
    return start_s, float(found[2]) if found[2] else start_s
