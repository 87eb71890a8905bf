"""Commands that read a library: list, story, search."""

from __future__ import annotations

import math
from typing import Annotated, Any

import typer

from fdvs.pipelines.cli.options import (
    DEFAULT_LIBRARY,
    ConfigOption,
    JsonOption,
    LibraryOption,
    NumOption,
    PresetOption,
    VideoOption,
    emit,
    opened,
)


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command("list")(list_videos)
    app.command()(story)
    app.command()(search)


def list_videos(
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every video ever given; failed ones with their reason."""
    with opened(library, preset, config) as opened_library:
        rows = opened_library.videos()
        saved = {} if as_json else opened_library.saved()
    if as_json:
        emit(rows)
        return
    from fdvs.pipelines.show.tables import show_rows

    show_rows(rows, saved, library)


def story(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="A video's name or id.")],
    chapters: Annotated[
        bool, typer.Option("--chapters", help="Also show every kept chapter.")
    ] = False,
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a video's story, every sentence with its clips.

    First the whole, then scene by scene. With --json, equal content gives equal bytes.
    """
    with opened(library, preset, config) as opened_library:
        told = opened_library.story(video)
        rows = [] if as_json else opened_library.videos()
    if as_json:
        from fdvs.story.as_json import story_to_json

        emit(story_to_json(told))
        return
    from fdvs.pipelines.show.tables import show_story

    names = [row.name for row in rows if row.video_id == told.video_id]
    show_story(told, names[0] if names else video, with_chapters=chapters)


def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in words.")],
    videos: Annotated[
        bool, typer.Option("--videos", help="Rank whole videos instead of moments.")
    ] = False,
    num: NumOption = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=-1.0, max=1.0, help="Drop results with a lower score."),
    ] = None,
    video: VideoOption = None,
    library: LibraryOption = DEFAULT_LIBRARY,
    preset: PresetOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find moments (or videos) by words, best first."""
    if min_score is not None and not math.isfinite(min_score):
        raise typer.BadParameter(f"--min-score is {min_score}; need a number from -1 to 1")
    if videos and video:
        raise typer.BadParameter("--videos ranks all videos; leave --video out")
    found: list[Any]
    with opened(library, preset, config) as opened_library:
        if videos:
            found = list(opened_library.search_videos(query, num=num, min_score=min_score))
        else:
            found = list(opened_library.search(query, num=num, min_score=min_score, video=video))
        floor = opened_library.config.search.min_score if min_score is None else min_score
    if as_json:
        from fdvs.pipelines.results import with_citation

        emit({"query": query, "videos" if videos else "moments": [*map(with_citation, found)]})
        return
    from fdvs.pipelines.show.tables import show_hits, show_moments

    show = show_hits if videos else show_moments
    show(found, query, floor)
