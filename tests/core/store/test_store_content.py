"""What is put into the library comes out, and what is damaged is said to be."""

from __future__ import annotations

import hashlib
import math
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import (
    BadModelOutput,
    CorruptLibrary,
    NotFound,
    StoreError,
)
from fdvs.store.store import NewArtifact, Store, VideoRecord, video_id_from


def sha_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def add(store: Store, path: Path | str, content: str) -> VideoRecord:
    sha256 = sha_of(content)
    return store.add_video(video_id=video_id_from(sha256), sha256=sha256, path=Path(path))


def note(store: Store, path: Path, video_id: str | None, **more: object) -> None:
    values = {"size_bytes": 3, "mtime_ns": 7, "status": "ok"} | more
    store.note_source(path, video_id=video_id, **values)


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


def test_a_name_keeps_its_case_and_is_composed(store: Store) -> None:
    assert add(store, "/v/Cafe\u0301 Film.MP4", "1").name == "Caf\u00e9 Film.MP4"


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


# -- full-text tables of earlier versions ------------------------------------------------------

OLD_FULL_TEXT = """
CREATE VIRTUAL TABLE words USING fts5(video_id UNINDEXED, level UNINDEXED, item UNINDEXED, text,
    tokenize = 'porter unicode61 remove_diacritics 2');
INSERT INTO words VALUES ('v', 'chapter', 0, 'a red car');
INSERT INTO meta VALUES ('words_digest', '"0"');
"""


@pytest.mark.parametrize(
    "damage", ["", "DROP TABLE words_data", "DELETE FROM words_data", "DROP TABLE words_content"]
)
def test_a_stored_full_text_table_is_dropped_by_the_next_build_sound_or_not(
    store: Store, damage: str
) -> None:
    kept = add(store, "/x.mp4", "x")
    store.close()
    with sqlite3.connect(store.folder / "library.sqlite") as earlier:
        earlier.executescript(OLD_FULL_TEXT)
        earlier.execute(damage)
    earlier.close()
    with Store.open(store.folder) as again:
        assert again.videos() == [kept]
        with again.build_lock():
            pass
        with again.reading() as connection:
            query = "SELECT name FROM sqlite_master WHERE name LIKE 'words%'"
            assert connection.execute(query).fetchall() == []
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            query = "SELECT count(*) FROM meta WHERE key = 'words_digest'"
            assert connection.execute(query).fetchone() == (0,)
