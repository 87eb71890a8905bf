"""Time a build in which nothing changed: many tiny films, scripted models, processor seconds."""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

import av
import numpy as np
from csv_rows import print_and_write
from soak import scripted

from fdvs.config import Config
from fdvs.pipelines.library import Library


def make_films(folder: Path, num: int) -> None:
    """Write films of one picture, each with its own number in the file's title."""
    first = folder / "0.mkv"
    with av.open(str(first), "w") as file:
        file.metadata["title"] = "000000"
        stream = file.add_stream("mjpeg", rate=1)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p"
        picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8))
        file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
    data = first.read_bytes()
    for number in range(1, num):
        (folder / f"{number}.mkv").write_bytes(data.replace(b"000000", b"%06d" % number))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=2000)
    parser.add_argument("--csv", type=Path)
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="fdvs-rebuild-"))
    (place / "films").mkdir()
    make_films(place / "films", given.films)
    rows = []
    for what in ("first build", "again", "again"):
        wall_s, cpu_s = time.monotonic(), time.process_time()
        with Library.open(place / "library", config=Config(), models=scripted()) as library:
            report = library.build(place / "films")
        found = {
            status: sum(r.status == status for r in report.rows)
            for status in ("built", "unchanged")
        }
        rows.append({
            "what": what, "films": given.films, **found,
            "cpu_s": round(time.process_time() - cpu_s, 1),
            "wall_s": round(time.monotonic() - wall_s, 1),
        })  # fmt: skip
    print_and_write(rows, given.csv)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
