"""The library on disk: one SQLite file and a folder of thumbnails.

    with Store.open(Path("library"), create=True) as store, store.build_lock():
        video = store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=path)
        store.put(video.video_id, "chapter", 0, fingerprint=..., payload={...})

Every call is one transaction: when it returns, its rows are on disk. A store is used from the
thread that opened it (another thread gets sqlite3.ProgrammingError); any number of other
processes may read while one builds. The store does not know what stages mean or what is stale.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fdvs.errors import CorruptLibrary, StoreError
from fdvs.files import Closing, is_jpeg, write_whole
from fdvs.store.artifacts import (
    Artifact,
    NewArtifact,
    find_damaged,
    put_all,
    read_stage,
    seal_of,
)
from fdvs.store.coding import Coding
from fdvs.store.follow import follow_files, forget_gone
from fdvs.store.indexes import mend_indexes
from fdvs.store.lock import build_lock
from fdvs.store.schema import DATABASE_NAME, connect, drop_old_full_text, store_errors
from fdvs.store.sources import (
    SourceRow,
    SourceStatus,
    find_former,
    find_known,
    find_unheld,
    is_noted,
    mend_places,
    read_sources,
    write_source,
)
from fdvs.store.videos import (
    VideoRecord,
    delete_video,
    find_exactly,
    pick_video,
    read_videos,
    rename,
    video_id_from,
    write_video,
)
from fdvs.text.clean import show_text
from fdvs.types import JsonDict, Vectors

__all__ = ["Artifact", "NewArtifact", "SourceRow", "Store", "VideoRecord", "video_id_from"]

logger = logging.getLogger(__name__)

THUMBNAILS_NAME = "thumbnails"
MAX_REASON_CHARS = 1000  # a reason is one line; model and decoder messages can be pages


class Store(Closing):
    """An open library, from `Store.open`; close it, or use it as a context manager."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, *, is_read_only: bool) -> None:
        self.folder = folder
        self.is_read_only = is_read_only
        self._connection = connection

    @staticmethod
    def exists(folder: Path) -> bool:
        """Return whether a folder has a library file, whatever is in it."""
        return (Path(folder) / DATABASE_NAME).exists()

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Store:
        """Open the library in a folder; `create` makes both if they are missing.

        Raises LibraryMissing, CorruptLibrary (another program's file, or of a newer version),
        StoreError.
        """
        folder = Path(folder).absolute()
        with store_errors(folder):
            if create:
                folder.mkdir(parents=True, exist_ok=True)
            connection, is_read_only = connect(folder, create=create)
        return cls(folder, connection, is_read_only=is_read_only)

    def close(self) -> None:
        """Close the database; closing twice is fine."""
        with store_errors(self.folder):
            self._connection.close()

    # -- who may write -------------------------------------------------------------------------

    @contextmanager
    def build_lock(
        self, *, wait: bool = True, on_wait: Callable[[str], None] | None = None
    ) -> Iterator[None]:
        """Hold the right to build or remove; without `wait`, raises LibraryBusy at once."""
        with build_lock(self.folder, wait=wait, on_wait=on_wait):
            with self.writing() as connection:
                drop_old_full_text(connection)
            yield

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that is committed as a whole or not at all."""
        with store_errors(self.folder), self._transaction("BEGIN IMMEDIATE"):
            yield self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Open a consistent view of the library, whatever another process writes meanwhile."""
        with store_errors(self.folder), self._transaction("BEGIN"):
            yield self._connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[None]:
        if self._connection.in_transaction:  # part of a larger transaction, which commits
            yield
            return
        self._connection.execute(begin)
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself rolls back when the disk is full
                self._connection.execute("ROLLBACK")
            raise

    # -- files of builds -------------------------------------------------------------------------

    def note_source(
        self,
        path: Path,
        *,
        size_bytes: int,
        mtime_ns: int,
        video_id: str | None,
        status: SourceStatus,
        reason: str = "",
    ) -> None:
        """Record the outcome of a file; the row of a moved one (old path gone) moves with it."""
        row = SourceRow(
            path=path,
            size_bytes=size_bytes,
            mtime_ns=mtime_ns,
            video_id=video_id,
            status=status,
            reason=show_text(" ".join(reason.split()))[:MAX_REASON_CHARS],
        )
        with self.reading() as connection:
            is_known = is_noted(connection, row)
        if not is_known:  # a commit takes milliseconds, and most files of a build are unchanged
            with self.writing() as connection:
                write_source(connection, row)

    def sources(self) -> list[SourceRow]:
        """Return every file that a build was given, ordered by path."""
        with self.reading() as connection:
            return read_sources(connection)

    def known_video(self, path: Path, *, size_bytes: int, mtime_ns: int) -> str | None:
        """Return the video id of a file that has not changed since it was recorded, or None."""
        with self.reading() as connection:
            return find_known(connection, path, size_bytes=size_bytes, mtime_ns=mtime_ns)

    def replace_former(self, path: Path, video_id: str) -> list[str]:
        """Delete the videos that only this file held before `video_id`, which gets their name.

        Returns their ids. Needs the build lock.
        """
        with self.writing() as connection:
            former = find_former(connection, path, video_id)
            for old_id, _ in former:
                delete_video(connection, old_id)
            if former:
                rename(connection, video_id, former[0][1])
        return [old_id for old_id, _ in former]

    def mend(self) -> None:
        """Repair damaged indexes, and ids, statuses and paths of files and videos.

        Needs the build lock.
        """
        with self.writing() as connection:
            num_indexes, broken = mend_indexes(connection)
            if broken:
                raise CorruptLibrary(
                    f"library {self.folder}: the table of {', '.join(broken)} is damaged; keep "
                    f"what is sound of it: fdvs doctor --repair -l {self.folder}, then build again"
                )
            num = mend_places(connection)
        if num_indexes:
            logger.warning("the indexes of %d tables were damaged; made again", num_indexes)
        if num:
            logger.warning("%d rows of files and videos were mended", num)

    def forget_gone(self, roots: Iterable[Path]) -> list[str]:
        """Forget files below `roots` that are gone; return the names of the videos that went with
        them. Needs the build lock."""
        with self.writing() as connection:
            return forget_gone(connection, roots)

    def collect_garbage(self) -> None:
        """Delete videos that no file holds any more, thumbnails without a video and temporary files
        of killed builds, and name every video after its file; needs the build lock."""
        with self.writing() as connection:
            for video_id in find_unheld(connection):
                logger.info("video %s is removed: no file holds it any more", video_id)
                delete_video(connection, video_id)
            mend_places(connection)  # of films that swapped their places
            for old, new in follow_files(connection):
                logger.info("%s is now called %s, as its file", old, new)
            ids = {record.video_id for record in read_videos(connection)}
        with store_errors(self.folder):
            thumbnails = self.folder / THUMBNAILS_NAME
            for folder in thumbnails.iterdir() if thumbnails.is_dir() else ():
                if folder.is_dir() and folder.name not in ids:
                    shutil.rmtree(folder, ignore_errors=True)
            for left in (*self.folder.glob(".*.tmp"), *thumbnails.glob("*/.*.tmp")):
                left.unlink(missing_ok=True)

    # -- videos --------------------------------------------------------------------------------

    def add_video(self, *, video_id: str, sha256: str, path: Path) -> VideoRecord:
        """Store a video under a unique name; a stored one is returned unchanged."""
        with self.reading() as connection:
            known = find_exactly(connection, video_id)
        if known is not None and known.sha256 == sha256:
            return known
        with self.writing() as connection:
            return write_video(connection, video_id=video_id, sha256=sha256, path=path)

    def videos(self) -> list[VideoRecord]:
        """Return all videos in the order of their names."""
        with self.reading() as connection:
            return read_videos(connection)

    def find_video(self, name_or_id: str) -> VideoRecord:
        """Return the video of a name, id or unique prefix of an id. Raises NotFound."""
        with self.reading() as connection:
            found = find_exactly(connection, name_or_id)
        return found or pick_video(self.videos(), name_or_id)

    def sha256_of(self, video_id: str) -> str | None:
        """Return the hash of a video's content, None if the library does not hold the video."""
        with self.reading() as connection:
            found = find_exactly(connection, video_id)
        return found.sha256 if found and found.video_id == video_id else None

    def remove_video(self, video_id: str) -> None:
        """Delete a video and all its results; needs the build lock. Raises NotFound."""
        with self.writing() as connection:
            delete_video(connection, video_id)
        with store_errors(self.folder):
            thumbnails = self._thumbnail_folder(video_id)
            if thumbnails.is_dir():
                shutil.rmtree(thumbnails)

    # -- results of stages ---------------------------------------------------------------------

    def get(self, video_id: str, stage: str, item: int = 0) -> Artifact | None:
        """Return one result or None. Raises CorruptLibrary if the row is damaged."""
        with self.reading() as connection:
            for _, artifact in read_stage(connection, video_id, stage, item=item):
                return artifact
        return None

    def get_all(self, video_id: str, stage: str) -> dict[int, Artifact]:
        """Return all results of a stage by item, in rising order."""
        with self.reading() as connection:
            return dict(read_stage(connection, video_id, stage))

    def stages(self, video_id: str) -> list[str]:
        """Return the names of the stages of which a video has results."""
        with self.reading() as connection:
            found = connection.execute(
                "SELECT DISTINCT stage FROM artifacts WHERE video_id = ? ORDER BY stage",
                (video_id,),
            )
            return [str(stage) for (stage,) in found]

    def is_intact(self, video_id: str, *, seal: str | None) -> bool:
        """Whether every row of a video matches its digest, and all rows together the `seal`."""
        with self.reading() as connection:
            if find_damaged(connection, video_id):
                return False
            return seal is None or seal == seal_of(connection, video_id)

    def seal(self, video_id: str) -> str:
        """Return a digest over all rows of a video: their places, fingerprints and digests."""
        with self.reading() as connection:
            return seal_of(connection, video_id)

    def drop_damaged(self, video_id: str) -> None:
        """Delete the damaged rows of a video, so that they are made again."""
        with self.writing() as connection:
            rows = [(row,) for row in find_damaged(connection, video_id)]
            connection.executemany("DELETE FROM artifacts WHERE artifact_id = ?", rows)

    def delete(self, video_id: str, stages: Iterable[str], *, item: int) -> None:
        """Delete one item's results of several stages."""
        with self.writing() as connection:
            connection.executemany(
                "DELETE FROM artifacts WHERE video_id = ? AND stage = ? AND item = ?",
                [(video_id, stage, item) for stage in stages],
            )

    def put(
        self,
        video_id: str,
        stage: str,
        item: int = 0,
        *,
        fingerprint: str,
        payload: JsonDict,
        vectors: Vectors | None = None,
        coding: Coding = "exact",
    ) -> Artifact:
        """Commit one result: `payload` is JSON with string keys, `vectors` are [rows, dims]."""
        new = NewArtifact(
            video_id=video_id,
            stage=stage,
            item=item,
            fingerprint=fingerprint,
            payload=payload,
            vectors=vectors,
            coding=coding,
        )
        return self.put_many([new])[0]

    def put_many(self, new: Iterable[NewArtifact]) -> list[Artifact]:
        """Commit several results together, all or none."""
        with self.writing() as connection:
            return put_all(connection, new)

    def trim(self, video_id: str, stage: str, *, keep_items: int) -> None:
        """Delete the results of a stage whose item is >= keep_items."""
        with self.writing() as connection:
            connection.execute(
                "DELETE FROM artifacts WHERE video_id = ? AND stage = ? AND item >= ?",
                (video_id, stage, keep_items),
            )

    # -- thumbnails ----------------------------------------------------------------------------

    def _thumbnail_folder(self, video_id: str) -> Path:
        # The id becomes a folder's name, so only hex is allowed, never `..` or a slash.
        if not video_id or set(video_id) - set("0123456789abcdef"):
            raise StoreError(f"video_id {video_id!r} is not hex; use Store.add_video's id")
        return self.folder / THUMBNAILS_NAME / video_id

    def thumbnail_path(self, video_id: str, clip_index: int) -> Path:
        """Return the path of a clip's thumbnail, which may not exist."""
        if clip_index < 0:
            raise ValueError(f"clip_index is {clip_index}; need >= 0")
        return self._thumbnail_folder(video_id) / f"{clip_index:06d}.jpg"

    def lost_thumbnails(self, video_id: str) -> frozenset[int]:
        """Return the clips with stored frames whose thumbnail is missing or no whole JPEG."""
        with self.reading() as connection:
            items = connection.execute(
                "SELECT item FROM artifacts WHERE video_id = ? AND stage = 'frames'"
                " AND typeof(item) = 'integer' AND item >= 0",  # others are damaged
                (video_id,),
            ).fetchall()
        return frozenset(i for (i,) in items if not is_jpeg(self.thumbnail_path(video_id, i)))

    def trim_thumbnails(
        self, video_id: str, *, keep_items: int, without: Container[int] = ()
    ) -> None:
        """Delete the thumbnails of clips from `keep_items` on, and of those in `without`."""
        with store_errors(self.folder):
            for path in self._thumbnail_folder(video_id).glob("*.jpg"):
                index = int(path.stem) if path.stem.isdigit() else -1
                if index >= keep_items or index in without:
                    path.unlink(missing_ok=True)

    def put_thumbnail(self, video_id: str, clip_index: int, jpeg: bytes) -> Path:
        """Write a clip's thumbnail (JPEG bytes), whole or not at all; return its path."""
        path = self.thumbnail_path(video_id, clip_index)
        with store_errors(self.folder):
            write_whole(path, jpeg)
        return path
