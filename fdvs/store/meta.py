"""Facts about the library as a whole, one JSON object per key: settings, embedders."""

from __future__ import annotations

import json
from typing import Any

from fdvs.errors import CorruptLibrary
from fdvs.fingerprint import canonical_json
from fdvs.store.store import Store
from fdvs.types import JsonDict


def get_meta(store: Store, key: str) -> JsonDict | None:
    """Return the object stored under a key, or None. Raises CorruptLibrary."""
    with store.reading() as connection:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    try:
        value: Any = json.loads(row[0])
    except ValueError as error:
        raise CorruptLibrary(
            f"{store.folder}: {key} is not JSON; build into a new folder"
        ) from error
    if not isinstance(value, dict):
        raise CorruptLibrary(f"{store.folder}: {key} is not an object; build into a new folder")
    return value


def set_meta(store: Store, key: str, value: JsonDict) -> None:
    """Store an object under a key, unless it is stored already."""
    if get_meta(store, key) == value:
        return
    with store.writing() as connection:
        connection.execute(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, canonical_json(value))
        )
