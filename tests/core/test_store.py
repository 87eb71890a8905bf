"""The library on disk: what is put in comes out, and what is damaged is said to be."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from fdvs import store_schema
from fdvs.errors import (
    BadModelOutput,
    CorruptLibrary,
    LibraryBusy,
    LibraryMissing,
    NotFound,
    StoreError,
)
from fdvs.store import NewArtifact, Store, VideoRecord, video_id_from
from fdvs.store_lock import build_lock
from fdvs.store_schema import explain


@pytest.fixture
def store(tmp_path: Path):
    with Store.open(tmp_path / "library", create=True) as opened:
        yield opened


def sha_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def add(store: Store, path: Path | str, content: str) -> VideoRecord:
    sha256 = sha_of(content)
    return store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=Path(path))


def note(store: Store, path: Path, video_id: str | None, **more: object) -> None:
    values = {"size_bytes": 3, "mtime_ns": 7, "status": "ok"} | more
    store.note_source(path, video_id=video_id, **values)


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


# -- files ever given --------------------------------------------------------------------------


def test_sources_come_back_as_noted_and_the_last_note_counts(store: Store, tmp_path: Path) -> None:
    a, b = tmp_path / "a.mp4", tmp_path / "b.mp4"
    note(store, b, None, status="failed", reason="no video\nstream")
    note(store, a, "id", status="partial", reason="not yet")
    note(store, a, "id", status="ok", size_bytes=9)
    first, second = store.sources()
    assert (first.path, first.status, first.size_bytes, first.reason) == (a, "ok", 9, "")
    assert (second.path, second.video_id, second.reason) == (b, None, "no video stream")


def test_a_name_that_is_not_utf8_survives_byte_by_byte(store: Store, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9\xff.mp4"))
    note(store, path, None, status="failed", reason=f"cannot open {path}")
    row = store.sources()[0]
    assert os.fsencode(row.path) == os.fsencode(path)
    assert row.reason.endswith(r"caf\xe9\xff.mp4")


def test_only_a_file_of_the_same_size_and_time_is_known(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    note(store, path, "id", size_bytes=3, mtime_ns=7)
    assert store.known_video(path, size_bytes=3, mtime_ns=7) == "id"
    assert store.known_video(path, size_bytes=4, mtime_ns=7) is None
    assert store.known_video(path, size_bytes=3, mtime_ns=8) is None
    assert store.known_video(tmp_path / "b.mp4", size_bytes=3, mtime_ns=7) is None


def test_a_relative_path_is_the_same_row_as_its_absolute_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    note(store, Path("a.mp4"), "id")
    assert store.known_video(tmp_path / "a.mp4", size_bytes=3, mtime_ns=7) == "id"


def test_a_moved_file_moves_its_row_and_its_video(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old.mp4", tmp_path / "sub" / "new.mp4"
    old.write_text("x")
    video = add(store, old, "x")
    note(store, old, video.video_id)
    new.parent.mkdir()
    old.rename(new)
    note(store, new, video.video_id)
    assert [row.path for row in store.sources()] == [new]
    found = store.find_video("old.mp4")
    assert (found.video_id, found.path) == (video.video_id, new)


def test_a_copied_file_keeps_both_rows_and_the_first_path(store: Store, tmp_path: Path) -> None:
    old, new = tmp_path / "old.mp4", tmp_path / "zcopy.mp4"
    old.write_text("x")
    new.write_text("x")
    video = add(store, old, "x")
    note(store, old, video.video_id)
    note(store, new, video.video_id)
    assert [row.path for row in store.sources()] == [old, new]
    assert store.find_video(video.video_id).path == old


def test_a_missing_path_of_other_content_keeps_its_row(store: Store, tmp_path: Path) -> None:
    note(store, tmp_path / "gone.mp4", "other")
    note(store, tmp_path / "unknown.mp4", None, status="failed")
    note(store, tmp_path / "here.mp4", "id")
    assert len(store.sources()) == 3


# -- videos and their names --------------------------------------------------------------------


def test_names_are_unique_readable_and_stable(store: Store) -> None:
    first = add(store, "/films/a/film.mp4", "1")
    second = add(store, "/films/b/film.mp4", "2")
    third = add(store, "/other/b/film.mp4", "3")
    assert first.name == "film.mp4"
    assert second.name == "b/film.mp4"
    assert third.name == f"film.mp4~{third.video_id[:4]}"
    assert add(store, "/elsewhere/film2.mp4", "1") == first
    assert [v.name for v in store.videos()] == sorted([first.name, second.name, third.name])


def test_a_name_shows_no_control_characters_and_undecodable_bytes_as_escapes(store: Store) -> None:
    path = Path(os.fsdecode(b"/v/\xffa\n\x1b[31m\xe2\x80\xaegpj.mp4"))
    assert add(store, path, "1").name == r"\xffa[31mgpj.mp4"


def test_a_name_of_nothing_visible_still_gets_a_name(store: Store) -> None:
    assert add(store, "/\u200b", "1").name == "video"
    assert add(store, "/\u200c", "2").name.startswith("video~")


def test_even_ids_with_the_same_beginning_get_different_names(store: Store) -> None:
    shas = [c * 12 + "b" * 52 for c in "a"] + ["a" * 12 + "c" * 52, "a" * 12 + "d" * 52]
    names = {
        store.add_video(video_id=video_id_from(s), sha256=s, path=Path("/f.mp4")).name for s in shas
    }
    assert len(names) == 3


def test_two_contents_with_one_id_are_an_error_not_a_mix_up(store: Store) -> None:
    one, two = "a" * 16 + "b" * 48, "a" * 16 + "c" * 48
    store.add_video(video_id="a" * 16, sha256=one, path=Path("/one.mp4"))
    with pytest.raises(StoreError, match=r"one\.mp4.*same id"):
        store.add_video(video_id="a" * 16, sha256=two, path=Path("/two.mp4"))
    assert len(store.videos()) == 1


@pytest.mark.parametrize("sha256", ["", "abc", "G" * 64, "A" * 64])
def test_an_id_comes_from_a_whole_hash_only(sha256: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        video_id_from(sha256)


def test_an_id_that_is_not_the_hash_s_beginning_is_a_mistake(store: Store) -> None:
    with pytest.raises(ValueError, match="video_id"):
        store.add_video(video_id="b" * 16, sha256="a" * 64, path=Path("/x.mp4"))


def test_a_video_is_found_by_name_id_and_unique_beginning(store: Store) -> None:
    video = add(store, "/v/film.mp4", "1")
    add(store, "/v/other.mp4", "2")
    for wanted in ("film.mp4", video.video_id, video.video_id[:4], video.video_id[:9].upper()):
        assert store.find_video(wanted) == video


def test_a_beginning_that_is_too_short_or_ambiguous_is_not_found(store: Store) -> None:
    for tail in "bc":
        sha256 = "a" * 8 + tail * 56
        path = Path(f"/{tail}.mp4")
        store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=path)
    with pytest.raises(NotFound, match=r"ambiguous.*aaaaaaaabbbbbbbb.*aaaaaaaacccccccc"):
        store.find_video("aaaaaa")
    with pytest.raises(NotFound, match="no video 'aaa'"):
        store.find_video("aaa")


def test_a_near_name_is_offered(store: Store) -> None:
    add(store, "/v/holiday.mp4", "1")
    with pytest.raises(NotFound, match=r"Did you mean 'holiday\.mp4'"):
        store.find_video("holidai.mp4")


def test_names_win_over_ids(store: Store) -> None:
    first = add(store, "/v/film.mp4", "1")
    second = add(store, f"/v/{first.video_id[:6]}", "2")
    assert store.find_video(first.video_id[:6]) == second


# -- results -----------------------------------------------------------------------------------


def test_a_result_comes_back_equal_and_read_again_after_reopening(tmp_path: Path) -> None:
    vectors = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
    payload = {"text": "zoë \udcff", "n": [1, 2.5, None, True]}
    with Store.open(tmp_path, create=True) as store:
        video = add(store, "x.mp4", "x")
        put = store.put(video.video_id, "s", 3, fingerprint="f1", payload=payload, vectors=vectors)
    with Store.open(tmp_path) as store:
        got = store.get(video.video_id, "s", 3)
        assert got is not None
        assert got.payload == put.payload == payload
        assert got.fingerprint == "f1"
        assert got.digest == put.digest
        assert got.vectors is not None
        assert got.vectors.dtype == np.float32
        np.testing.assert_array_equal(got.vectors, vectors)
        assert store.get(video.video_id, "s", 2) is None
        assert store.get(video.video_id, "t", 3) is None
        assert store.get("other", "s", 3) is None


def test_the_digest_follows_content_and_not_the_fingerprint(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    one, two = np.zeros((1, 2), np.float32), np.zeros((1, 3), np.float32)
    puts = [
        store.put(video, "s", fingerprint="a", payload={"t": 1}).digest,
        store.put(video, "s", fingerprint="b", payload={"t": 1}).digest,
        store.put(video, "s", fingerprint="a", payload={"t": 2}).digest,
        store.put(video, "s", fingerprint="a", payload={"t": 1}, vectors=one).digest,
        store.put(video, "s", fingerprint="a", payload={"t": 1}, vectors=two).digest,
        store.put(video, "s", fingerprint="a", payload={"t": 1}, vectors=one[:0]).digest,
    ]
    assert puts[0] == puts[1]
    assert len(set(puts)) == 5


def test_a_put_replaces_and_all_items_come_in_order(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    for item in (5, 0, 12, 5):
        store.put(video, "s", item, fingerprint=f"f{item}", payload={"i": item})
    assert list(store.get_all(video, "s")) == [0, 5, 12]
    store.trim(video, "s", keep_items=5)
    assert list(store.get_all(video, "s")) == [0]


def test_many_are_stored_together_or_not_at_all(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    good = NewArtifact(video_id=video, stage="s", item=0, fingerprint="f", payload={})
    bad = NewArtifact(video_id="unknown", stage="s", item=1, fingerprint="f", payload={})
    with pytest.raises(StoreError, match=r"s\[1\] of video 'unknown'"):
        store.put_many([good, bad])
    assert store.get_all(video, "s") == {}
    assert len(store.put_many([good])) == 1


def test_a_transaction_around_several_calls_is_undone_as_a_whole(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id

    def put_and_fail() -> None:
        with store.writing():
            store.put(video, "s", fingerprint="f", payload={})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        put_and_fail()
    assert store.get(video, "s") is None


def test_vectors_that_are_not_finite_are_the_model_s_fault(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    rows = np.array([[1.0, math.nan]], dtype=np.float32)
    with pytest.raises(BadModelOutput, match="not finite"):
        store.put(video, "s", fingerprint="f", payload={}, vectors=rows)
    with pytest.raises(ValueError, match="shape"):
        store.put(video, "s", fingerprint="f", payload={}, vectors=rows[0])


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE artifacts SET num_dims = 5",
        "UPDATE artifacts SET num_rows = NULL",
        "UPDATE artifacts SET vectors = zeroblob(7)",
        "UPDATE artifacts SET vectors = zeroblob(24)",
        "UPDATE artifacts SET payload = '{}'",
        "UPDATE artifacts SET vectors = NULL",
    ],
)
def test_a_tampered_row_is_named_and_the_remedy_given(tmp_path: Path, damage: str) -> None:
    with Store.open(tmp_path, create=True) as store:
        video = add(store, "x.mp4", "x").video_id
        rows = np.ones((2, 3), np.float32)
        store.put(video, "s", 4, fingerprint="f", payload={"t": 1}, vectors=rows)
    with sqlite3.connect(tmp_path / "library.sqlite") as other:
        other.execute(damage)
    other.close()
    with Store.open(tmp_path) as store, pytest.raises(CorruptLibrary) as caught:
        store.get(video, "s", 4)
    assert f"s[4] of video {video}" in str(caught.value)
    assert "fdvs build" in str(caught.value)


@pytest.mark.parametrize("payload", ["{", "[1]"])
def test_a_payload_with_a_matching_digest_must_still_be_an_object(
    tmp_path: Path, payload: str
) -> None:
    with Store.open(tmp_path, create=True) as store:
        video = add(store, "x.mp4", "x").video_id
        store.put(video, "s", fingerprint="f", payload={})
        with store.writing() as connection:
            connection.execute(
                "UPDATE artifacts SET payload = ?, digest = ?", (payload, sha_of(payload))
            )
        with pytest.raises(CorruptLibrary, match="payload"):
            store.get(video, "s")


# -- removing and thumbnails -------------------------------------------------------------------


def test_removing_a_video_leaves_nothing_of_it_and_all_of_the_others(
    store: Store, tmp_path: Path
) -> None:
    gone, stays = add(store, "gone.mp4", "1"), add(store, "stays.mp4", "2")
    for video in (gone, stays):
        note(store, tmp_path / video.name, video.video_id)
        store.put(video.video_id, "chapter", fingerprint="f", payload={"text": "a secret"})
        store.put_thumbnail(video.video_id, 0, b"jpeg")
    store.remove_video(gone.video_id)
    assert [video.video_id for video in store.videos()] == [stays.video_id]
    assert [row.video_id for row in store.sources()] == [stays.video_id]
    assert store.get_all(gone.video_id, "chapter") == {}
    assert len(store.get_all(stays.video_id, "chapter")) == 1
    assert not store.thumbnail_path(gone.video_id, 0).parent.exists()
    assert store.thumbnail_path(stays.video_id, 0).read_bytes() == b"jpeg"
    with pytest.raises(NotFound, match=gone.video_id):
        store.remove_video(gone.video_id)


def test_a_thumbnail_is_replaced_whole_and_leaves_no_temporary_file(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    store.put_thumbnail(video, 12, b"one")
    path = store.put_thumbnail(video, 12, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["000012.jpg"]


@pytest.mark.parametrize("video_id", ["", "..", "../../etc", "a/b", "ABC"])
def test_a_thumbnail_s_folder_is_never_outside_of_the_library(store: Store, video_id: str) -> None:
    with pytest.raises(StoreError, match="not hex"):
        store.thumbnail_path(video_id, 0)


def test_a_negative_clip_has_no_thumbnail(store: Store) -> None:
    with pytest.raises(ValueError, match="clip_index"):
        store.thumbnail_path("ab", -1)


def test_a_thumbnail_that_cannot_be_written_is_an_error_of_the_library(store: Store) -> None:
    video = add(store, "x.mp4", "x").video_id
    (store.folder / "thumbnails").write_text("in the way")
    with pytest.raises(StoreError, match=str(store.folder)):
        store.put_thumbnail(video, 0, b"jpeg")


# -- when the disk or the system does not play along -------------------------------------------


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("it failed")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("error", "kind", "phrase"),
    [
        (sqlite_error(sqlite3.SQLITE_CORRUPT), CorruptLibrary, "move it away"),
        (sqlite_error(sqlite3.SQLITE_NOTADB), CorruptLibrary, "move it away"),
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
        store_schema._set_up(in_memory, tmp_path)
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
    monkeypatch.setattr(store_schema, "_may_write", lambda *_, **__: False)
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
        connection = store_schema._open(path, mode)
        assert store_schema._may_write(connection, tmp_path, create=False) == expected
        connection.close()
    assert path.read_bytes() == before


def test_tables_that_another_process_made_meanwhile_are_taken(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    connection = store_schema._open(tmp_path / "library.sqlite", "rw")
    store_schema._create_tables(connection)
    assert not connection.in_transaction
    connection.close()


def test_tables_that_cannot_be_made_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "library.sqlite").touch()
    connection = store_schema._open(tmp_path / "library.sqlite", "mode=ro")
    with pytest.raises(sqlite3.OperationalError):
        store_schema._create_tables(connection)
    connection.close()


def test_two_stores_of_one_process_take_turns(store: Store) -> None:
    said: list[str] = []

    def wait_in_vain(message: str) -> None:
        said.append(message)
        raise KeyboardInterrupt

    def wait(other: Store) -> None:
        with other.build_lock(on_wait=wait_in_vain):
            pass

    with Store.open(store.folder) as other, store.build_lock():
        with pytest.raises(KeyboardInterrupt):
            wait(other)
        assert not other.holds_build_lock
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
        patch.setattr(Path, "write_text", full)
        with pytest.raises(StoreError, match="disk full"):
            lock()
    lock()
    assert not list(store.folder.glob("*.tmp"))
