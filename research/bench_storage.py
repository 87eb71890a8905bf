"""Bytes a clip of a library, by what they are for, and what vectors of frames in levels change.

    python research/bench_storage.py LIBRARY [NEW] [--csv benchmarks/storage.csv]

NEW is a library of the same films, of which only the sizes are shown. Every tenth stored frame is
looked for among all others, with their vectors as the library holds them (`exact`, where it was
built by an older version) and as a new build stores them (`levels`). Counted are the frames whose
best clip, and whose five best clips in order, are the same; and the redundancy rule is applied to
both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import csv_rows
import numpy as np

from fdvs.config import Config
from fdvs.redundancy.rules import keep_frames
from fdvs.store.coding import as_stored, encode
from fdvs.store.store import Store
from fdvs.types import Vectors
from fdvs.vectors import unit_rows

NUM_BEST, EVERY = 5, 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("new", type=Path, nargs="?")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    with Store.open(options.library) as store:
        clips = [
            artifact.vectors
            for video in store.videos()
            for artifact in store.get_all(video.video_id, "frames").values()
            if artifact.vectors is not None
        ]
        sizes = _sizes(store, len(clips))
    if options.new is not None:
        with Store.open(options.new) as store:
            now = _sizes(store, len(clips))
        sizes |= {f"{stage}, built now": size for stage, size in now.items()}
    rows: list[dict[str, object]] = [
        {"what": f"bytes a clip: {stage}", "clips": len(clips), "value": round(size)}
        for stage, size in sizes.items()
    ]
    for coding in ("exact", "levels"):
        num = sum(len(encode(one, coding)) for one in clips)
        rows.append({"what": f"bytes a clip: frames, {coding}", "clips": len(clips),
                     "value": round(num / len(clips))})  # fmt: skip
    rows += [{"what": what, "clips": len(clips), "value": value} for what, value in _change(clips)]
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _sizes(store: Store, num_clips: int) -> dict[str, float]:
    """Return the bytes a clip of each stage's vectors and texts, and of the whole file."""
    with store.reading() as connection:
        found = dict(
            connection.execute(
                "SELECT stage, sum(coalesce(length(vectors), 0) + length(payload)) FROM artifacts"
                " GROUP BY stage"
            ).fetchall()
        )
    shown = ("frames", "sentence_vector", "look", "chapter_vector", "story_vector")
    sizes = {stage: found.pop(stage, 0) / num_clips for stage in shown}
    sizes["everything else"] = sum(found.values()) / num_clips
    sizes["library.sqlite"] = (store.folder / "library.sqlite").stat().st_size / num_clips
    return sizes


def _change(clips: Sequence[Vectors]) -> list[tuple[str, float]]:
    stored = [as_stored(one, "levels") for one in clips]
    owners = np.repeat(np.arange(len(clips)), [len(one) for one in clips])
    exact, levels = unit_rows(np.concatenate(clips)), unit_rows(np.concatenate(stored))
    num_same, num_same_best, worst = 0, 0, 0.0
    chosen = range(0, len(exact), EVERY)
    for row in chosen:
        cosines = [rows @ exact[row] for rows in (exact, levels)]
        best = [_best_clips(one, owners) for one in cosines]
        num_same_best += best[0][0] == best[1][0]
        num_same += best[0] == best[1]
        worst = max(worst, float(np.abs(cosines[0] - cosines[1]).max()))
    rule = Config().visual
    kept = [
        [keep_frames(rows, rule, salt=str(n)).tolist() for n, rows in enumerate(of)]
        for of in (clips, stored)
    ]
    return [
        ("frames looked for", len(chosen)),
        ("same best clip", num_same_best),
        (f"same {NUM_BEST} best clips in order", num_same),
        ("largest difference of a cosine", round(worst, 5)),
        ("clips with the same frames kept", sum(map(list.__eq__, *kept))),
    ]


def _best_clips(cosines: np.ndarray, owners: np.ndarray) -> list[int]:
    best = np.full(int(owners.max()) + 1, -np.inf)
    np.maximum.at(best, owners, np.round(cosines, 6))
    return np.argsort(-best, kind="stable")[:NUM_BEST].tolist()


if __name__ == "__main__":
    sys.exit(main())
