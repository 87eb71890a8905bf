"""Builds by workers on two nodes of a Ray cluster on this machine, one of which is lost."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fdvs.pipelines.cluster.engine import RayEngine
from fdvs.report import BuildEvent

from . import conftest as made
from .conftest import build, rows_of, say_colour_slowly

pytestmark = pytest.mark.slow


def _head(tries: int) -> Any:
    """Start a cluster; on a machine that is busy, Ray may give up before its first node is up."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "120")  # 30 of itself
    quick = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}
    head = {"num_cpus": 0, "_system_config": quick}
    for _ in range(tries - 1):
        with contextlib.suppress(Exception):
            return Cluster(initialize_head=True, head_node_args=head)
    return Cluster(initialize_head=True, head_node_args=head)


@pytest.fixture
def nodes() -> Iterator[tuple[Any, Any]]:
    """A cluster whose head works on nothing, and its second node of two."""
    import ray
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[made.__name__])
    cluster = _head(tries=3)
    cluster.add_node(num_cpus=1)
    second = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    yield cluster, second
    ray.shutdown()
    cluster.shutdown()


def test_a_lost_node_costs_nothing(
    tmp_path: Path, films: Path, plain: Path, nodes: tuple[Any, Any]
) -> None:
    cluster, second = nodes
    clips: list[str] = []
    lost = threading.Event()

    def lose(event: BuildEvent) -> None:
        clips.extend([event.name] if event.kind == "clip" else [])
        if len(clips) >= 3 and not lost.is_set():
            lost.set()
            cluster.remove_node(second, allow_graceful=False)

    engine = RayEngine(num_workers=2, num_cpus_per_worker=1)
    report = build(tmp_path / "ray", films, say_colour_slowly, engine=engine, progress=lose)
    assert lost.is_set()
    assert [row.status for row in report.rows].count("built") == 4
    assert rows_of(tmp_path / "ray") == rows_of(plain)
