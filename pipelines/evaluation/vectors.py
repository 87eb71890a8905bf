"""Vectors of texts on disk, so that an interrupted evaluation goes on where it stopped.

`StoredEmbedder` first looks up a text in a SQLite file, by a digest of embedder and text. The file
holds digests and numbers, no text, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from fdvs.errors import StoreError
from fdvs.pipelines.evaluation.job import Job
from fdvs.protocols import TextEmbedder
from fdvs.types import ModelIdentity, Vectors

FILE_NAME = "vectors.sqlite"
#: Texts embedded between two writes: the most that a killed run loses.
NUM_AT_ONCE = 1024
NUM_ASKED = 500  # keys in one SELECT
WAIT_S = 60.0

logger = logging.getLogger(__name__)


def vectors_file(job: Job) -> Path:
    """Return where a row stores vectors: beside the other rows' folders where it is one of several.

    Rows of one dataset embed the same texts.
    """
    folder = job.out.parent if job.out.name == job.row.name else job.out
    return folder / FILE_NAME


def stored_embedder(job: Job) -> StoredEmbedder:
    """Return the job's text embedder, which reuses the vectors of earlier evaluations."""
    return StoredEmbedder(
        lambda: job.model_set.text_embedder,
        identity=job.model_set.identity("text_embedder"),
        fingerprint=job.model_set.fingerprint("text_embedder"),
        path=vectors_file(job),
    )


class StoredEmbedder:
    """A text embedder with a cache on disk. `fingerprint` covers all that can change its vectors.

    The embedder is loaded for the first text that is not in the file. `num_made` and `num_found`
    count the texts embedded and found. Several processes may share one file.
    """

    def __init__(
        self,
        load: Callable[[], TextEmbedder],
        *,
        identity: ModelIdentity,
        fingerprint: str,
        path: Path,
    ) -> None:
        self.identity = identity
        self.num_made = self.num_found = 0
        self._load = load
        self._fingerprint = fingerprint
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            # with rowid: vectors lie in the order of writing, only the keys are in a tree
            database.execute(
                "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
            )

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D], rows of unit length.

        Raises StoreError where the file cannot be read or written, or is none of ours.
        """
        if not texts:
            return self._load().embed_texts([])
        keys = {text: self._key(text) for text in dict.fromkeys(texts)}
        with self._open() as database:
            rows = _read(database, list(keys.values()))
            self.num_found += len(rows)
            # long and short texts apart: a batch costs as much as its longest text
            missing = sorted((t for t, key in keys.items() if key not in rows), key=len)
            for start in range(0, len(missing), NUM_AT_ONCE):
                part = missing[start : start + NUM_AT_ONCE]
                made = self._load().embed_texts(part).astype("<f4")
                new = {keys[text]: row for text, row in zip(part, made, strict=True)}
                _write(database, new)
                rows |= new
                self.num_made += len(part)
                logger.info("%d of %d texts embedded", start + len(part), len(missing))
        return self._stack([rows[keys[text]] for text in texts])

    def _key(self, text: str) -> bytes:
        data = f"{self._fingerprint}\0{text}".encode("utf-8", errors="surrogatepass")
        return hashlib.sha256(data).digest()

    def _stack(self, rows: Sequence[Vectors]) -> Vectors:
        lengths = {len(row) for row in rows}
        if len(lengths) != 1 or not all(np.isfinite(row).all() for row in rows):
            raise StoreError(f"{self._path} holds damaged vectors; delete it and run again")
        return np.stack(rows).astype(np.float32)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=WAIT_S)) as database:
                yield database
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}; delete it and run again") from None


def _read(database: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, Vectors]:
    rows: dict[bytes, Vectors] = {}
    for start in range(0, len(keys), NUM_ASKED):
        part = keys[start : start + NUM_ASKED]
        marks = ", ".join("?" * len(part))
        found = database.execute(f"SELECT key, row FROM vectors WHERE key IN ({marks})", part)
        # a row cut to another length is caught when rows are put together
        rows |= {key: np.frombuffer(row[: len(row) // 4 * 4], dtype="<f4") for key, row in found}
    return rows


def _write(database: sqlite3.Connection, rows: dict[bytes, Vectors]) -> None:
    with database:
        database.executemany(
            "INSERT OR REPLACE INTO vectors (key, row) VALUES (?, ?)",
            [(key, row.tobytes()) for key, row in rows.items()],
        )
