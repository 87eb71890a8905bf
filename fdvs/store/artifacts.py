"""Results of stages as rows: a JSON payload, vectors, and the digest of both.

A row is committed as a whole or not at all, and checked against its digest when it is read.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdvs.errors import BadModelOutput, CorruptLibrary, StoreError
from fdvs.fingerprint import canonical_json
from fdvs.store.coding import Coding, decode, encode
from fdvs.types import JsonDict, Vectors

COLUMNS = "item, fingerprint, digest, payload, num_rows, num_dims, vectors"
_OF_ROW = ", ".join(f"row.{name}" for name in COLUMNS.split(", "))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Artifact:
    """One stored result; `vectors` is float32 [rows, dims] or None.

    `digest` depends on payload and vectors only. The next stage's fingerprint covers it, so that a
    changed setting which does not change the result makes nothing else stale.
    """

    fingerprint: str
    digest: str
    payload: JsonDict
    vectors: Vectors | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NewArtifact:
    """One result to store, its place, and how its vectors are stored."""

    video_id: str
    stage: str
    item: int = 0
    fingerprint: str
    payload: JsonDict
    vectors: Vectors | None = None
    coding: Coding = "exact"


def content_digest(payload_json: str, vectors: bytes | None) -> str:
    """Return the SHA-256 (hex) of a row's content; None and empty vectors differ."""
    sha = hashlib.sha256(payload_json.encode())
    if vectors is not None:
        sha.update(b"\0vectors\0")
        sha.update(vectors)
    return sha.hexdigest()


def put_all(connection: sqlite3.Connection, new: Iterable[NewArtifact]) -> list[Artifact]:
    """Write rows, replacing those of the same place, in the caller's transaction."""
    return [_put(connection, one) for one in new]


def _put(connection: sqlite3.Connection, new: NewArtifact) -> Artifact:
    vectors = None if new.vectors is None else _as_matrix(new)
    blob = None if vectors is None else encode(vectors, new.coding)
    if vectors is not None and blob is not None:
        vectors = decode(blob, *vectors.shape)
    payload_json = canonical_json(new.payload)
    digest = content_digest(payload_json, _exact(vectors))
    num_rows, num_dims = (None, None) if vectors is None else vectors.shape
    values = (new.fingerprint, digest, payload_json, num_rows, num_dims, blob)
    try:
        connection.execute(
            "INSERT INTO artifacts (video_id, stage, item, fingerprint, digest, payload, num_rows,"
            " num_dims, vectors) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (video_id, stage, item) DO UPDATE SET fingerprint = excluded.fingerprint,"
            " digest = excluded.digest, payload = excluded.payload, num_rows = excluded.num_rows,"
            " num_dims = excluded.num_dims, vectors = excluded.vectors",
            (new.video_id, new.stage, new.item, *values),
        )
    except sqlite3.IntegrityError as error:
        raise StoreError(
            f"cannot store {new.stage}[{new.item}] of video {new.video_id!r} ({error}): "
            "was the video removed meanwhile? run the same build again"
        ) from error
    return Artifact(
        fingerprint=new.fingerprint,
        digest=digest,
        payload=json.loads(payload_json),
        vectors=vectors,
    )


def _exact(vectors: Vectors | None) -> bytes | None:
    """Return the bytes that a digest covers: those of the numbers, however they are stored."""
    return None if vectors is None else vectors.astype("<f4", copy=False).tobytes()


def _as_matrix(new: NewArtifact) -> Vectors:
    matrix = np.ascontiguousarray(new.vectors, dtype=np.float32)
    if matrix.ndim != 2:
        raise ValueError(f"vectors need shape [rows, dims], got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise BadModelOutput(
            f"{new.stage}[{new.item}] of video {new.video_id}: an embedding holds values that are "
            "not finite; check the embedder (a half-precision overflow?) or choose another"
        )
    return matrix


def read_stage(
    connection: sqlite3.Connection, video_id: str, stage: str, *, item: int | None = None
) -> Iterator[tuple[int, Artifact]]:
    """Yield (item, artifact) of one stage of one video in rising order of items."""
    only = "" if item is None else " AND at.item = ?"
    rows = connection.execute(
        # The index says where a row lies; what the row itself says comes from the table.
        f"SELECT at.item, row.video_id, row.stage, {_OF_ROW} FROM artifacts AS at"
        " JOIN artifacts AS row ON row.artifact_id = at.artifact_id"
        f" WHERE at.video_id = ? AND at.stage = ?{only} ORDER BY at.item",
        (video_id, stage) if item is None else (video_id, stage, item),
    )
    for place, *key, row_item, fingerprint, digest, payload, num_rows, num_dims, blob in rows:
        where = f"{stage}[{place}] of video {video_id}"
        if [*key, row_item] != [video_id, stage, place]:
            raise _corrupt(where, "the index leads to another row")
        yield place, _checked(where, fingerprint, digest, payload, num_rows, num_dims, blob)


def find_damaged(connection: sqlite3.Connection, video_id: str) -> list[int]:
    """Return the `artifact_id` of every row of a video that does not match its digest."""
    rows = connection.execute(
        f"SELECT artifact_id, {COLUMNS} FROM artifacts WHERE video_id = ?", (video_id,)
    )
    return [artifact_id for artifact_id, *columns in rows if not is_sound(*columns)]


def is_sound(item: object, *columns: Any) -> bool:
    """Whether the columns of a row (COLUMNS), whatever they hold, match its digest."""
    try:
        _checked(f"[{item}]", *columns)
    except (CorruptLibrary, TypeError, ValueError):
        return False
    return isinstance(item, int) and item >= 0


def seal_of(connection: sqlite3.Connection, video_id: str) -> str:
    """Return a digest over the places, fingerprints and digests of a video's rows but `done`."""
    rows = connection.execute(
        "SELECT stage, item, fingerprint, digest FROM artifacts"
        " WHERE video_id = ? AND stage != 'done' ORDER BY stage, item",
        (video_id,),
    )
    return hashlib.sha256(
        canonical_json([list(map(str, row)) for row in rows]).encode()
    ).hexdigest()


def _checked(
    where: str,
    fingerprint: str,
    digest: str,
    payload_json: str,
    num_rows: int | None,
    num_dims: int | None,
    blob: bytes | None,
) -> Artifact:
    """Return a row as an artifact. Raises CorruptLibrary if it does not match its digest."""
    vectors = None
    if not isinstance(payload_json, str) or not isinstance(blob, bytes | None):
        raise _corrupt(where, "a column holds a value of another type")
    if blob is not None:
        try:
            vectors = decode(blob, num_rows or 0, num_dims or 0)
        except ValueError as error:
            raise _corrupt(where, str(error)) from error
    if content_digest(payload_json, _exact(vectors)) != digest:
        raise _corrupt(where, "content and digest do not agree")
    return Artifact(
        fingerprint=fingerprint, digest=digest, payload=_loads(where, payload_json), vectors=vectors
    )


def _loads(where: str, payload_json: str) -> JsonDict:
    try:
        payload: Any = json.loads(payload_json)
    except ValueError as error:
        raise _corrupt(where, f"payload is not JSON ({error})") from error
    if not isinstance(payload, dict):
        raise _corrupt(where, f"payload is a {type(payload).__name__}, not an object")
    return payload


def _corrupt(where: str, what: str) -> CorruptLibrary:
    return CorruptLibrary(
        f"stored {where} is damaged: {what}; run fdvs build again, which makes it anew"
    )
