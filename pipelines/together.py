"""Search and ask several open libraries at once: `fdvs search --library A --library B`."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue, NotFound
from fdvs.pipelines.finder import Page, filters_of, texts_by_source, with_paths
from fdvs.pipelines.library import Library
from fdvs.pipelines.merge import check_same_models
from fdvs.search.together import Part, search_together
from fdvs.store.store import Store
from fdvs.types import Answer, Moment

if TYPE_CHECKING:
    from fdvs.config import Config
    from fdvs.search.index import Index


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
    owners, names = _owners(stores)
    return [replace(one, name=names[one.video_id]) for one in with_paths(found, owners.__getitem__)]


def _owners(stores: Sequence[Store]) -> tuple[dict[str, Store], dict[str, str]]:
    """Return the first store of each video, and its name: with the library's folder where two
    libraries give the name to different films."""
    owners: dict[str, Store] = {}
    names: dict[str, str] = {}
    for store in stores:
        for record in store.videos():
            owners.setdefault(record.video_id, store)
            names.setdefault(record.video_id, record.name)
    times = Counter(names.values())
    return owners, {
        video_id: name if times[name] == 1 else f"{Path(owners[video_id].folder).name}/{name}"
        for video_id, name in names.items()
    }


class Libraries:
    """Several open libraries that are asked as one; settings and models are those of the first.

    What is in two of them counts once. The texts and vectors of all are copied into memory, once
    until one of them changes (`fdvs.search.union`).
    """

    def __init__(self, libraries: Sequence[Library]) -> None:
        """Raise StoreError where other models made one of them."""
        if not libraries:
            raise InvalidValue("libraries", (), "one or more")
        self._libraries = list(libraries)
        self._stores = [library._store for library in libraries]
        check_same_models(self._stores)
        self._lock = threading.Lock()
        self._united: tuple[list[Index], Index] | None = None

    @property
    def config(self) -> Config:
        """The settings of the first library."""
        return self._libraries[0].config

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders of the libraries."""
        return tuple(library.path for library in self._libraries)

    def ask(self, question: str, *, video: str | None = None, **how: Any) -> Answer:
        """Answer a question as `Library.ask` does, by the videos of all libraries.

        Raises NotFound for a video that none holds, InvalidValue for a name that two libraries
        give to different films: name such a video by its id.
        """
        video_id = None if video is None else self._find(video)
        owners, _ = _owners(self._stores)
        return self._libraries[0]._answer(
            question, index=self._index, store_of=lambda one: owners[one], video_id=video_id, **how
        )

    def _find(self, video: str) -> str:
        found = sorted({one for ids in _holding(self._stores, [video]) for one in ids})
        if len(found) > 1:
            raise InvalidValue("video", video, f"one of the ids {', '.join(found)}")
        return found[0]

    def _index(self) -> Index:
        from fdvs.search.union import united

        indexes = [library._loaded_index() for library in self._libraries]
        with self._lock:
            known = self._united
            if known is None or any(a is not b for a, b in zip(known[0], indexes, strict=True)):
                _, names = _owners(self._stores)
                reads = [library._stored for library in self._libraries]
                known = self._united = indexes, united(indexes, reads, names)
            return known[1]
