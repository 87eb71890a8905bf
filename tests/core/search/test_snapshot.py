"""The index of a large library in a file: equal to what is read, believed only while it is true."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search import snapshot
from fdvs.search.filters import Filters
from fdvs.search.index import Index
from fdvs.search.moments import search_moments, search_videos
from fdvs.search.snapshot import ARRAYS_NAME
from fdvs.search.word_table import WordTable
from fdvs.store.store import Store

MakeLibrary = Callable[..., Store]
TEXTS = {
    "b.mp4": ["a red car", "a blue sky", "a green field", ""],
    "a.mp4": ["two dogs", "two cats", "a red car", "an owl", "a red bus 小狗"],
    "c.mp4": ["a big buck bunny"],
}
QUERIES = ("red car", "dogs", "小狗", "bigbuckbunny", "a blue field", "nothing like it")


@pytest.fixture(autouse=True)
def _any_library_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MIN_TEXTS", 1)


@pytest.fixture
def store(make_library: MakeLibrary) -> Iterator[Store]:
    made = make_library(TEXTS, dropped={"a.mp4": [1]})
    look = np.eye(4, dtype=np.float32)[1:2]
    made.put(
        made.find_video("a.mp4").video_id, "look", 2, fingerprint="f", payload={}, vectors=look
    )
    return made


def put(path: Path, content: bytes) -> None:
    """Put a new file in a file's place: the old one may be in use."""
    path.unlink()
    path.write_bytes(content)


def is_from_file(index: Index) -> bool:
    return isinstance(index.full_text, WordTable)


def assert_equal(one: Index, other: Index, embedder: HashTextEmbedder) -> None:
    assert list(one.entries) == list(other.entries)
    for field in fields(one.columns):
        if field.name in ("levels", "look_levels"):  # only beside what lies in a file
            continue
        assert np.array_equal(
            np.asarray(getattr(one.columns, field.name)),
            np.asarray(getattr(other.columns, field.name)),
        ), field.name
    config = SearchConfig(min_score=0.1)
    for query in QUERIES:
        for filters in (Filters(), Filters(start_s=15.0), Filters(ways=("words",))):
            found = [
                search_moments(index, query, embedder, config, filters=filters)
                for index in (one, other)
            ]
            assert found[0] == found[1]
        assert search_videos(one, query, embedder, config) == search_videos(
            other, query, embedder, config
        )


def test_an_index_from_the_file_equals_one_that_was_read(
    store: Store, embedder: HashTextEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Index.load(store)
    again = Index.load(store)
    with monkeypatch.context() as patch:
        patch.setattr(snapshot, "MIN_TEXTS", 10**9)
        (store.folder / ARRAYS_NAME).unlink()
        read = Index.load(store)
    assert is_from_file(made)
    assert is_from_file(again)
    assert not is_from_file(read)
    assert not (store.folder / ARRAYS_NAME).exists()
    assert_equal(made, read, embedder)
    assert_equal(again, read, embedder)


def test_a_small_library_gets_no_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MIN_TEXTS", 1000)
    Index.load(store)
    assert not (store.folder / ARRAYS_NAME).exists()


def test_the_file_is_read_and_not_made_again_where_nothing_changed(store: Store) -> None:
    Index.load(store)
    before = (store.folder / ARRAYS_NAME).stat()
    with Store.open(store.folder) as other:
        assert is_from_file(Index.load(other))
    after = (store.folder / ARRAYS_NAME).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_every_change_of_the_library_makes_it_anew(store: Store) -> None:
    Index.load(store)
    a = store.find_video("a.mp4").video_id
    payload = {"start_s": 0.0, "end_s": 10.0, "text": "three zebras"}
    store.put(a, "chapter", 0, fingerprint="g", payload=payload)
    assert Index.load(store).entries[0].text == "three zebras"
    store.remove_video(a)
    assert {entry.name for entry in Index.load(store).entries} == {"b.mp4", "c.mp4"}
    with store.writing() as connection:
        connection.execute("UPDATE videos SET name = 'z.mp4' WHERE name = 'b.mp4'")
    assert {entry.name for entry in Index.load(store).entries} == {"c.mp4", "z.mp4"}


def test_a_file_of_another_library_is_not_believed(
    store: Store, make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    other = make_library({"x.mp4": ["a boat"]}, folder="other")
    Index.load(other)
    (store.folder / ARRAYS_NAME).write_bytes((other.folder / ARRAYS_NAME).read_bytes())
    assert {entry.name for entry in Index.load(store).entries} == set(TEXTS)


def test_every_damaged_place_is_noticed_and_the_library_read_instead(
    store: Store, embedder: HashTextEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.search.snapshot")
    want = Index.load(store)
    path = store.folder / ARRAYS_NAME
    whole = path.read_bytes()
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    for at in np.random.default_rng(0).choice(used, 60, replace=False).tolist():
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        put(path, damaged)
        caplog.clear()
        found = Index.load(store)
        assert "is not used" in caplog.text, at
        assert list(found.entries) == list(want.entries)
        assert path.read_bytes() == whole  # made again


@pytest.mark.parametrize("size", [0, 7, 47, 60, 500, -64, -1])
def test_a_file_that_ends_early_is_made_again(
    store: Store, size: int, embedder: HashTextEmbedder
) -> None:
    want = Index.load(store)
    path = store.folder / ARRAYS_NAME
    whole = path.read_bytes()
    put(path, whole[:size])
    assert_equal(Index.load(store), want, embedder)
    assert path.read_bytes() == whole


def test_what_is_no_file_is_not_waited_for(store: Store) -> None:
    path = store.folder / ARRAYS_NAME
    os.mkfifo(path)
    assert len(Index.load(store).entries) > 0
    path.unlink(missing_ok=True)
    path.mkdir()
    index = Index.load(store)
    assert not is_from_file(index)
    assert len(index.entries) > 0


def test_where_nothing_can_be_written_searches_work_without(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fdvs.search.snapshot")

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(snapshot, "write_arrays", refuse)
    index = Index.load(store)
    assert not is_from_file(index)
    assert "cannot be written" in caplog.text
    assert index.full_text.search("owl").scores


def test_a_full_disk_leaves_no_half_file(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fdvs.search.arrays.os.replace", full)
    assert not is_from_file(Index.load(store))
    assert [p.name for p in store.folder.iterdir() if "arrays" in p.name] == []


def test_the_file_may_be_deleted_while_it_is_in_use(
    store: Store, embedder: HashTextEmbedder
) -> None:
    index = Index.load(store)
    (store.folder / ARRAYS_NAME).unlink()
    assert search_moments(index, "red car", embedder, SearchConfig(min_score=0.1))
    assert index.full_text.search("owl").scores


LOAD = """
import sys
from pathlib import Path
from fdvs.search import snapshot
from fdvs.search.index import Index
from fdvs.store.store import Store
snapshot.MIN_TEXTS = 1
for _ in range(20):
    with Store.open(Path(sys.argv[1])) as store:
        index = Index.load(store)
        assert len(index.entries) == int(sys.argv[2]), len(index.entries)
        assert len(index.full_text.search("red car").full) > 0
        Path(sys.argv[1], "search.arrays").unlink(missing_ok=True)
"""


def test_several_processes_make_and_delete_it_at_once(store: Store) -> None:
    num = len(Index.load(store).entries)
    command = [sys.executable, "-c", LOAD, str(store.folder), str(num)]
    running = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    for process in running:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()
    assert [p.name for p in store.folder.iterdir() if p.name.endswith(".tmp")] == []


def test_arrays_that_do_not_fit_together_are_refused(store: Store) -> None:
    Index.load(store)
    state = snapshot.state_of(store)
    found = snapshot.read_snapshot(store.folder, state)
    assert found is not None
    columns, words = found
    facts = json.dumps({n: getattr(columns, n) for n in snapshot._FACTS}).encode()
    for name, wrong in {
        "positions": np.array([0, 5, 3]),
        "text_ends": columns.text_ends[::-1],
        "videos": columns.videos + 100,
        "starts_s": columns.starts_s[:-1],
        "look_videos": np.array([-1], np.int32),
    }.items():
        arrays = {
            **{n: getattr(columns, n) for n in snapshot._COLUMNS},
            **{field.name: getattr(words, field.name) for field in fields(words)},
            "facts": np.frombuffer(facts, np.uint8),
            name: wrong,
        }
        snapshot.write_arrays(Path(store.folder) / ARRAYS_NAME, state, arrays)
        assert snapshot.read_snapshot(store.folder, state) is None, name
