"""Redundancy rules beside random drop of as many, one command a set; rows as CSV.

    python scripts/redundancy_table.py egoschema --data FOLDER --csv FILE
    python scripts/redundancy_table.py nextqa --data FOLDER --csv FILE
    python scripts/redundancy_table.py films --csv FILE

No rule, the paper's, and the default `cover`. Captions are taken as chapters, and what
is lost is cosine to the right option (fdvs.pipelines.evaluation.redundancy_table); made films tell
what they show by their recipes. The half "tuning" (of the videos; of films, another seed) has
`cover` at more floors: the default was chosen there, and the half "report" says what it is worth.
Vectors come from the text embedder of preset offline; rows hold numbers, no text.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fdvs.config import TextualConfig
from fdvs.errors import FdvsError
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.film_study import FilmStudy
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.redundancy_rules import compared
from fdvs.pipelines.evaluation.redundancy_table import Half, read_videos, redundancy_rows
from fdvs.pipelines.evaluation.run import limited, split_of
from fdvs.pipelines.evaluation.synthetic_scores import redundancy_rows as film_rows
from fdvs.pipelines.evaluation.tables import write_rows
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.presets import preset

HALVES: tuple[Half, ...] = ("tuning", "report")
FLOORS = (0.7, 0.84, 0.9, 0.98)
#: Seeds of the films that floors are chosen on, and of those that are reported.
SEEDS: Mapping[Half, int] = {"tuning": 1, "report": 0}
CAPTIONED = ("egoschema", "nextqa")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows; return 1 with one line where data or a model are not here."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    on = _on_films if options.set == "films" else _on_captions
    try:
        rows = list(on(options))
    except FdvsError as error:
        print(f"redundancy_table: {error}", file=sys.stderr)
        return 1
    write_rows(rows, sys.stdout)
    if options.csv is not None:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            write_rows(rows, file)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", choices=(*CAPTIONED, "films"))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="of egoschema and nextqa")
    parser.add_argument("--limit", type=int, metavar="N", help="questions at most")
    parser.add_argument("--films", type=int, default=6, help="in each half")
    parser.add_argument("--short", action="store_true", help="short films: to see that it runs")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval/redundancy"), metavar="FOLDER")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    return parser.parse_args(arguments)


def floors_of(half: Half) -> Sequence[float]:
    return FLOORS if half == "tuning" else ()


def _on_captions(options: argparse.Namespace) -> Iterator[Row]:
    job = Job(
        row=row_named(options.set),
        data=options.data,
        out=options.out / options.set,
        config=preset("offline"),
        allow_partial=True,
    )
    job.out.mkdir(parents=True, exist_ok=True)
    split = limited(split_of(job), options.limit)
    embedder = stored_embedder(job)
    for half in HALVES:
        videos = read_videos(split, embedder, half=half)
        rules = compared(TextualConfig(), floors_of(half))
        for row in redundancy_rows(videos, rules=rules):
            yield {"dataset": options.set, "half": half, **_plain(row)}


def _on_films(options: argparse.Namespace) -> Iterator[Row]:
    for half in HALVES:
        out = options.out / "films" / half
        out.mkdir(parents=True, exist_ok=True)
        with FilmStudy(
            out, num_films=options.films, seed=SEEDS[half], short=options.short
        ) as study:
            config = study.config()
            films = study.films(config)
        found = film_rows(films, config.visual, config.textual, floors=floors_of(half))
        for what, rows in found.items():
            for row in rows:
                yield {"half": half, "seed": SEEDS[half], "what": what, **_plain(row)}


def _plain(row: Row) -> Row:
    """Return a row with intervals as words, as they stand in a table."""
    return {
        name: f"{value[0]:.4f} to {value[1]:.4f}" if isinstance(value, list) else value
        for name, value in row.items()
    }


if __name__ == "__main__":
    sys.exit(main())
