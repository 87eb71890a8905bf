"""Every export format by its name, and what is exported: story, scenes, chapters or speech."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from fdvs.errors import InvalidValue, NotFound, UnknownName
from fdvs.pipelines import results
from fdvs.pipelines.detail import VideoDetail
from fdvs.pipelines.exports import documents, markers, texts
from fdvs.pipelines.exports.report import Picture, html_report
from fdvs.pipelines.exports.texts import Mark

Level = Literal["story", "scenes", "chapters", "speech"]
LEVELS: tuple[Level, ...] = get_args(Level)
# the level of a format where none is asked for
USUAL: dict[str, Level] = {"srt": "speech", "vtt": "speech"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a writer gets: the video, its marks, and what some formats need beside."""

    detail: VideoDetail
    marks: Sequence[Mark]
    fps: float
    picture: Picture


Writer = Callable[[Request], str]

FORMATS: dict[str, tuple[str, Writer]] = {
    "json": ("json", lambda r: results.to_json(results.detail_json(r.detail)) + "\n"),
    "jsonl": ("jsonl", lambda r: "".join(results.to_json(_row(r, one)) + "\n" for one in r.marks)),
    "srt": ("srt", lambda r: texts.srt(r.marks)),
    "vtt": ("vtt", lambda r: texts.vtt(r.marks)),
    "chapters": ("chapters.vtt", lambda r: texts.vtt_chapters(r.marks)),
    "youtube": ("youtube.txt", lambda r: texts.youtube(r.marks)),
    "ffmetadata": ("ffmetadata", lambda r: texts.ffmetadata(r.marks, title=r.detail.name)),
    "edl": ("edl", lambda r: markers.edl(r.marks, title=r.detail.name, fps=r.fps)),
    "otio": ("otio", lambda r: markers.otio(r.marks, title=r.detail.name,
                                            url=r.detail.path.as_uri(),
                                            duration_s=r.detail.duration_s)),
    "md": ("md", lambda r: documents.markdown(r.detail)),
    "csv": ("csv", lambda r: documents.csv_table(r.detail, r.marks)),
    "html": ("html", lambda r: html_report(r.detail, r.picture)),
}  # fmt: skip
ZIP = "zip"  # all of them


def export(
    detail: VideoDetail, format_name: str, *, level: Level | None, fps: float, picture: Picture
) -> bytes:
    """Return a video in a format, as bytes (UTF-8 for texts).

    Args:
        level: what is exported; None takes what suits the format.
        fps: the frame rate of an EDL; 0 takes that of the file.
        picture: returns the JPEG of a clip, or raises NotFound.

    Raises UnknownName, InvalidValue, NotFound where there is nothing of that level.
    """
    if format_name == ZIP:
        return _bundle(detail, level=level, fps=fps, picture=picture)
    if format_name not in FORMATS:
        raise UnknownName("format", format_name, [*FORMATS, ZIP])
    chosen = level or usual_level(detail, format_name)
    request = Request(
        detail=detail, marks=marks_of(detail, chosen), picture=picture,
        fps=fps or float(detail.probe.get("fps") or 0.0),
    )  # fmt: skip
    return FORMATS[format_name][1](request).encode("utf-8")


def suffix(format_name: str) -> str:
    """Return what a file of a format ends with, without its dot."""
    return ZIP if format_name == ZIP else FORMATS[format_name][0]


def usual_level(detail: VideoDetail, format_name: str) -> Level:
    """Return what suits a format: speech for subtitles where somebody speaks, else scenes."""
    wanted = USUAL.get(format_name, "chapters" if format_name in ("csv", "jsonl") else "scenes")
    if wanted == "speech" and not detail.said:
        return "chapters"
    return wanted


def marks_of(detail: VideoDetail, level: Level) -> list[Mark]:
    """Return the marks of a level in time order. Raises InvalidValue, NotFound for none."""
    if level not in LEVELS:
        raise InvalidValue("level", level, ", ".join(LEVELS))
    if level == "scenes":
        found = [
            Mark(start_s=s.start_s, end_s=s.end_s, text=s.text, title=s.title or s.text[:80])
            for s in detail.story.scenes
        ]
    elif level == "chapters":
        found = [
            Mark(start_s=c.start_s, end_s=c.end_s, text=c.text, title=c.title)
            for c in detail.clips if c.is_kept
        ]  # fmt: skip
    elif level == "speech":
        found = [Mark(start_s=c.start_s, end_s=c.end_s, text=c.text) for c in detail.said]
    else:
        found = [
            Mark(start_s=spans_s[0][0], end_s=spans_s[-1][1], text=s.text)
            for s in detail.story.sentences
            if (spans_s := detail.story.spans_of(s))
        ]
    if not found:
        raise NotFound(f"{detail.name} has nothing at level {level}; other levels: {LEVELS}")
    return sorted(found, key=lambda one: one.start_s)


def _row(request: Request, one: Mark) -> dict[str, object]:
    return {
        "video_id": request.detail.video_id, "name": request.detail.name, "start_s": one.start_s,
        "end_s": one.end_s, "title": one.title, "text": one.text,
    }  # fmt: skip


def _bundle(detail: VideoDetail, *, level: Level | None, fps: float, picture: Picture) -> bytes:
    """Return all formats in one archive; what cannot be written is told in a file of it."""
    out, missing = io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in FORMATS:
            entry = zipfile.ZipInfo(f"{detail.video_id}.{suffix(name)}", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            try:
                content = export(detail, name, level=level, fps=fps, picture=picture)
            except (InvalidValue, NotFound) as error:
                missing.append(f"{name}: {error}\n")
                continue
            archive.writestr(entry, content)
        if missing:
            archive.writestr(
                zipfile.ZipInfo("missing.txt", (1980, 1, 1, 0, 0, 0)), "".join(missing)
            )
    return out.getvalue()
