"""Ablations: the paper's tables (arXiv 2412.06182), and the redundancy rules beside random drop.

    python research/ablate.py xviii --data FOLDER --row egoschema --csv FILE
    python research/ablate.py xi --films 6 --out FOLDER --csv FILE
    python research/ablate.py redundancy --row films --csv FILE

On published captions (`--data`, `--row egoschema` or `nextqa`): `xviii`, the memory length of
textual redundancy (with `--answers` the questions are answered too, which takes hours), and `xvii`,
the number of evidence chapters with and without the story. On made films, rebuilt for every row:
`xii`, redundancy reduction (none, textual, visual, both), `xix`, frames per clip, and `xi`, clip
cutting.

`redundancy` compares the rules on captions or on films (`--row films`). The half "tuning" of the
videos (for films, another seed) also has `cover` at more floors: the default was chosen there. The
half "report" says what it is worth. Vectors come from the text embedder of preset offline.

Captions, films and models differ from the paper's: the rows say what a choice changes here. They
hold numbers, no text.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import csv_rows
import paper_tables
from caption_study import Half, read_videos, redundancy_rows
from film_study import FilmStudy

from fdvs.answers.choice.background import make_background
from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.config import TextualConfig
from fdvs.datasets.examples import Split
from fdvs.errors import FdvsError
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.run import limited, split_of
from fdvs.pipelines.evaluation.synthetic_scores import compared
from fdvs.pipelines.evaluation.synthetic_scores import redundancy_rows as film_rows
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.presets import preset
from fdvs.protocols import TextEmbedder

ON_CAPTIONS = ("xviii", "xvii")
ON_FILMS: dict[str, Callable[[FilmStudy], list[dict[str, Any]]]] = {
    "xii": paper_tables.table_xii,
    "xix": paper_tables.table_xix,
    "xi": paper_tables.table_xi,
}
REDUNDANCY, FILMS = "redundancy", "films"
HALVES: tuple[Half, ...] = ("tuning", "report")
FLOORS = (0.7, 0.84, 0.9, 0.98)
#: Seeds of the films that floors are chosen on, and of those that are reported.
SEEDS: Mapping[Half, int] = {"tuning": 1, "report": 0}

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows; return 1 with one line where data or a model are not here."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    try:
        rows = list(_rows(options))
    except FdvsError as error:
        print(f"ablate: {error}", file=sys.stderr)
        return 1
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=(*ON_CAPTIONS, *ON_FILMS, REDUNDANCY))
    parser.add_argument("--row", choices=("egoschema", "nextqa", FILMS), default="egoschema")
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="annotations of the row")
    parser.add_argument("--limit", type=int, metavar="N", help="questions at most")
    parser.add_argument("--answers", action="store_true", help="of xviii: accuracy, too")
    parser.add_argument("--films", type=int, default=6, help="number of made films (in each half)")
    parser.add_argument("--short", action="store_true", help="short films: to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval/ablations"), metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def _rows(options: argparse.Namespace) -> Iterator[Row]:
    if options.table in ON_FILMS:
        options.out.mkdir(parents=True, exist_ok=True)
        study = FilmStudy(options.out, num_films=options.films, short=options.short)
        yield from ON_FILMS[options.table](study)
    elif options.table == REDUNDANCY and options.row == FILMS:
        yield from _redundancy_of_films(options)
    else:
        split, embedder = _captions(options)
        of = _redundancy_of_captions if options.table == REDUNDANCY else _paper_on_captions
        yield from of(options, split, embedder)


def _captions(options: argparse.Namespace) -> tuple[Split, TextEmbedder]:
    """Return the split of the row and an embedder that keeps its vectors on disk."""
    job = Job(
        row=row_named(options.row),
        data=options.data,
        out=options.out / options.row,
        config=preset("offline"),
        allow_partial=True,
    )
    job.out.mkdir(parents=True, exist_ok=True)
    return limited(split_of(job), options.limit), stored_embedder(job)


def _paper_on_captions(
    options: argparse.Namespace, split: Split, embedder: TextEmbedder
) -> list[Row]:
    videos = read_videos(split, embedder)
    if options.table == "xviii" and not options.answers:
        return paper_tables.table_xviii(videos, None)
    passages = [p for video, told in split.captions.items() for p in passages_of(video, told)]
    chooser = EvidenceChooser(embedder, background=make_background(passages, embedder))
    if options.table == "xviii":
        return paper_tables.table_xviii(videos, chooser)
    return paper_tables.table_xvii(videos, chooser, embedder)


def floors_of(half: Half) -> Sequence[float]:
    """Return the further floors of `cover` that a half of the videos is measured with."""
    return FLOORS if half == "tuning" else ()


def _redundancy_of_captions(
    options: argparse.Namespace, split: Split, embedder: TextEmbedder
) -> Iterator[Row]:
    for half in HALVES:
        videos = read_videos(split, embedder, half=half)
        for row in redundancy_rows(videos, rules=compared(TextualConfig(), floors_of(half))):
            yield {"dataset": options.row, "half": half, **_plain(row)}


def _redundancy_of_films(options: argparse.Namespace) -> Iterator[Row]:
    for half in HALVES:
        out = options.out / FILMS / half
        out.mkdir(parents=True, exist_ok=True)
        seed = SEEDS[half]
        study = FilmStudy(out, num_films=options.films, seed=seed, short=options.short)
        config = study.config()
        films = study.films(config)
        found = film_rows(films, config.visual, config.textual, floors=floors_of(half))
        for what, rows in found.items():
            for row in rows:
                yield {"half": half, "seed": seed, "what": what, **_plain(row)}


def _plain(row: Row) -> Row:
    """Return a row with intervals as words, as they stand in a table."""
    return {
        name: f"{value[0]:.4f} to {value[1]:.4f}" if isinstance(value, list) else value
        for name, value in row.items()
    }


if __name__ == "__main__":
    sys.exit(main())
