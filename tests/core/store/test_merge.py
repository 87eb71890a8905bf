"""Libraries that were built apart become one: the same content once, each video whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from fdvs.errors import StoreError
from fdvs.store.merge import MergedVideo, merge_videos
from fdvs.store.store import Store

JPEG = b"\xff\xd8 a picture \xff\xd9"
Make = Callable[..., Store]


@pytest.fixture
def make(make_library: Callable[..., Store]) -> Make:
    """Return a function that makes a library as a build does: files noted, `done` with a seal."""

    def made(
        videos: Mapping[str, Sequence[str]], *, folder: str, unfinished: Sequence[str] = ()
    ) -> Store:
        store = make_library(videos, folder=folder)
        for video in store.videos():
            path = video.path
            store.note_source(
                path, size_bytes=1, mtime_ns=2, video_id=video.video_id,
                status="partial" if video.name in unfinished else "ok",
            )  # fmt: skip
            store.put_thumbnail(video.video_id, 0, JPEG)
            if video.name not in unfinished:
                done = {"gop": "", "seal": store.seal(video.video_id)}
                store.put(video.video_id, "done", fingerprint="d", payload=done)
        return store

    return made


def merge(target: Store, source: Store) -> list[MergedVideo]:
    with target.build_lock(wait=False):
        return list(merge_videos(target, source))


def content(store: Store) -> dict[str, list[tuple[object, ...]]]:
    with store.reading() as connection:
        return {
            table: connection.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2, 3").fetchall()
            for table, columns in {
                "videos": "video_id, sha256, name, path",
                "sources": "path, size_bytes, mtime_ns, video_id, status, reason",
                "artifacts": "video_id, stage, item, fingerprint, digest, payload, vectors",
            }.items()
        }


def test_merged_shards_equal_a_library_that_was_built_at_once(make: Make) -> None:
    films = {"a.mp4": ["a red car"], "b.mp4": ["two dogs", "an owl"], "c.mp4": ["a boat"]}
    one = make({name: films[name] for name in ("a.mp4", "c.mp4")}, folder="one")
    two = make({name: films[name] for name in ("b.mp4", "c.mp4")}, folder="two")
    whole = make(films, folder="whole")
    target = make({}, folder="target")
    assert [(m.name, m.how) for m in merge(target, one)] == [("a.mp4", "added"), ("c.mp4", "added")]
    assert [(m.name, m.how) for m in merge(target, two)] == [("b.mp4", "added"), ("c.mp4", "known")]
    assert content(target) == content(whole)
    for video in target.videos():
        assert target.thumbnail_path(video.video_id, 0).read_bytes() == JPEG
        assert target.is_intact(video.video_id, seal=target.seal(video.video_id))
    before = content(target)
    assert {m.how for m in merge(target, one)} == {"known"}
    assert content(target) == before
    assert content(one)["videos"] == [v for v in before["videos"] if v[2] in ("a.mp4", "c.mp4")]


def test_a_finished_video_replaces_an_unfinished_one_and_is_never_replaced(make: Make) -> None:
    finished = make({"a.mp4": ["a red car", "a bus"]}, folder="finished")
    unfinished = make({"a.mp4": ["a red"]}, folder="unfinished", unfinished=["a.mp4"])
    target = make({"a.mp4": ["a"]}, folder="target", unfinished=["a.mp4"])
    assert [m.how for m in merge(target, unfinished)] == ["known"]
    assert [m.how for m in merge(target, finished)] == ["completed"]
    assert content(target)["artifacts"] == content(finished)["artifacts"]
    assert [m.how for m in merge(target, unfinished)] == ["known"]
    assert content(target)["artifacts"] == content(finished)["artifacts"]


def test_films_of_one_name_get_different_names(make: Make) -> None:
    target = make({"x/a.mp4": ["a red car"]}, folder="target")
    assert [m.name for m in merge(target, make({"y/a.mp4": ["a dog"]}, folder="other"))] == [
        "y/a.mp4"
    ]
    assert [video.name for video in target.videos()] == ["a.mp4", "y/a.mp4"]


def test_another_film_at_the_same_path_is_left_out_and_said(make: Make) -> None:
    target = make({"a.mp4": ["a red car"]}, folder="target")
    other = make({"z.mp4": ["a dog"]}, folder="other")
    path = target.videos()[0].path
    with other.writing() as connection:
        for table in ("videos", "sources"):
            connection.execute(f"UPDATE {table} SET path = ?", (bytes(path),))
    before = content(target)
    (left,) = merge(target, other)
    assert left.how == "left out"
    assert str(path) in left.reason
    assert content(target) == before


def test_damaged_rows_stay_behind_and_the_next_build_looks_at_the_video(make: Make) -> None:
    shard = make({"a.mp4": ["a red car", "two dogs"]}, folder="shard")
    with shard.writing() as connection:
        connection.execute("UPDATE artifacts SET payload = '{}' WHERE stage='chapter' AND item=1")
    target = make({}, folder="target")
    (merged,) = merge(target, shard)
    video_id = target.videos()[0].video_id
    assert merged.how == "added"
    assert "1 damaged" in merged.reason
    assert list(target.get_all(video_id, "chapter")) == [0]
    assert target.get(video_id, "done") is None


@pytest.mark.parametrize("sha256", ["ff" * 32, "../" + "a" * 61, "Z" * 64])
def test_a_video_that_is_not_named_by_its_content_is_left_out(make: Make, sha256: str) -> None:
    shard = make({"a.mp4": ["a red car"]}, folder="shard")
    with shard.writing() as connection:
        connection.execute("UPDATE videos SET sha256 = ?", (sha256,))
    target = make({}, folder="target")
    assert [m.how for m in merge(target, shard)] == ["left out"]
    assert target.videos() == []


def test_what_is_no_picture_is_not_copied(make: Make, tmp_path: Path) -> None:
    shard = make({"a.mp4": ["a red car"]}, folder="shard")
    video_id = shard.videos()[0].video_id
    folder = shard.thumbnail_path(video_id, 0).parent
    (folder / "000001.jpg").write_bytes(b"GIF89a")
    (folder / "x.jpg").write_bytes(JPEG)
    (folder / "000002.jpg").mkdir()
    target = make({}, folder="target")
    merge(target, shard)
    copied = target.thumbnail_path(video_id, 0).parent
    assert [path.name for path in copied.iterdir()] == ["000000.jpg"]


def test_a_video_is_copied_whole_or_not_at_all(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = make({"a.mp4": ["a red car"], "b.mp4": ["a dog"]}, folder="shard")
    target = make({}, folder="target")

    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with target.build_lock(wait=False):
        videos = merge_videos(target, shard)
        assert next(videos).name == "a.mp4"
        monkeypatch.setattr("fdvs.store.merge.write_source", fail)
        with pytest.raises(StoreError, match="disk I/O"):
            next(videos)
    assert [video.name for video in target.videos()] == ["a.mp4"]
    monkeypatch.undo()
    assert [m.how for m in merge(target, shard)] == ["known", "added"]
    assert content(target)["artifacts"] == content(shard)["artifacts"]
