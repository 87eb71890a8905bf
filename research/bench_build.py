"""Measure a build: speed as a multiple of real time, its parts apart, and peak memory by length.

    python research/bench_build.py FILM --minutes 10 60

FILM is looped (stream copy) to each length and built with the offline preset in a process of its
own. Prints rows for benchmarks/results.csv; makes no claim, compares nothing.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench_rows import new_row, write_rows

PACKAGES = ("fdvs", "torch", "av", "timm")
CHILD = """
import resource, sys
from fdvs import Library
with Library.open(sys.argv[1], preset="offline") as library:
    report = library.build(sys.argv[2])
assert report.exit_code == 0, report
print(report.seconds, report.saved.num_clips, report.saved.num_frames_sampled,
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[10.0, 60.0])
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for minutes in args.minutes:
            rows += measure(args.film, minutes, Path(folder))
    write_rows(rows, args.csv)


def measure(film: Path, minutes: float, folder: Path) -> list[dict[str, str]]:
    looped = loop(film, minutes, folder / f"{minutes:g}min{film.suffix}")
    command = f"research/bench_build.py {film.name} --minutes {minutes:g}"
    seconds, num_clips, num_frames, peak_mib = build(looped, folder / f"library-{minutes:g}")
    shape = f"{minutes:g} min; {int(num_clips)} clips; {int(num_frames)} frames"
    decode_s, embed_s = parts(looped)
    film_s = minutes * 60
    figures = [
        ("build", "offline", "speed", "x real time", film_s / seconds),
        ("build", "offline", "wall", "s", seconds),
        ("build", "offline", "peak memory", "MiB", peak_mib),
        ("decode", "pyav", "speed", "x real time", film_s / decode_s),
        ("embed", "efficientnet-lite0", "speed", "x real time", film_s / embed_s),
    ]
    return [
        new_row(
            op=op,
            backend=backend,
            shape=shape,
            metric=metric,
            unit=unit,
            values=[value],
            command=command,
            packages=PACKAGES,
        )
        for op, backend, metric, unit, value in figures
    ]


def loop(film: Path, minutes: float, target: Path) -> Path:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-stream_loop", "-1"]
    command += ["-i", str(film), "-t", str(minutes * 60), "-c", "copy", str(target)]
    subprocess.run(command, check=True)
    return target


def build(film: Path, library: Path) -> tuple[float, float, float, float]:
    """Build in a fresh process; return seconds, clips, frames, peak MiB (models included)."""
    command = [sys.executable, "-P", "-c", CHILD, str(library), str(film)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, clips, frames, peak = (float(x) for x in done.stdout.split())
    return seconds, clips, frames, peak


def parts(film: Path) -> tuple[float, float]:
    """Return seconds of decoding alone and of embedding alone, on the frames of a build."""
    from fdvs.config import Config
    from fdvs.media.clips import cut
    from fdvs.media.readers import open_reader
    from fdvs.media.sampling import sample_times
    from fdvs.pipelines.model_set import ModelSet

    config = Config()
    embedder = ModelSet(config).image_embedder
    embed_s, batch = 0.0, []
    with open_reader(film) as reader:
        clips = cut(reader.info, config.cut, video_id="v")
        times = [t for clip in clips for t in sample_times(clip, 8)]
        started = time.perf_counter()
        for frame in reader.frames_at(times, short_side_px=config.sample.short_side_px):
            batch.append(frame.image)
            if len(batch) == embedder.batch_size:
                before = time.perf_counter()
                embedder.embed_images(batch)
                embed_s += time.perf_counter() - before
                batch = []
        return time.perf_counter() - started - embed_s, embed_s


if __name__ == "__main__":
    main()
