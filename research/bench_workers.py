"""Builds by 1, 2, 4, ... workers beside the plain build, with a captioner that sleeps.

    python research/bench_workers.py --workers 1 2 4 8 --csv benchmarks/workers.csv

The captioner stands for a model on a GPU or a server: it sleeps `--seconds` a clip, so that workers
do not compete for this machine's processor with it. Films are made, all equal in length. Starting
the workers counts. `driver_cpu_s` is the processor time of the process that commits, for all clips.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import imageio_ffmpeg
from csv_rows import print_and_write

from fdvs.config import Config, CutConfig, PerceiveConfig
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedDescriber
from fdvs.pipelines.cluster.engine import RayEngine
from fdvs.pipelines.library import Library
from fdvs.types import ClipView

CLIPS_A_FILM = 4
CONFIG = Config(cut=CutConfig(min_clip_s=0.5, max_clip_s=1.0), perceive=PerceiveConfig(sources=()))


def make_films(folder: Path, num: int) -> Path:
    """Write `num` films of `CLIPS_A_FILM` seconds, each with another tone of grey."""
    folder.mkdir()
    for number in range(num):
        tone = f"0x{(number * 37) % 256:02x}{number:02x}80"
        source = f"color={tone}:size=64x48:rate=10:duration={CLIPS_A_FILM}"
        subprocess.run(
            [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source,
             "-g", "10", "-pix_fmt", "yuv420p", str(folder / f"{number}.mp4")],
            check=True,
        )  # fmt: skip
    return folder


def say_after(seconds: float, view: ClipView) -> list[str]:
    """Sleep as a captioner would take, then say when the clip begins."""
    time.sleep(seconds)
    return [f"A wall fills the picture at second {view.clip.start_s:.0f}."]


def built(films: Path, library: Path, seconds: float, engine: RayEngine | None) -> dict[str, Any]:
    """Return what a build of `films` cost."""
    models = {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(partial(say_after, seconds)),
    }
    given: dict[str, Any] = {"engine": engine} if engine else {}
    wall_s, cpu_s = time.monotonic(), time.process_time()
    with Library.open(library, config=CONFIG, models=models) as opened:
        report = opened.build(films, **given)
    wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
    num_clips = sum(row.num_clips_computed for row in report.rows)
    assert {row.status for row in report.rows} == {"built"}, report
    return {
        "clips": num_clips, "seconds_a_clip": seconds, "wall_s": round(wall_s, 2),
        "clips_a_second": round(num_clips / wall_s, 2), "driver_cpu_s": round(cpu_s, 2),
    }  # fmt: skip


def measured(place: Path, num_workers: int, films: Path, seconds: float) -> dict[str, Any]:
    """Return a row: 0 workers are the plain build."""
    engine = RayEngine(num_workers=num_workers, num_cpus_per_worker=1) if num_workers else None
    library = Path(tempfile.mkdtemp(dir=place))
    return {"workers": num_workers or "none", **built(films, library, seconds, engine)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--films", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
    import ray

    place = Path(tempfile.mkdtemp(prefix="fdvs-workers-"))
    films = make_films(place / "films", given.films)
    rows = []
    for _ in range(given.rounds):
        for num in (0, *given.workers):
            ray.init(
                address="local", num_cpus=max(num, 1), include_dashboard=False,
                log_to_driver=False, _node_ip_address="127.0.0.1",
            )  # fmt: skip
            rows.append(measured(place, num, films, given.seconds))
            sys.stderr.write(f"{rows[-1]}\n")
            ray.shutdown()
    print_and_write(rows, given.csv)


if __name__ == "__main__":
    main()
