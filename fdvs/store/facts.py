"""How facts about a whole library are stored: one JSON object per key, and a digest beside it.

The digest of a key's value stands under `KEY.sha256`; facts of older versions have none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from fdvs.fingerprint import canonical_json, digest
from fdvs.types import JsonDict

SUFFIX = ".sha256"


def as_rows(key: str, value: JsonDict) -> Iterator[tuple[str, str]]:
    """Yield the rows (key, text) that store a fact."""
    text = canonical_json(value)
    yield key, text
    yield key + SUFFIX, canonical_json({"of": digest(text.encode())})


def problem(key: str, facts: Mapping[str, str]) -> str:
    """Return what is wrong with a stored fact, "" if nothing is; `facts` are texts by key."""
    try:
        value = json.loads(facts[key])
    except ValueError:
        return "not JSON"
    if not isinstance(value, dict):
        return "not an object"
    stored = facts.get(key + SUFFIX)
    if stored is not None and stored != canonical_json({"of": digest(facts[key].encode())}):
        return "damaged: content and digest do not agree"
    return ""


def sound_keys(facts: Mapping[str, str]) -> list[str]:
    """Return the keys of all facts that are as they were written, and those of their digests."""
    whole = [key for key in facts if not key.endswith(SUFFIX) and not problem(key, facts)]
    return [*whole, *(key + SUFFIX for key in whole if key + SUFFIX in facts)]
