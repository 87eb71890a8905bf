"""Facts about the library as a whole, one JSON object per key: settings, embedders."""

from __future__ import annotations

import json
from typing import cast

from fdvs.errors import CorruptLibrary
from fdvs.store.facts import SUFFIX, as_rows, problem
from fdvs.store.store import Store
from fdvs.types import JsonDict


def get_meta(store: Store, key: str) -> JsonDict | None:
    """Return the object stored under a key, or None. Raises CorruptLibrary."""
    with store.reading() as connection:
        found = connection.execute(
            "SELECT key, value FROM meta WHERE key IN (?, ?)", (key, key + SUFFIX)
        )
        facts = dict(found.fetchall())
    if key not in facts:
        return None
    if what := problem(key, facts):
        raise CorruptLibrary(
            f"{store.folder}: the stored {key} are {what}; run: fdvs doctor --repair -l "
            f"{store.folder}, then build again"
        )
    return cast("JsonDict", json.loads(facts[key]))


def set_meta(store: Store, key: str, value: JsonDict) -> None:
    """Store an object under a key, unless it is stored already."""
    if get_meta(store, key) == value:
        return
    with store.writing() as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", as_rows(key, value)
        )
