"""Commands that read a library: list, story, search."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import Annotated

import typer

from fdvs.pipelines.cli.options import (
    LibraryOptions,
    NumOption,
    VideoArgument,
    VideoOption,
    emit,
    library_command,
)


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


@library_command
def search(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for, in words.")],
    options: LibraryOptions,
    videos: Annotated[
        bool, typer.Option("--videos", help="Rank whole videos instead of moments.")
    ] = False,
    num: NumOption = None,
    min_score: Annotated[
        float | None,
        typer.Option("--min-score", min=-1.0, max=1.0, help="Leave out results below this score."),
    ] = None,
    video: VideoOption = None,
) -> None:
    """Find the moments (or videos) that match a description."""
    if min_score is not None and not math.isfinite(min_score):
        raise typer.BadParameter(f"--min-score is {min_score}; need a number from -1 to 1")
    if videos and video:
        raise typer.BadParameter("--videos ranks all videos; leave --video out")
    with options.opened() as library:
        floor = library.config.search.min_score if min_score is None else min_score
        if videos:
            hits = library.search_videos(query, num=num, min_score=min_score)
        else:
            moments = library.search(query, num=num, min_score=min_score, video=video)
            if not moments:
                nearest = library.search(query, num=1, min_score=-1.0, video=video)
    if options.as_json:
        from fdvs.pipelines.results import hit_json, moment_json

        if videos:
            emit({"query": query, "videos": [hit_json(hit) for hit in hits]})
        else:
            found = {"query": query, "moments": [moment_json(moment) for moment in moments]}
            emit(found | ({} if moments else {"nearest": [moment_json(one) for one in nearest]}))
        return
    from fdvs.pipelines.show.tables import show_hits, show_moments

    if videos:
        show_hits(hits, query, floor)
    else:
        show_moments(moments, query, floor, nearest=() if moments else nearest)


@library_command
def show_config(options: LibraryOptions) -> None:
    """Show the settings that a command would use, as YAML that --config takes.

    Those of the library, or of the preset for a new one, with --config laid over them.
    """
    values = json.loads(json.dumps(asdict(options.settings())))  # plain lists instead of tuples
    if options.as_json:
        emit(values)
        return
    import yaml

    typer.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)
