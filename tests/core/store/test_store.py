"""Opening a library, and what it says when the disk or the system does not play along."""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import threading
from pathlib import Path

import pytest

from fdvs.errors import (
    CorruptLibrary,
    LibraryBusy,
    LibraryMissing,
    StoreError,
)
from fdvs.store import schema as store_schema
from fdvs.store.lock import build_lock
from fdvs.store.schema import explain
from fdvs.store.store import Store, VideoRecord, video_id_from


def sha_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def add(store: Store, path: Path | str, content: str) -> VideoRecord:
    sha256 = sha_of(content)
    return store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=Path(path))


# -- opening -----------------------------------------------------------------------------------


def test_a_missing_library_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(LibraryMissing, match="fdvs build"):
        Store.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_creating_makes_parents_and_opening_again_finds_everything(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with Store.open(folder, create=True) as store:
        video = add(store, "x.mp4", "x")
    with Store.open(folder) as store:
        assert store.videos() == [video]
    with Store.open(folder, create=True) as store:
        assert store.videos() == [video]


def test_a_library_in_a_folder_whose_name_is_not_utf8_works(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 %20?#"))
    with Store.open(folder, create=True) as store:
        add(store, "x.mp4", "x")
    with Store.open(folder) as store:
        assert len(store.videos()) == 1
    assert (folder / "library.sqlite").exists()


@pytest.mark.parametrize("create", [True, False])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, create: bool) -> None:
    path = tmp_path / "library.sqlite"
    path.write_bytes(b"this is a diary, not a database " * 100)
    before = path.read_bytes()
    with pytest.raises(CorruptLibrary, match=str(path)):
        Store.open(tmp_path, create=create)
    assert path.read_bytes() == before


def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "library.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(CorruptLibrary, match="another program"):
        Store.open(tmp_path, create=True)
    assert path.read_bytes() == before


def test_a_library_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    with sqlite3.connect(tmp_path / "library.sqlite") as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(CorruptLibrary, match=r"version 2.*reads 1"):
        Store.open(tmp_path)


def test_a_creation_killed_before_its_tables_can_be_finished(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").touch()
    with pytest.raises(LibraryMissing, match="empty"):
        Store.open(tmp_path)
    with Store.open(tmp_path, create=True) as store:
        assert store.videos() == []


def test_a_file_where_the_folder_should_be_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError) as caught:
        Store.open(tmp_path / "file", create=True)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "file") in str(caught.value)


def test_a_damaged_page_is_reported_as_a_corrupt_library(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        video = add(store, "x.mp4", "x")
        for item in range(50):
            store.put(video.video_id, "s", item, fingerprint="f", payload={"t": "y" * 500})
    path = tmp_path / "library.sqlite"
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises(CorruptLibrary, match=str(tmp_path)), Store.open(tmp_path) as store:
        store.get_all(video.video_id, "s")


def test_every_commit_is_synced_to_the_disk(store: Store) -> None:
    with store.reading() as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_a_store_used_from_another_thread_is_refused(store: Store) -> None:
    caught: list[BaseException] = []

    def use() -> None:
        try:
            store.videos()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [type(error) for error in caught] == [sqlite3.ProgrammingError]


# -- when the disk or the system does not play along -------------------------------------------


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "phrase"),
    [
        (sqlite_error(sqlite3.SQLITE_CORRUPT), CorruptLibrary, "doctor --repair"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), CorruptLibrary, "doctor --repair"),
        (sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT), LibraryBusy, "try again"),
        (sqlite_error(sqlite3.SQLITE_FULL), StoreError, "disk full"),
        (sqlite_error(sqlite3.SQLITE_IOERR_WRITE), StoreError, "disk full"),
        (sqlite_error(sqlite3.SQLITE_READONLY), StoreError, "permissions"),
        (sqlite_error(sqlite3.SQLITE_CANTOPEN), StoreError, "permissions"),
        (sqlite_error(sqlite3.SQLITE_ERROR), StoreError, "again"),
        (OSError(errno.ENOSPC, "full"), StoreError, "disk full"),
        (OSError(errno.EFBIG, "too large"), StoreError, "disk full"),
        (OSError(errno.EROFS, "read-only"), StoreError, "permissions"),
        (OSError(errno.EIO, "broken"), StoreError, "again"),
    ],
)
def test_every_failure_has_its_kind_and_its_next_step(
    tmp_path: Path, error: sqlite3.Error | OSError, kind: type[StoreError], phrase: str
) -> None:
    found = explain(error, tmp_path)
    assert type(found) is kind
    assert phrase in str(found)
    assert str(tmp_path) in str(found)
    assert "\n" not in str(found)


def test_a_database_that_may_not_grow_keeps_what_it_has(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    store.put(video, "s", 0, fingerprint="f", payload={"t": "first"})
    with store.reading() as connection:
        connection.execute("PRAGMA max_page_count = 1").fetchone()
    with pytest.raises(StoreError, match="disk full"):
        store.put(video, "s", 1, fingerprint="f", payload={"t": "y" * 100_000})
    assert [a.payload for a in store.get_all(video, "s").values()] == [{"t": "first"}]


def test_a_thumbnail_on_a_full_disk_leaves_the_old_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = add(store, "x.mp4", "x").video_id
    path = store.put_thumbnail(video, 0, b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreError, match="disk full"):
        store.put_thumbnail(video, 0, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_file_system_without_wal_is_refused(tmp_path: Path) -> None:
    in_memory = sqlite3.connect(":memory:")  # its journal mode is "memory", whatever is asked
    with pytest.raises(StoreError, match="local disk"):
        store_schema.configure(in_memory, tmp_path)
    in_memory.close()


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("being_built", [True, False])
def test_a_library_that_may_only_be_read_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, being_built: bool, create: bool
) -> None:
    builder = Store.open(tmp_path, create=True)
    video = add(builder, "x.mp4", "x")
    if not being_built:
        builder.close()
    assert (tmp_path / "library.sqlite-wal").exists() == being_built
    monkeypatch.setattr(store_schema, "may_write", lambda *_, **__: False)
    with Store.open(tmp_path, create=create) as reader:
        assert reader.is_read_only
        assert reader.videos() == [video]
        with pytest.raises(StoreError, match="permissions"):
            reader.remove_video(video.video_id)
    builder.close()


def test_a_file_that_may_only_be_read_is_recognised_and_one_that_may_be_written_too(
    tmp_path: Path,
) -> None:
    Store.open(tmp_path, create=True).close()
    path = tmp_path / "library.sqlite"
    before = path.read_bytes()
    for mode, expected in (("mode=ro&immutable=1", False), ("rw", True)):
        connection = store_schema.open_database(path, mode)
        assert store_schema.may_write(connection, tmp_path, create=False) == expected
        connection.close()
    assert path.read_bytes() == before


def test_tables_that_another_process_made_meanwhile_are_taken(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    connection = store_schema.open_database(tmp_path / "library.sqlite", "rw")
    store_schema.create_tables(connection)
    assert not connection.in_transaction
    connection.close()


def test_tables_that_cannot_be_made_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").touch()
    connection = store_schema.open_database(tmp_path / "library.sqlite", "mode=ro")
    with pytest.raises(sqlite3.OperationalError):
        store_schema.create_tables(connection)
    connection.close()


def test_two_stores_of_one_process_take_turns(store: Store) -> None:
    said: list[str] = []

    def wait_in_vain(message: str) -> None:
        said.append(message)
        raise KeyboardInterrupt

    def wait(other: Store) -> None:
        with other.build_lock(on_wait=wait_in_vain):
            pass

    with (
        Store.open(store.folder) as other,
        store.build_lock(),
        pytest.raises(KeyboardInterrupt),
    ):
        wait(other)
    assert len(said) == 1


def test_a_lock_that_cannot_be_made_is_an_error_of_the_library(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    def lock() -> None:
        with build_lock(tmp_path / "file", wait=False):
            pass

    with pytest.raises(StoreError, match="file"):
        lock()


def test_a_note_that_cannot_be_written_frees_the_lock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    def lock() -> None:
        with store.build_lock(wait=False):
            pass

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(StoreError, match="disk full"):
            lock()
    lock()
    assert not list(store.folder.glob("*.tmp"))
