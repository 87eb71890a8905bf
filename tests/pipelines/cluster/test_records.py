"""What a worker sends, without Ray: a worker in this process, and its writes made again."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.configfile import config_to_json
from fdvs.errors import BadModelOutput, ConfigError, InvalidValue, ModelUnavailable
from fdvs.fingerprint import file_sha256
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.cluster.engine import RayEngine
from fdvs.pipelines.cluster.records import Row, Task, Write, check_write
from fdvs.pipelines.cluster.worker import Worker, remove_leftovers
from fdvs.pipelines.model_set import ModelSet
from fdvs.store.lock import build_lock
from fdvs.store.store import NewArtifact, Store, video_id_from

from .conftest import CONFIG, MakeFilm, build, made_of, rows_of, say_colour


def task_of(path: Path) -> Task:
    stat = path.stat()
    sha256 = file_sha256(path)
    return Task(
        path=path,
        video_id=video_id_from(sha256),
        sha256=sha256,
        size_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
    )


def worker() -> Worker:
    models = made_of(say_colour)
    context = BuildContext(Path(), CONFIG, ModelSet(CONFIG, models=models))
    return Worker(config_to_json(CONFIG), models, context.model_fingerprints)


def test_a_workers_writes_made_again_give_the_rows_of_a_plain_build(
    tmp_path: Path, make_film: MakeFilm
) -> None:
    film = make_film(tmp_path / "film.mp4", [("red", 1.0), ("green", 1.0), ("blue", 1.0)])
    build(tmp_path / "plain", film, say_colour)
    records = [record for batch in worker().build(task_of(film)) for record in batch]
    with Store.open(tmp_path / "again", create=True) as store:
        for record in records:
            if isinstance(record, Write):
                check_write(record, task_of(film))
                getattr(store, record.method)(**record.arguments)
    assert isinstance(records[-1], Row)
    assert records[-1].row.status == "built"
    assert rows_of(tmp_path / "again") == rows_of(tmp_path / "plain")
    pictures = [
        sorted(p.name for p in (tmp_path / n).glob("thumbnails/*/*")) for n in ("again", "plain")
    ]
    assert pictures[0] == pictures[1] != []


def test_a_worker_leaves_nothing_in_the_temporary_folder(
    tmp_path: Path, make_film: MakeFilm, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    list(worker().build(task_of(make_film(tmp_path / "film.mp4", [("red", 1.0)]))))
    assert list(place.iterdir()) == []


def test_what_killed_workers_left_is_deleted_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    left, used, fresh, other = (
        tmp_path / name for name in ("fdvs-worker-a", "fdvs-worker-b", "fdvs-worker-c", "other")
    )
    for folder in (left, used, fresh, other):
        Store.open(folder, create=True).close()
    with build_lock(used):
        for folder in (left, used, other):
            os.utime(folder, (0, 0))
        remove_leftovers(tmp_path)
    assert not left.exists()
    assert all(folder.exists() for folder in (used, fresh, other))


def test_skipped_clips_have_no_pictures_and_are_noted(tmp_path: Path, make_film: MakeFilm) -> None:
    film = make_film(tmp_path / "film.mp4", [("red", 1.0), ("green", 1.0), ("blue", 1.0)])
    task = replace(task_of(film), skipped=frozenset({1}))
    *_, last = worker().build(task)
    row = last[-1]
    assert isinstance(row, Row)
    assert row.row.missing == ("pictures",)
    assert any("on 1 of 3 clips" in warning for warning in row.row.warnings)


def test_a_worker_with_other_models_refuses_to_start() -> None:
    with pytest.raises(ModelUnavailable, match="not those of this machine"):
        Worker(config_to_json(CONFIG), made_of(say_colour), ["another"])


def wrong(**changed: Any) -> dict[str, Any]:
    row: dict[str, Any] = {
        "video_id": "a" * 16, "stage": "chapter", "item": 0, "fingerprint": "f", "payload": {},
    }  # fmt: skip
    return {"new": (NewArtifact(**(row | changed)),)}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("remove_video", {"video_id": "a" * 16}),
        ("__init__", {}),
        ("trim", {"video_id": "b" * 16, "stage": "chapter", "keep_items": 0}),
        ("replace_former", {"video_id": "a" * 16, "path": Path("/other.mp4")}),
        ("note_source", {"video_id": None, "path": Path("/other.mp4")}),
        ("put_many", wrong(video_id="b" * 16)),
        ("put_many", wrong(item=-1)),
        ("put_many", wrong(stage="s" * 1000)),
        ("put_many", wrong(vectors=np.full((1, 2), np.nan, dtype=np.float32))),
        ("put_thumbnail", {"video_id": "a" * 16, "clip_index": 0, "jpeg": b"<html>"}),
    ],
)
def test_what_is_no_write_of_this_file_is_refused(method: str, arguments: dict[str, Any]) -> None:
    task = Task(path=Path("/a.mp4"), video_id="a" * 16, sha256="a" * 64, size_bytes=1, mtime_ns=1)
    with pytest.raises(BadModelOutput, match="cannot be stored"):
        check_write(Write(method=method, arguments=arguments), task)


def test_a_cluster_without_a_token_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(ConfigError, match="no token"):
        RayEngine(address="127.0.0.1:6379").connect()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(ConfigError, match="RAY_AUTH_MODE is disabled"):
        RayEngine().connect()


def test_numbers_of_workers_are_checked() -> None:
    with pytest.raises(InvalidValue, match="num_workers"):
        RayEngine(num_workers=-1)
