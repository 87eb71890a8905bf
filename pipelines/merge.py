"""Unite libraries that were built apart: `fdvs merge LIBRARY SHARD...`.

Vectors of different models share no space, so the libraries must have been made by the same text
embedder and the same models of pictures. Other settings may differ: the next build makes anew what
its own settings make stale, and the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import InvalidValue, StoreError
from fdvs.pipelines.made_by import PICTURES, SETTINGS, TEXT_EMBEDDER
from fdvs.store.merge import MergedVideo, merge_videos
from fdvs.store.meta import get_meta, set_meta
from fdvs.store.store import Store
from fdvs.types import JsonDict

Watch = Callable[[MergedVideo], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What became of the videos of all shards, in their order, and notes about settings."""

    videos: tuple[MergedVideo, ...]
    notes: tuple[str, ...] = ()

    def num(self, how: str) -> int:
        """Return how many videos were added, completed, known or left out."""
        return sum(one.how == how for one in self.videos)


def merge(
    library: Path, shards: Sequence[Path], *, watch: Watch = lambda merged: None
) -> MergeReport:
    """Copy the videos of the shards into a library, which is made where there is none.

    Nothing is written before all shards are known to fit. Each video is one transaction: the same
    command goes on after an interruption.

    Raises LibraryMissing, LibraryBusy while a build is at work, StoreError where models differ.
    """
    stores = [Store.open(shard) for shard in shards]
    try:
        for store in stores:
            if store.folder.resolve() == Path(library).resolve():
                raise InvalidValue("SHARD", str(store.folder), "another library than the target")
        facts = [_facts(store) for store in stores]
        first = next(iter(_of_target(library)), None) or (stores[0].folder, facts[0])
        for store, found in zip(stores, facts, strict=True):
            _must_fit(first, (store.folder, found), "then merge")
        with Store.open(library, create=True) as target, target.build_lock(wait=False):
            for key, value in first[1].items():
                if value is not None:
                    set_meta(target, key, value)
            merged = []
            for store in stores:
                for one in merge_videos(target, store):
                    watch(one)
                    merged.append(one)
    finally:
        for store in stores:
            store.close()
    return MergeReport(videos=tuple(merged), notes=tuple(_notes(first[1], stores, facts)))


def _of_target(library: Path) -> list[tuple[Path, dict[str, JsonDict | None]]]:
    """Return the folder and the facts of the target, none where it holds no video yet."""
    if not Store.exists(library):
        return []
    with Store.open(library) as store:
        return [(store.folder, _facts(store))] if store.videos() else []


def _facts(store: Store) -> dict[str, JsonDict | None]:
    return {key: get_meta(store, key) for key in (TEXT_EMBEDDER, PICTURES, SETTINGS)}


def check_same_models(stores: Sequence[Store]) -> None:
    """Raise StoreError, with the names of both, where two libraries were made by other models."""
    first = stores[0].folder, _facts(stores[0])
    for store in stores[1:]:
        _must_fit(first, (store.folder, _facts(store)), "then search them together")


def _must_fit(
    one: tuple[Path, dict[str, JsonDict | None]],
    other: tuple[Path, dict[str, JsonDict | None]],
    then: str,
) -> None:
    """Raise StoreError where two libraries were made by different models."""
    for key, what in ((TEXT_EMBEDDER, "text embedder"), (PICTURES, "models of pictures")):
        values = one[1][key], other[1][key]
        if values[0] != values[1]:
            said = [_shown(value) for value in values]
            raise StoreError(
                f"the {what} of {one[0]} and {other[0]} differ: {said[0]} and {said[1]}; build "
                f"one of them again with the settings of the other, {then}"
            )


def _shown(value: JsonDict | None) -> str:
    if value is None:
        return "none"
    if "name" in value:
        return f"{value['name']} ({value.get('backend')}, {str(value.get('weights_sha256'))[:12]})"
    return ", ".join(f"{key} {str(one)[:12]}" for key, one in sorted(value.items()))


def _notes(
    settings: dict[str, JsonDict | None],
    stores: Sequence[Store],
    facts: Sequence[dict[str, JsonDict | None]],
) -> list[str]:
    others = [
        str(store.folder)
        for store, found in zip(stores, facts, strict=True)
        if found[SETTINGS] != settings[SETTINGS]
    ]
    if not others:
        return []
    return [
        f"built with other settings: {', '.join(others)}; the next build makes anew what differs"
    ]
