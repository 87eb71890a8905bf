"""Commands that read a library: list, story, search."""

from __future__ import annotations

import contextlib
import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fdvs.pipelines.cli.options import (
    LibraryOptions,
    NumOption,
    VideoArgument,
    VideosOption,
    emit,
    library_command,
    listed,
)
from fdvs.text.clean import one_line

if TYPE_CHECKING:
    from fdvs.pipelines.library import Library

NUM_NEAREST = 3  # shown where nothing fits well


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_videos)
    app.command()(story)
    app.command()(search)
    app.command("config")(show_config)


@library_command
def list_videos(options: LibraryOptions) -> None:
    """List every video of the library, and why any failed."""
    with options.opened() as library:
        rows = library.videos()
        saved = {} if options.as_json else library.saved()
    if options.as_json:
        from fdvs.pipelines.results import row_json

        emit([row_json(row) for row in rows])
        return
    from fdvs.pipelines.show.tables import show_rows

    show_rows(rows, saved, options.library)


@library_command
def story(
    video: VideoArgument,
    options: LibraryOptions,
    chapters: Annotated[
        bool, typer.Option("--chapters", help="Also show every kept chapter.")
    ] = False,
) -> None:
    """Show a video's story, with citations for every sentence.

    First the whole video, then scene by scene. With --json, equal content gives equal bytes.
    """
    with options.opened() as library:
        found = library.story(video)
        rows = [] if options.as_json else library.videos()
    if options.as_json:
        from fdvs.pipelines.results import story_json

        emit(story_json(found))
        return
    from fdvs.pipelines.show.tables import show_story

    names = [row.name for row in rows if row.video_id == found.video_id]
    show_story(found, names[0] if names else video, with_chapters=chapters)


@functools.partial(library_command, several=True)
def search(
    options: LibraryOptions,
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in words.")] = "",
    image: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Look for this picture instead: PNG, JPEG or WebP."),
    ] = None,
    videos: Annotated[
        bool, typer.Option("--videos", help="Rank whole videos instead of moments.")
    ] = False,
    num: NumOption = None,
    offset: Annotated[
        int, typer.Option(min=0, help="Leave out this many of the best: the next page.")
    ] = 0,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=-1.0, max=1.0, help="Leave out results below this score."),
    ] = None,
    video: VideosOption = None,
    time: Annotated[
        str | None,
        typer.Option(metavar="START-END", help="Only this time of a video: 1:20-1:40, 80-, -2:00."),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Only what is told by speech, subtitles, screen or pictures; repeat it.",
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(metavar="WAY", help="Only matches by meaning, words or looks; repeat it."),
    ] = None,
) -> None:
    """Find the moments (or videos) that match a description or a picture, most relevant first."""
    if (image is None) == (not query):
        raise typer.BadParameter("give a QUERY in words, or a picture: --image FILE")
    if min_score is not None and not math.isfinite(min_score):
        raise typer.BadParameter(f"--min-score is {min_score}; need a number from -1 to 1")
    limits = _limits(video, time, source, by)
    if videos and (limits or image):
        raise typer.BadParameter(
            "--videos ranks all videos; leave --image, --video, --time, --source and --by out"
        )
    if options.more and (videos or image):
        raise typer.BadParameter("--videos and --image search one library; give --library once")
    asked: dict[str, Any] = {"num": num, "offset": offset, "min_score": min_score, **limits}
    picture = b""
    if image is not None:
        from fdvs.media.pictures import picture_bytes

        asked["image"] = picture = picture_bytes(image)
    with options.opened() as library, contextlib.ExitStack() as others:
        floor = _floor(library, min_score, picture)
        find: Callable[..., Sequence[Any]] = library.search_videos if videos else library.search
        if options.more:
            from fdvs.pipelines.together import search_libraries

            more = [others.enter_context(replace(options, library=one).opened())
                    for one in options.more]  # fmt: skip
            find = functools.partial(search_libraries, [library, *more])
        found: Sequence[Any] = find(query, **asked)
        nearest: Sequence[Any] = ()
        if not found and not offset:
            nearest = find(query, **{**asked, "num": NUM_NEAREST, "nearest": True})
    if options.as_json:
        from fdvs.pipelines.results import like_json, search_json, videos_json

        if image is not None:
            emit(like_json(picture, found, nearest))
        else:
            emit((videos_json if videos else search_json)(query, found, nearest))
        return
    from fdvs.pipelines.show.tables import show_hits, show_moments

    if not found and offset:
        typer.echo(f"no more results after the first {offset}")
    else:
        told = query if image is None else image.name
        (show_hits if videos else show_moments)(found, told, floor, nearest=nearest)


def _floor(library: Library, min_score: float | None, picture: bytes) -> float:
    """Return the least score of a hit, to tell where there is none."""
    if min_score is not None:
        return min_score
    if not picture:
        return library.config.search.min_score
    from fdvs.search.frames import MIN_SCORE

    return MIN_SCORE


def _limits(
    video: list[str] | None, time: str | None, source: list[str] | None, by: list[str] | None
) -> dict[str, Any]:
    """Return the filters that were given, by their names in `Library.search`."""
    limits: dict[str, Any] = {}
    if video:
        limits["videos"] = video
    if time is not None:
        from fdvs.pipelines.cli.export import read_span

        limits["start_s"], limits["end_s"] = read_span(time)
    if source:
        limits["sources"] = listed(source)
    if by:
        limits["matched_by"] = listed(by)
    return limits


@library_command
def show_config(options: LibraryOptions) -> None:
    """Show the settings that a command would use, as YAML that --config takes.

    Those of the library, or of the preset for a new one, with --config, or the fdvs.yaml in the
    library's folder, laid over them.
    """
    if options.has_found_config:
        typer.echo(one_line(f"settings: {options.config}"), err=True)
    values = json.loads(json.dumps(asdict(options.settings())))  # plain lists instead of tuples
    if options.as_json:
        emit(values)
        return
    import yaml

    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
