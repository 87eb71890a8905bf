"""Print what weights of the gallery's score find on the videos of ActivityNet that are tuned on.

    python scripts/tune_retrieval.py --data FOLDER --out fdvs-eval --limit 3000

One description of a video is the query, the other one its story and chapters. Only videos beside
the committed list are used (datasets/ids): what is chosen here is reported on the list. Weights of
`fdvs.search.gallery.Fusion` were chosen this way: docs/decisions/014-retrieval.md.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fdvs.config import Config
from fdvs.metrics.retrieval import COSINE_TIE_WIDTH, text_to_video
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.retrieval_gallery import Task, held_out_ids, task_of
from fdvs.pipelines.evaluation.run import split_of
from fdvs.pipelines.evaluation.sources import texts_for
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.search.gallery import Fusion, Gallery, ScoreParts, embed_queries, fuse

ROWS = ("retrieval-activitynet", "prvr-activitynet")
CHAPTERS, WORDS, CROWDING = (0.0, 0.2, 0.35, 0.5), (0.0, 0.15, 0.3), (0.0, 0.3, 0.6, 0.9)
CUTOFFS = (1, 5, 10)


def tuning_task(job: Job, limit: int) -> Task:
    """Return the row's task on the videos beside the list, with at most `limit` queries."""
    split = split_of(job)
    task = task_of(split, texts_for(job, split))
    task = task.only(frozenset(task.video_ids) - held_out_ids(split.dataset))
    return some_queries(task, limit)


def some_queries(task: Task, limit: int) -> Task:
    """Return the task with `limit` of its queries, drawn with a fixed seed."""
    chosen = list(range(len(task.queries)))
    random.Random(0).shuffle(chosen)
    chosen = sorted(chosen[:limit])
    return replace(
        task,
        queries=tuple(task.queries[n] for n in chosen),
        right=tuple(task.right[n] for n in chosen),
    )


def parts_of(job: Job, task: Task) -> ScoreParts:
    """Return the parts of all scores [Q, V]."""
    embedder = stored_embedder(job)
    gallery = Gallery.embed(task.videos, embedder)
    return gallery.parts(embed_queries([query.text for query in task.queries], embedder))


def grid() -> Iterator[Fusion]:
    """Yield the weights to be tried."""
    for chapters, words, crowding in itertools.product(CHAPTERS, WORDS, CROWDING):
        yield Fusion(chapters=chapters, words=words, crowding=crowding)


def recalls(parts: ScoreParts, right: Sequence[int], fusion: Fusion) -> list[float]:
    """Return R@1/5/10 as fractions."""
    ranks = text_to_video(
        fuse(parts, fusion), np.array(right, dtype=np.int64), tie_width=COSINE_TIE_WIDTH
    )
    return [float(ranks.hits(cutoff).mean()) for cutoff in CUTOFFS]


def table_of(name: str, task: Task, parts: ScoreParts) -> Table:
    """Return a table of the grid, best sum of recalls first."""
    rows = [(fusion, recalls(parts, task.right, fusion)) for fusion in grid()]
    rows.sort(key=lambda row: -sum(row[1]))
    table = Table(title=f"{name}: {len(task.queries)} queries, {len(task.videos)} videos")
    for heading in ("chapters", "words", "crowding", *(f"R@{cutoff}" for cutoff in CUTOFFS)):
        table.add_column(heading, justify="right")
    for fusion, found in rows:
        weights = (fusion.chapters, fusion.words, fusion.crowding)
        table.add_row(*(f"{one:g}" for one in weights), *(f"{100 * one:.1f}" for one in found))
    return table


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and print one table a row."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the annotations")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval"), help="where vectors go")
    parser.add_argument("--limit", type=int, default=3000, help="queries at most")
    given = parser.parse_args(arguments)
    for name in ROWS:
        job = Job(row=row_named(name), data=given.data, out=given.out / name, config=Config())
        task = tuning_task(job, given.limit)
        Console().print(table_of(name, task, parts_of(job, task)))


if __name__ == "__main__":
    main()
