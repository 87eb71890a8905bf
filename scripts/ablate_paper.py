"""The ablations of the paper (arXiv 2412.06182), one command a table; rows as CSV.

    python scripts/ablate_paper.py xviii --data FOLDER --row egoschema --csv FILE
    python scripts/ablate_paper.py xi --films 6 --out FOLDER --csv FILE

`xviii` (memory length; with --answers questions are asked, too, which takes hours) and `xvii`
(number of evidence chapters, with and without story) read published captions; `xii` (redundancy:
none, textual, visual, both), `xix` (frames a clip) and `xi` (clip cutting) make films and build a
library of them for every row. Of the redundancy rules `cover` is the default, with its floor; the
others are as their names say. Other captions, films and models than the paper's: rows say what a
choice changes here.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fdvs.answers.choice.background import make_background
from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.errors import FdvsError
from fdvs.pipelines.evaluation import ablations
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.pipelines.evaluation.film_study import FilmStudy
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.redundancy_table import read_videos
from fdvs.pipelines.evaluation.run import limited, split_of
from fdvs.pipelines.evaluation.tables import write_rows
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.presets import preset

ON_CAPTIONS = ("xviii", "xvii")
ON_FILMS: dict[str, Callable[[FilmStudy], list[dict[str, Any]]]] = {
    "xii": ablations.table_xii,
    "xix": ablations.table_xix,
    "xi": ablations.table_xi,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table's rows; return 1 with one line where data or a model are not here."""
    options = _options(arguments)
    try:
        rows = _on_captions(options) if options.table in ON_CAPTIONS else _on_films(options)
    except FdvsError as error:
        print(f"ablate_paper: {error}", file=sys.stderr)
        return 1
    write_rows(rows, sys.stdout)
    if options.csv is not None:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            write_rows(rows, file)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=(*ON_CAPTIONS, *ON_FILMS))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of xviii and xvii")
    parser.add_argument("--row", choices=("egoschema", "nextqa"), default="egoschema")
    parser.add_argument("--limit", type=int, metavar="N", help="questions at most")
    parser.add_argument("--answers", action="store_true", help="of xviii: accuracy, too")
    parser.add_argument("--films", type=int, default=6, help="of xii, xix and xi")
    parser.add_argument("--short", action="store_true", help="short films: to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval/ablations"), metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def _on_captions(options: argparse.Namespace) -> list[dict[str, Any]]:
    job = Job(
        row=row_named(options.row),
        data=options.data,
        out=options.out / options.row,
        config=preset("offline"),
        allow_partial=True,
    )
    job.out.mkdir(parents=True, exist_ok=True)
    split = limited(split_of(job), options.limit)
    embedder = stored_embedder(job)
    videos = read_videos(split, embedder)
    if options.table == "xviii" and not options.answers:
        return ablations.table_xviii(videos, None)
    passages = [p for video, told in split.captions.items() for p in passages_of(video, told)]
    chooser = EvidenceChooser(embedder, background=make_background(passages, embedder))
    if options.table == "xviii":
        return ablations.table_xviii(videos, chooser)
    return ablations.table_xvii(videos, chooser, embedder)


def _on_films(options: argparse.Namespace) -> list[dict[str, Any]]:
    options.out.mkdir(parents=True, exist_ok=True)
    with FilmStudy(options.out, num_films=options.films, short=options.short) as study:
        return ON_FILMS[options.table](study)


if __name__ == "__main__":
    sys.exit(main())
