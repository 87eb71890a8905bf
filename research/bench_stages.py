"""Processor seconds of the stages of a build, one after another in one thread, for films.

    python research/bench_stages.py FILM... [--rounds 3] [--csv benchmarks/stages.csv]

`decode` is everything up to a decoded picture, `to RGB` and `scale` what is done to those that are
used, `embed` the picture network of preset `offline`, `store` the commit of a clip's vectors. The
median of the rounds is written. Speech, text on screen and captions are not looked at: they depend
on the model.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import csv_rows


class Clock:
    """Processor seconds by stage; what a stage calls is taken off its own."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner_s = [0.0]

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start_s = time.process_time()
        self._inner_s.append(0.0)
        try:
            yield
        finally:
            whole_s = time.process_time() - start_s
            own_s = whole_s - self._inner_s.pop()
            self._inner_s[-1] += whole_s
            self.seconds[name] = self.seconds.get(name, 0.0) + own_s

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*values: Any, **named: Any) -> Any:
            with self.stage(name):
                return call(*values, **named)

        return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("films", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    from fdvs.config import Config
    from fdvs.pipelines.model_set import ModelSet

    embedder = ModelSet(Config()).image_embedder
    runs: dict[Path, list[dict[str, Any]]] = {}
    for _ in range(options.rounds):
        for film in options.films:
            runs.setdefault(film, []).append(measured(film, embedder))
    rows = []
    for film, found in runs.items():
        row = {"film": film.stem, "rounds": options.rounds}
        for name in found[0]:
            row[name] = round(statistics.median(one[name] for one in found), 3)
        rows.append(row)
    csv_rows.print_and_write(rows, options.csv)
    return 0


def measured(film: Path, embedder: Any) -> dict[str, Any]:
    """Return the processor seconds of each stage, and what was read."""
    from fdvs.config import Config
    from fdvs.fingerprint import file_sha256
    from fdvs.media import resize
    from fdvs.media.clips import cut
    from fdvs.media.pyav_reader import PyAVReader
    from fdvs.media.sampling import sample_times

    clock, config = Clock(), Config()
    with clock.stage("hash_s"):
        file_sha256(film)
    with clock.stage("scan_s"):
        reader = PyAVReader(film)
    with reader:
        clips = cut(reader.info, config.cut, video_id="v")
        times = [t for clip in clips for t in sample_times(clip, config.sample.num_frames_per_clip)]
        to_rgb = mock.patch.object(reader, "_picture", clock.timed("to_rgb_s", reader._picture))
        scale = mock.patch.object(resize, "_resize", clock.timed("scale_s", resize._resize))
        with to_rgb, scale, clock.stage("decode_s"):
            frames = list(reader.frames_at(times, short_side_px=config.sample.short_side_px))
        num_decoded = reader.counts.decoded
        length_s = reader.info.duration_s
    images = [frame.image for frame in frames]
    size = embedder.batch_size
    with clock.stage("embed_s"):
        vectors = [embedder.embed_images(images[i : i + size]) for i in range(0, len(images), size)]
    _store(clock, [row for batch in vectors for row in batch], len(clips))
    shape = {"film_s": length_s, "clips": len(clips), "used": len(images), "decoded": num_decoded}
    return {**shape, **clock.seconds, "all_s": sum(clock.seconds.values())}


def _store(clock: Clock, vectors: list[Any], num_clips: int) -> None:
    import numpy as np

    from fdvs.store.store import NewArtifact, Store, video_id_from

    sha256, each = "0" * 64, max(1, len(vectors) // num_clips)
    video_id = video_id_from(sha256)
    with tempfile.TemporaryDirectory() as folder, Store.open(folder, create=True) as store:
        store.add_video(video_id=video_id, sha256=sha256, path=Path(folder) / "film.mp4")
        with clock.stage("store_s"):
            for index in range(num_clips):
                rows = np.asarray(vectors[index * each : (index + 1) * each], np.float32)
                new = NewArtifact(
                    video_id=video_id, stage="frames", item=index, fingerprint="f",
                    payload={}, vectors=rows,
                )  # fmt: skip
                store.put_many([new])


if __name__ == "__main__":
    sys.exit(main())
