"""Commands that write files from a library: export, clip, sheet."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from fdvs.errors import ConfigError, InvalidValue
from fdvs.pipelines.cli.options import LibraryOptions, VideoArgument, emit, library_command
from fdvs.text.clean import one_line
from fdvs.text.timecode import timecode

OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", metavar="PATH", help="Where to write; a folder takes its own name."
    ),
]
_TIME = r"(?:(\d{1,3}):)?(\d{1,4}):(\d{1,2}(?:\.\d{1,3})?)|(\d{1,6}(?:\.\d{1,3})?)"
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # Windows' own
_UNSAFE = re.compile(r"[^\w.-]+")


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(export)
    app.command()(clip)
    app.command()(sheet)


@library_command
def export(
    options: LibraryOptions,
    video: Annotated[str | None, typer.Argument(metavar="VIDEO", help="A name or id.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every video, into the folder --out.")
    ] = False,
    format_name: Annotated[
        str,
        typer.Option(
            "--format",
            "-f",
            metavar="NAME",
            help="json, jsonl, srt, vtt, chapters, youtube, ffmetadata, edl, otio, md, csv, html, "
            "or zip for all of them.",
        ),
    ] = "html",
    level: Annotated[
        str | None,
        typer.Option(help="story, scenes, chapters or speech. Default: what suits the format."),
    ] = None,
    fps: Annotated[
        float, typer.Option(min=0.0, help="Frame rate of an EDL's timeline; 0: the file's own.")
    ] = 0.0,
    out: OutOption = None,
) -> None:
    """Write a video's story for players, editors, notes and sheets.

    The default is a report as one HTML file. Subtitles hold what is said; chapter marks, markers
    and notes hold the scenes.
    """  # fmt: skip
    from fdvs.pipelines.exports.formats import suffix

    if bool(video) == every:
        raise ConfigError("name one VIDEO, or give --all")
    written: list[Path] = []
    with options.opened() as library:
        names = [r.video_id for r in library.videos() if r.video_id and r.status != "failed"]
        for name in dict.fromkeys(names if every else [str(video)]):
            content = library.export(name, format_name, level=level, fps=fps)  # type: ignore[arg-type]
            file = f"{_file_name(library.video(name).name)}.{suffix(format_name)}"
            written.append(_write(content, out, file))
    _tell(options, written)


@library_command
def clip(
    video: VideoArgument,
    times: Annotated[
        str, typer.Argument(metavar="START-END", help="Such as 1:20-1:40, or 80-100.")
    ],
    options: LibraryOptions,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the stream: quick, from the key picture before.")
    ] = False,
    pad: Annotated[float, typer.Option(min=0.0, help="Seconds more on both sides.")] = 0.0,
    gif: Annotated[bool, typer.Option("--gif", help="A small animation of at most 30 s.")] = False,
    out: OutOption = None,
) -> None:
    """Cut a moment out of a video, as a file of its own."""
    start_s, end_s = read_times(times)
    start_s, end_s = max(0.0, start_s - pad), end_s + pad
    with options.opened() as library:
        name = library.video(video).name
        kind = ".gif" if gif else library.media(video).suffix if copy else ".mp4"
        stem = f"{_file_name(name)}-{timecode(start_s)}-{timecode(end_s)}".replace(":", ".")
        place = _place(out, f"{stem}{kind}")
        begins_s = library.clip(video, start_s, end_s, place, copy=copy)
    _tell(options, [place])
    if not options.as_json and begins_s < start_s - 0.05:
        typer.echo(f"note    it starts at {timecode(begins_s)}, the key picture before", err=True)


@library_command
def sheet(video: VideoArgument, options: LibraryOptions, out: OutOption = None) -> None:
    """Write a contact sheet: the pictures of all clips with their times, as one JPEG."""
    with options.opened() as library:
        content = library.sheet(video)
        name = library.video(video).name
    _tell(options, [_write(content, out, f"{_file_name(name)}.sheet.jpg")])


def read_times(text: str) -> tuple[float, float]:
    """Return the seconds of `1:20-1:40`, `1:02:03-1:03:00` or `80-100.5`. Raises InvalidValue."""
    found = re.fullmatch(rf"(?P<a>{_TIME})\s*-\s*(?P<b>{_TIME})", text.strip())
    if found is None:
        raise InvalidValue("times", text, "START-END, such as 1:20-1:40 or 80-100")
    return _seconds(found["a"]), _seconds(found["b"])


def read_span(text: str) -> tuple[float, float | None]:
    """Return the seconds of START-END where one of both may be missing: `80-`, `-2:00`.

    Raises InvalidValue.
    """
    found = re.fullmatch(rf"(?P<a>{_TIME})?\s*-\s*(?P<b>{_TIME})?", text.strip())
    if found is None or not (found["a"] or found["b"]):
        raise InvalidValue("time", text, "START-END, such as 1:20-1:40, 80- or -2:00")
    return _seconds(found["a"] or "0"), _seconds(found["b"]) if found["b"] else None


def _seconds(clock: str) -> float:
    total = 0.0
    for part in clock.split(":"):
        total = 60 * total + float(part)
    return total


def _file_name(name: str) -> str:
    """Return a video's name as part of a file name that every system takes."""
    stem = _UNSAFE.sub("_", Path(one_line(name)).stem).strip("._") or "video"
    return f"{stem.partition('.')[0]}_video" if _DEVICE.fullmatch(stem) else stem


def _place(out: Path | None, file: str) -> Path:
    if out is None:
        return Path(file)
    return out / file if out.is_dir() else out


def _write(content: bytes, out: Path | None, file: str) -> Path:
    from fdvs.files import write_whole

    place = _place(out, file)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, content)
    return place


def _tell(options: LibraryOptions, written: list[Path]) -> None:
    if options.as_json:
        emit({"files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(f"written {one_line(str(path))}")
