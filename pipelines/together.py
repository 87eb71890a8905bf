"""Search several open libraries at once: `fdvs search --library A --library B`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdvs.errors import InvalidValue, NotFound
from fdvs.pipelines.finder import Page, filters_of, texts_by_source, with_paths
from fdvs.pipelines.library import Library
from fdvs.pipelines.merge import check_same_models
from fdvs.search.together import Part, search_together
from fdvs.store.store import Store
from fdvs.types import Moment


def search_libraries(
    libraries: Sequence[Library],
    query: str,
    *,
    num: int | None = None,
    offset: int = 0,
    min_score: float | None = None,
    videos: Sequence[str] = (),
    nearest: bool = False,
    **limits: Any,
) -> list[Moment]:
    """Return the moments of several libraries that match a query, in one ranking.

    Arguments as for `Library.search`; the settings and the embedder are those of the first. A name
    that two libraries give to different films is shown with the library's folder.

    Raises StoreError where other models made one of them, NotFound for a video that none holds.
    """
    if not libraries:
        raise InvalidValue("libraries", (), "one or more")
    stores = [library._store for library in libraries]
    check_same_models(stores)
    finders = [library._opened_finder() for library in libraries]
    holding = _holding(stores, videos)
    parts = [
        Part(
            index=finder.index,
            filters=filters_of(store, videos=chosen, **limits),
            pictures=finder.pictures(),
            texts_of=texts_by_source(store, {}),
        )
        for finder, store, chosen in zip(finders, stores, holding, strict=True)
        if chosen or not videos
    ]
    search = finders[0].config.search
    config = search if min_score is None else replace(search, min_score=min_score)
    page = Page(num=num, offset=offset, nearest=nearest)
    found = search_together(
        parts, query, finders[0].embedder(), config,
        num=page.num, offset=page.offset, nearest=page.nearest,
    )  # fmt: skip
    return _shown(found, stores)


def _holding(stores: Sequence[Store], videos: Sequence[str]) -> list[list[str]]:
    """Return for each library those of the videos that it holds, by id."""
    chosen: list[list[str]] = [[] for _ in stores]
    for video in videos:
        failures = []
        for ids, store in zip(chosen, stores, strict=True):
            try:
                ids.append(store.find_video(video).video_id)
            except NotFound as error:
                failures.append(error)
        if len(failures) == len(stores):
            raise failures[0]
    return chosen


def _shown(found: Sequence[Moment], stores: Sequence[Store]) -> list[Moment]:
    """Return moments with the paths of their files, and names that tell the films apart."""
    names: Counter[str] = Counter()
    owners: dict[str, Store] = {}
    for store in stores:
        for record in store.videos():
            if record.video_id not in owners:
                owners[record.video_id] = store
                names[record.name] += 1
    shown = []
    for moment in found:
        store = owners[moment.video_id]
        (one,) = with_paths([moment], store)
        folder = Path(store.folder).name
        shown.append(one if names[one.name] == 1 else replace(one, name=f"{folder}/{one.name}"))
    return shown
