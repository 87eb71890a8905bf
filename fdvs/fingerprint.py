"""Fingerprints decide whether a stored result is still valid.

A fingerprint covers the stage's version, its settings, the models' identities and the digests of
its inputs. Inputs count by content: a changed setting with equal results affects no later stage.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1 << 20


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys, without spaces, dataclasses as objects: one text per value."""
    return json.dumps(
        value,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
        default=_plain,
        allow_nan=False,
    )


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"cannot fingerprint a {type(value).__name__}: {value!r}")


def digest(value: Any) -> str:
    """Return the SHA-256 (hex) of a value's canonical JSON, or of bytes."""
    data = value if isinstance(value, bytes) else canonical_json(value).encode()
    return hashlib.sha256(data).hexdigest()


def fingerprint(stage: str, version: int, **parts: Any) -> str:
    """Return the fingerprint of a stage's result: 32 hex characters."""
    return digest({"stage": stage, "version": version, **parts})[:32]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 (hex) of a file's content, read in chunks."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()
