"""Builds by workers of a real Ray on this machine: equal to the plain build, whatever dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fdvs.errors import ModelError
from fdvs.pipelines.cluster.engine import RayEngine
from fdvs.report import BuildEvent, BuildReport

from . import conftest as made
from .conftest import (
    always,
    build,
    is_of_second_folder,
    is_yellow,
    once,
    rows_of,
    say_colour,
    stuck_once,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_here")]
TWO = RayEngine(num_workers=2, num_cpus_per_worker=1)


def statuses(report: BuildReport) -> list[tuple[str, str]]:
    return [(Path(row.path).name, row.status) for row in report.rows]


def test_rows_of_workers_are_those_of_the_plain_build(
    tmp_path: Path, films: Path, plain: Path
) -> None:
    events: list[BuildEvent] = []
    report = build(tmp_path / "ray", films, say_colour, engine=TWO, progress=events.append)
    assert rows_of(tmp_path / "ray") == rows_of(plain)
    again = build(plain, films, say_colour)  # all unchanged: the rows in the order of files
    assert [Path(row.path) for row in report.rows] == [Path(row.path) for row in again.rows]
    assert sorted(status for _, status in statuses(report)) == [
        *["built"] * 4, *["failed"] * 2, "unchanged",
    ]  # fmt: skip
    assert sum(event.kind == "clip" for event in events) == 4 * 6
    unchanged = build(tmp_path / "ray", films, say_colour, engine=TWO)
    assert {row.status for row in unchanged.rows} == {"unchanged", "failed"}


def test_a_worker_that_is_killed_costs_nothing(tmp_path: Path, films: Path, plain: Path) -> None:
    flag = tmp_path / "flag"
    report = build(tmp_path / "ray", films, once(flag, is_yellow), engine=TWO)
    assert flag.exists()
    assert [row.status for row in report.rows].count("built") == 4
    assert rows_of(tmp_path / "ray") == rows_of(plain)


def test_a_clip_that_ends_workers_loses_its_pictures_only(
    tmp_path: Path, films: Path, plain: Path
) -> None:
    film = films / "0" / "film0.mp4"
    flag = tmp_path / "flag"
    report = build(tmp_path / "ray", film, always(flag, is_yellow), engine=TWO)
    (row,) = report.rows
    assert row.status == "built"
    assert row.missing == ("pictures",)
    assert "on 1 of 6 clips" in " ".join(row.warnings)
    assert 2 <= flag.stat().st_size <= 2 + 3  # workers ended: two, and one a halving of six clips
    kept, all_of = (
        [r for r in rows_of(place)["results"] if r[1] == "chapter" and r[0] == row.video_id]
        for place in (tmp_path / "ray", plain)
    )
    assert len(kept) == len(all_of) == 6
    assert sum(one != other for one, other in zip(kept, all_of, strict=True)) == 1


def test_a_file_that_always_ends_workers_fails_alone(
    tmp_path: Path, films: Path, plain: Path
) -> None:
    poison = films / "1" / "film1.mp4"
    flag = tmp_path / "flag"
    report = build(tmp_path / "ray", films, always(flag, is_of_second_folder), engine=TWO)
    (lost,) = [row for row in report.rows if row.path == str(poison)]
    assert lost.status == "failed"
    assert "ended a worker" in lost.reason
    others = rows_of(tmp_path / "ray")["results"]
    expected = [row for row in rows_of(plain)["results"] if row[0] != lost.video_id]
    assert [row for row in others if row[0] != lost.video_id] == expected
    assert report.exit_code == 1


def test_a_file_that_hangs_is_built_a_second_time(
    tmp_path: Path, films: Path, plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.pipelines.cluster.pool.STRAGGLES_FROM_S", 1.0)
    flag = tmp_path / "flag"
    stuck = stuck_once(flag, is_of_second_folder)
    report = build(tmp_path / "ray", films, stuck, engine=TWO)
    assert flag.exists()
    assert [row.status for row in report.rows].count("built") == 4
    assert rows_of(tmp_path / "ray") == rows_of(plain)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path, films: Path) -> None:
    models = made.made_of(say_colour) | {"text_embedder": made.AnotherEverywhere()}
    with (
        made.Library.open(tmp_path / "ray", config=made.CONFIG, models=models) as library,
        pytest.raises(ModelError, match="not those of this machine"),
    ):
        library.build(films, engine=TWO)


DRIVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import importlib.util
from ray import cloudpickle
spec = importlib.util.spec_from_file_location("cluster_models", sys.argv[4])
made = importlib.util.module_from_spec(spec); sys.modules["cluster_models"] = made
spec.loader.exec_module(made)
cloudpickle.register_pickle_by_value(made)
from fdvs.pipelines.cluster.engine import RayEngine

def slow(view):
    time.sleep(0.1)
    return made.say_colour(view)

def told(event):
    if event.kind == "clip":
        print("clip", flush=True)

cloudpickle.register_pickle_by_value(sys.modules["__main__"])
made.build(Path(sys.argv[1]), Path(sys.argv[2]), slow, progress=told,
           engine=RayEngine(num_workers=2, num_cpus_per_worker=1))
"""


def test_a_killed_driver_loses_no_committed_clip(tmp_path: Path, films: Path, plain: Path) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "ray"), str(films), ".", made.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        for _ in range(8):
            assert driver.stdout.readline() == "clip\n"
        driver.send_signal(signal.SIGKILL)
    stored = [row for row in rows_of(tmp_path / "ray")["results"] if row[1] == "chapter"]
    assert len(stored) >= 8
    time.sleep(1)
    report = build(tmp_path / "ray", films, say_colour, engine=TWO)
    assert sum(row.num_clips_computed for row in report.rows) <= 24 - len(stored)
    assert rows_of(tmp_path / "ray") == rows_of(plain)
