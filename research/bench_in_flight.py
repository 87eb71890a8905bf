"""How full a captioning server is kept: clip by clip in every place, against batch by batch.

A server on the loopback takes 0.5 to 3 s for a caption (drawn with a seed). Both ways describe the
same clips through the same client, in turn; the share of time in which all places are taken, from
the first request to the last that has to wait for no other, is measured at the server.

    python research/bench_in_flight.py --csv benchmarks/in_flight.csv
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SECONDS = (0.5, 3.0)


def dialect_server() -> ModuleType:
    """Return the imitation of model servers that the tests use."""
    path = ROOT / "tests" / "dialect_server.py"
    spec = importlib.util.spec_from_file_location("dialect_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dialect_server"] = module
    spec.loader.exec_module(module)
    return module


def tasks(num: int) -> Iterator[Any]:
    """Yield clips of one video with one small picture each, to be captioned."""
    from fdvs.pipelines.build.items import ClipTask, VideoJob
    from fdvs.types import Clip, Frame

    image = np.full((32, 48, 3), (255, 0, 0), np.uint8)
    clips = [Clip(video_id="v", index=n, start_s=n, end_s=n + 1) for n in range(num)]
    job = VideoJob(path=Path("v.mp4"), video_id="v", clips=clips)
    for clip in clips:
        frame = Frame(time_s=clip.start_s, image=image)
        yield ClipTask(job=job, clip=clip, frames=[frame], stale=("captioner",))


def describe(
    server: Any, *, places: int, num_clips: int, by_batch: bool
) -> tuple[float, float, float]:
    """Return the share of time with all places taken, the mean share of places taken, and the
    seconds that all clips took."""
    from fdvs.config import Config
    from fdvs.models.cards import LoadSettings, resolve
    from fdvs.models.endpoint.endpoint import EndpointCaptioner
    from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder
    from fdvs.pipelines.build.context import BuildContext
    from fdvs.pipelines.build.perceive import perceive
    from fdvs.pipelines.model_set import ModelSet

    card = resolve(f"endpoint:{server.url('vllm')}#good", "captioner")
    card = replace(card, options={"concurrency": places, "dialect": "vllm"})
    captioner = EndpointCaptioner.load(card, LoadSettings())
    captioner.asks_server = not by_batch
    own = {
        "captioner": captioner, "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
    }  # fmt: skip
    config = Config()
    context = BuildContext(folder=ROOT, config=config, models=ModelSet(config, models=own))
    server.changes.clear()
    started_s = time.monotonic()
    found = [item for item in perceive(tasks(num_clips), context) if hasattr(item, "clip")]
    took_s = time.monotonic() - started_s
    texts = {one.text for task in found for one in task.observations["captioner"]}
    assert len(found) == num_clips, len(found)
    assert texts == {"I see red."}, texts
    return *shares(server.changes, places), took_s


def shares(changes: list[tuple[float, int]], places: int) -> tuple[float, float]:
    """Return the share of time with `places` requests in flight, and the mean share of places
    taken, until the last request comes."""
    ends_s = max(when for (_, before), (when, num) in pairwise(changes) if num > before)
    full_s = taken_s = 0.0
    for (when, num), (until, _) in pairwise(changes):
        seconds = max(0.0, min(until, ends_s) - when)
        full_s += seconds * (num >= places)
        taken_s += seconds * num / places
    all_s = ends_s - changes[0][0]
    return full_s / all_s, taken_s / all_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--rounds", type=int, default=6, help="clips per place")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    rows = ["places,way,run,clips,share_full,mean_taken,seconds"]
    with dialect_server().running_dialects() as server:
        server.seconds = SECONDS
        for run in range(options.repeats):
            for places in options.places:
                for way in ("by batch", "by place"):
                    server.random.seed(run)
                    num = places * options.rounds
                    full, taken, seconds = describe(
                        server, places=places, num_clips=num, by_batch=way == "by batch"
                    )
                    rows.append(f"{places},{way},{run},{num},{full:.3f},{taken:.3f},{seconds:.2f}")
                    print(rows[-1], flush=True)
    if options.csv:
        options.csv.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
