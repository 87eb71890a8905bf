"""The library's SQLite file: its tables, how it is opened, and readable errors.

Independent of what the rows mean. The file is opened in WAL mode with `synchronous=FULL`: a
committed transaction survives a killed process and a power failure, and other processes can read
while a build writes.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote_from_bytes

from fdvs.errors import CorruptLibrary, LibraryBusy, LibraryMissing, StoreError

DATABASE_NAME = "library.sqlite"
APPLICATION_ID = 0x46445653  # "FDVS" in ASCII: distinguishes a library from other SQLite files
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 30.0

SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE videos (
    video_id TEXT PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE sources (
    path BLOB PRIMARY KEY,
    size_bytes INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    video_id TEXT,
    status TEXT NOT NULL CHECK (status IN ('ok', 'failed', 'partial')),
    reason TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX sources_by_video ON sources (video_id);
CREATE TABLE artifacts (
    artifact_id INTEGER PRIMARY KEY,
    video_id TEXT NOT NULL REFERENCES videos (video_id) ON DELETE CASCADE,
    stage TEXT NOT NULL,
    item INTEGER NOT NULL CHECK (item >= 0),
    fingerprint TEXT NOT NULL,
    digest TEXT NOT NULL,
    payload TEXT NOT NULL,
    num_rows INTEGER,
    num_dims INTEGER,
    vectors BLOB,
    UNIQUE (video_id, stage, item)
);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


@contextmanager
def store_errors(folder: Path) -> Iterator[None]:
    """Turn errors of SQLite and the system into StoreErrors of one line with the folder."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise  # wrong thread or closed store: a bug of the caller
    except (sqlite3.DatabaseError, OSError) as error:
        raise explain(error, folder) from error
    except UnicodeDecodeError as error:  # SQLite's message quotes a damaged schema
        raise explain(sqlite3.DatabaseError("its schema is damaged"), folder) from error


def explain(error: sqlite3.Error | OSError, folder: Path) -> StoreError:
    """Return the StoreError that says what happened, where, and what to do next."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    is_schema = code == sqlite3.SQLITE_ERROR and "no such" in str(error)  # a table, a column
    is_schema = is_schema or "schema" in str(error)
    is_schema = is_schema or isinstance(error, sqlite3.IntegrityError)  # rows in a wrong order
    if is_schema or code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return CorruptLibrary(
            f"{folder / DATABASE_NAME} is damaged or not a library ({error}); "
            f"keep what is sound of it: fdvs doctor --repair -l {folder}, then build again"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LibraryBusy(
            f"library {folder} was locked by another process for {BUSY_TIMEOUT_S:.0f} s; try again"
        )
    no_space = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) or (
        isinstance(error, OSError) and error.errno in no_space
    ):
        return StoreError(
            f"library {folder} cannot be written ({error}): is the disk full? What was stored "
            "before is kept; free some space and run the same command again"
        )
    denied = {errno.EACCES, errno.EPERM, errno.EROFS}
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN) or (
        isinstance(error, OSError) and error.errno in denied
    ):
        return StoreError(
            f"library {folder} cannot be opened or written ({error}); "
            "check the folder's permissions or choose another with --library"
        )
    return StoreError(f"library {folder}: {error}; run the same command again")


def connect(folder: Path, *, create: bool) -> tuple[sqlite3.Connection, bool]:
    """Open the library's database; return it and whether it is read-only.

    A foreign or damaged file is refused before anything is written to it. A file without write
    permission is opened read-only.
    """
    path = folder / DATABASE_NAME
    if not create and not path.exists():
        raise LibraryMissing(f"no library in {folder}; make one with: fdvs build PATH")
    connection = open_database(path, "rwc" if create else "rw")
    try:
        if may_write(connection, folder, create=create):
            configure(connection, folder)
            return connection, False
        connection.close()
        connection = open_read_only(path)
        _check_ours(connection, folder, create=False)
    except BaseException:
        connection.close()
        raise
    return connection, True


def open_database(path: Path, mode: str) -> sqlite3.Connection:
    """Connect to a file; `mode` is "rw", "rwc", or a whole query as in SQLite's URIs."""
    # A URI is the only way to say "do not create"; the name is quoted byte by byte because a
    # folder's name need not be UTF-8.
    name = quote_from_bytes(bytes(path.absolute()))
    connection = sqlite3.connect(
        f"file:{name}?{mode if '=' in mode else 'mode=' + mode}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
    )
    # Damaged text is one damaged row, which its digest tells, not the end of a whole query.
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """Open a file that this user may not write.

    SQLite reads a WAL database without write access only if its `-wal` file exists already (a
    build is running), or if it is told that nothing changes the file.
    """
    being_built = path.with_name(path.name + "-wal").exists()
    return open_database(path, "mode=ro" if being_built else "mode=ro&immutable=1")


def may_write(connection: sqlite3.Connection, folder: Path, *, create: bool) -> bool:
    """Check that the file is a library, or make it one; return False if it is read-only."""
    try:
        if not _check_ours(connection, folder, create=create):
            create_tables(connection)
        # SQLite reports a read-only file only at the first write; this one is rolled back
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code not in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN):
            raise
        return False
    return True


def _check_ours(connection: sqlite3.Connection, folder: Path, *, create: bool) -> bool:
    """Return True for a library of this schema, False for an empty file to be filled."""
    # In one view: another process may be creating the tables between two looks.
    connection.execute("BEGIN")
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        num_tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    if application == 0 and version == 0 and num_tables == 0:
        if create:
            return False
        raise LibraryMissing(f"the library in {folder} is empty; fill it with: fdvs build PATH")
    if application != APPLICATION_ID:
        raise CorruptLibrary(
            f"{folder / DATABASE_NAME} is an SQLite file of another program (application id "
            f"{application:#x}, a library has {APPLICATION_ID:#x}); choose another --library, or, "
            f"if it is a damaged library: fdvs doctor --repair -l {folder}"
        )
    if version != SCHEMA_VERSION:
        raise CorruptLibrary(
            f"{folder / DATABASE_NAME} has schema version {version}, this program reads "
            f"{SCHEMA_VERSION}; update fdvs, or build a new library with --library; if no other "
            f"version wrote it, it is damaged: fdvs doctor --repair -l {folder}"
        )
    return True


def create_tables(connection: sqlite3.Connection) -> None:
    """Create all tables in one transaction, so that a killed process leaves none of them."""
    try:
        connection.executescript(SCHEMA)
    except sqlite3.OperationalError:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        # Another process may have created them meanwhile; anything else is an error.
        if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise


def configure(connection: sqlite3.Connection, folder: Path) -> None:
    """Set the journal mode and what every connection needs. Raises StoreError without WAL."""
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(
            f"library {folder}: this file system allows journal mode {mode!r}, not 'wal'; "
            "choose a --library on a local disk"
        )
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def drop_old_full_text(connection: sqlite3.Connection) -> None:
    """Drop the full-text table of earlier versions: it holds a second copy of all texts.

    Its entry is deleted directly, since DROP has to load the table, which a damaged one prevents.
    """
    condition = "name = 'words' AND sql LIKE 'CREATE VIRTUAL TABLE%'"
    if not connection.execute(f"SELECT 1 FROM sqlite_master WHERE {condition}").fetchone():
        return
    connection.execute("PRAGMA writable_schema = ON")
    try:
        connection.execute(f"DELETE FROM sqlite_master WHERE {condition}")
    finally:
        connection.execute("PRAGMA writable_schema = RESET")
    for part in ("data", "idx", "content", "docsize", "config"):  # FTS5's own tables
        connection.execute(f"DROP TABLE IF EXISTS words_{part}")
    connection.execute("DELETE FROM meta WHERE key = 'words_digest'")
