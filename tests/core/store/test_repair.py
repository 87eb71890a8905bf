"""A damaged library file: what is sound moves into a new one, and the old one stays."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import CorruptLibrary, LibraryBusy, LibraryMissing
from fdvs.store.indexes import mend_indexes
from fdvs.store.meta import get_meta, set_meta
from fdvs.store.repair import repair
from fdvs.store.store import Store

NUM_VIDEOS, NUM_ROWS = 8, 60
PAGE_BYTES = 4096


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Eight videos with sixty results each, and a setting."""
    with Store.open(tmp_path, create=True) as store:
        set_meta(store, "settings", {"preset": "offline"})
        for number in range(NUM_VIDEOS):
            sha256 = f"{number:02x}" * 32
            path = Path(f"/films/{number}.mp4")
            video_id = store.add_video(video_id=sha256[:16], sha256=sha256, path=path).video_id
            store.note_source(path, size_bytes=1, mtime_ns=2, video_id=video_id, status="ok")
            for item in range(NUM_ROWS):
                store.put(
                    video_id, "chapter", item, fingerprint="f",
                    payload={"text": f"{number} {item}"},
                    vectors=np.full((1, 256), item, np.float32),
                )  # fmt: skip
    return tmp_path


def texts(folder: Path) -> set[str]:
    with Store.open(folder) as store:
        return {
            artifact.payload["text"]
            for video in store.videos()
            for artifact in store.get_all(video.video_id, "chapter").values()
        }


def test_a_sound_library_stays_as_it_is(library: Path) -> None:
    before = texts(library)
    done = repair(library)
    assert (done.num_videos, done.num_files, done.num_rows) == (8, 8, 480)
    assert done.num_rows_dropped == 0
    assert texts(library) == before
    with Store.open(library) as store:
        assert get_meta(store, "settings") == {"preset": "offline"}
        assert store.find_video("3.mp4").path == Path("/films/3.mp4")
        assert len(store.sources()) == NUM_VIDEOS


@pytest.mark.parametrize("page", [5, 20, 40, 60])
def test_a_page_of_noise_costs_the_rows_on_it_alone(library: Path, page: int) -> None:
    path = library / "library.sqlite"
    data = bytearray(path.read_bytes())
    assert len(data) > 70 * PAGE_BYTES
    noise = np.random.default_rng(page).bytes(PAGE_BYTES)
    data[(page - 1) * PAGE_BYTES : page * PAGE_BYTES] = noise
    path.write_bytes(data)
    done = repair(library)
    assert done.old_file.read_bytes() == bytes(data), "the damaged file stays as it was"
    kept = texts(library)
    assert len(kept) > 0.8 * NUM_VIDEOS * NUM_ROWS
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


def test_what_the_log_holds_is_kept_and_does_not_reach_the_new_file(library: Path) -> None:
    """The last commits are in the log while another process has the library open."""
    with Store.open(library) as store:
        video = store.videos()[0].video_id
        store.put(video, "chapter", 900, fingerprint="f", payload={"text": "late"})
        assert (library / "library.sqlite-wal").stat().st_size > 0
        repair(library)
    assert "late" in texts(library)


def test_a_damaged_row_or_fact_is_left_out(library: Path) -> None:
    with sqlite3.connect(library / "library.sqlite") as connection:
        connection.execute("UPDATE artifacts SET payload = '{}' WHERE item = 7")
        connection.execute(
            "UPDATE meta SET value = '{\"preset\": \"other\"}' WHERE key = 'settings'"
        )
        connection.execute("UPDATE videos SET sha256 = 'x' WHERE name = '3.mp4'")
    connection.close()
    with Store.open(library) as store, pytest.raises(CorruptLibrary, match="doctor --repair"):
        get_meta(store, "settings")
    done = repair(library)
    assert done.num_videos == NUM_VIDEOS - 1
    assert done.num_rows_dropped == NUM_VIDEOS - 1 + NUM_ROWS
    with Store.open(library) as store:
        assert get_meta(store, "settings") is None


def test_a_file_that_is_no_database_becomes_an_empty_library(library: Path) -> None:
    (library / "library.sqlite").write_bytes(b"no database" * 1000)
    done = repair(library)
    assert (done.num_videos, done.num_rows) == (0, 0)
    assert done.old_file.read_bytes().startswith(b"no database")
    assert texts(library) == set()
    assert repair(library).old_file != done.old_file


def test_what_is_not_ours_is_left_alone(tmp_path: Path, library: Path) -> None:
    with pytest.raises(LibraryMissing):
        repair(tmp_path / "nothing")
    with sqlite3.connect(tmp_path / "library.sqlite") as connection:
        for table in ("meta", "videos", "sources", "artifacts"):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("PRAGMA application_id = 7")
    connection.close()
    before = (tmp_path / "library.sqlite").read_bytes()
    with pytest.raises(CorruptLibrary, match="another program"):
        repair(tmp_path)
    assert (tmp_path / "library.sqlite").read_bytes() == before


def test_a_library_at_work_is_not_repaired(library: Path) -> None:
    with Store.open(library) as store, store.build_lock(), pytest.raises(LibraryBusy):
        repair(library)


def swap_in_index(path: Path, old: bytes, new: bytes) -> None:
    """Change a key where it stands in an index: a page of type 10 that holds it."""
    data = bytearray(path.read_bytes())
    for start in range(0, len(data), PAGE_BYTES):
        page = data[start : start + PAGE_BYTES]
        if page[0] == 10 and old in page:
            at = start + page.rindex(old)
            data[at : at + len(old)] = new
            path.write_bytes(data)
            return
    pytest.fail("no index holds the key")


def test_a_damaged_index_is_made_again_by_the_next_build(library: Path) -> None:
    swap_in_index(
        library / "library.sqlite", b"0303030303030303chapter", b"0303030303030303chbpter"
    )
    with Store.open(library) as store, store.build_lock(), store.writing() as connection:
        assert mend_indexes(connection) == (1, [])
        assert mend_indexes(connection) == (0, [])
    assert len(texts(library)) == NUM_VIDEOS * NUM_ROWS
