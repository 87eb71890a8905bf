"""Load, search, memory and recall of large libraries of made chapters.

    python research/bench_large.py FOLDER --chapters 100000 [--baseline PACKAGES] [--csv FILE]

Libraries are made in FOLDER once and kept. Vectors of 384 numbers lie around centres, in a few
directions more than in others, as those of texts do; words follow Zipf's law. Every number is of a
process of its own with one thread: loading, then `--queries` searches for three words. `--baseline`
is a folder that holds another version of the package `fdvs`: both are measured in turns. Recall is
the share of the ten nearest chapters, by a product in doubles with the vectors as they were made,
that a search by meaning alone finds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import csv_rows
import numpy as np

NUM_DIMS, PER_VIDEO, PER_SCENE, CLIP_S = 384, 100, 10, 10.0
NUM_CENTRES, NUM_WORDS, WORDS_A_CHAPTER = 2000, 30_000, 20
NUM_NEAREST = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chapters", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--baseline", type=Path, metavar="PACKAGES")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    library = options.folder / f"library-{options.chapters}"
    if options.measure:
        print(json.dumps(measure(library, options.chapters, options.queries)))
        return 0
    if not library.exists():
        make_library(library, options.chapters)
    versions = {"before": options.baseline, "now, first": None, "now": None}
    if options.baseline is None:
        del versions["before"]
    found: dict[str, list[dict[str, float]]] = {}
    for _ in range(options.rounds):
        for version, packages in versions.items():
            if version == "now, first":
                (library / "search.arrays").unlink(missing_ok=True)
            found.setdefault(version, []).append(_in_process(options, packages))
    rows: list[dict[str, object]] = []
    for version, runs in found.items():
        medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        rows.append(
            {
                "chapters": options.chapters,
                "version": version,
                "rounds": len(runs),
                "queries": options.queries,
                **{n: round(v, 4) for n, v in medians.items()},
            }
        )
    csv_rows.print_and_write(rows, options.csv)
    return 0


def _in_process(options: argparse.Namespace, packages: Path | None) -> dict[str, float]:
    command = [
        sys.executable,
        __file__,
        str(options.folder),
        "--measure",
        "--chapters",
        str(options.chapters),
        "--queries",
        str(options.queries),
    ]
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    path = {} if packages is None else {"PYTHONPATH": str(packages)}
    done = subprocess.run(
        command, env={**os.environ, **threads, **path}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


# -- what is made --------------------------------------------------------------------------------


def vectors_of(num_chapters: int) -> Iterator[np.ndarray]:
    """Yield the unit vectors [PER_VIDEO, D] of each video's chapters."""
    random = np.random.default_rng(7)
    spread = 1 / np.sqrt(1 + np.arange(NUM_DIMS))  # of each direction
    centres = random.normal(size=(NUM_CENTRES, NUM_DIMS)) * spread
    for start in range(0, num_chapters, PER_VIDEO):
        num = min(PER_VIDEO, num_chapters - start)
        near = centres[random.integers(NUM_CENTRES, size=num)]
        rows = near + 0.7 * random.normal(size=(num, NUM_DIMS)) * spread
        yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def texts_of(num_chapters: int) -> Iterator[list[str]]:
    """Yield the texts of each video's chapters, each with a number of its own."""
    random = np.random.default_rng(11)
    chances = 1 / np.arange(1, NUM_WORDS + 1)
    bounds = np.cumsum(chances / chances.sum())
    for start in range(0, num_chapters, PER_VIDEO):
        num = min(PER_VIDEO, num_chapters - start)
        words = np.searchsorted(bounds, random.random((num, WORDS_A_CHAPTER)))
        yield [" ".join(map(word, row)) + f" n{start + i}." for i, row in enumerate(words.tolist())]


def word(number: int) -> str:
    """Return a word of letters for a number."""
    letters = ""
    number += 26
    while number:
        number, rest = divmod(number, 26)
        letters += "abcdefghijklmnopqrstuvwxyz"[rest]
    return letters + "o"


def queries_of(num_chapters: int, num: int) -> list[tuple[str, np.ndarray]]:
    """Return texts of three words, and for each a vector near to one of the chapters."""
    random = np.random.default_rng(13)
    ranks = np.exp(random.uniform(np.log(20), np.log(NUM_WORDS - 1), (num, 3))).astype(int)
    chosen = np.sort(random.integers(num_chapters, size=num))
    found = []
    for number, rows in enumerate(vectors_of(num_chapters)):
        for place in chosen[(chosen >= number * PER_VIDEO) & (chosen < (number + 1) * PER_VIDEO)]:
            row = rows[place % PER_VIDEO] + random.normal(size=NUM_DIMS) * 0.02
            found.append(row / np.linalg.norm(row))
    texts = [" ".join(map(word, row)) for row in ranks.tolist()]
    return list(zip(texts, np.array(found, np.float32), strict=True))


def make_library(folder: Path, num_chapters: int) -> None:
    """Write a library of videos with chapters, scenes, stories and their vectors."""
    from fdvs.store.store import NewArtifact, Store, video_id_from
    from fdvs.story.as_json import story_to_json

    made = zip(texts_of(num_chapters), vectors_of(num_chapters), strict=True)
    with Store.open(folder, create=True) as store:
        for number, (texts, rows) in enumerate(made):
            sha256 = hashlib.sha256(str(number).encode()).hexdigest()
            video_id = video_id_from(sha256)

            def put(stage: str, item: int, payload: Any, vectors: Any = None) -> NewArtifact:
                return NewArtifact(video_id=video_id, stage=stage, item=item, fingerprint="f",  # noqa: B023
                                   payload=payload, vectors=vectors)  # fmt: skip

            story = _story(video_id, texts)
            means = [rows[i : i + PER_SCENE].mean(axis=0) for i in range(0, len(texts), PER_SCENE)]
            with store.writing():
                path = Path(f"/films/{number:06d}.mp4")
                store.add_video(video_id=video_id, sha256=sha256, path=path)
                store.put_many(
                    [*(put("chapter", i, {"start_s": CLIP_S * i, "end_s": CLIP_S * (i + 1),
                                          "text": text}) for i, text in enumerate(texts)),
                     *(put("chapter_vector", i, {}, rows[i : i + 1]) for i in range(len(rows))),
                     put("story", 0, story_to_json(story)),
                     put("story_vector", 0, {}, np.array([rows.mean(axis=0), *means]))]
                )  # fmt: skip


def _story(video_id: str, texts: Sequence[str]) -> Any:
    from fdvs.types import Chapter, Scene, Sentence, Story

    def sentences(low: int, high: int, step: int) -> tuple[Any, ...]:
        return tuple(Sentence(text=texts[i], clips=(i,)) for i in range(low, high, step))

    starts = range(0, len(texts), PER_SCENE)
    scenes = tuple(
        Scene(index=n, start_s=CLIP_S * low, end_s=CLIP_S * min(low + PER_SCENE, len(texts)),
              chapters=tuple(range(low, min(low + PER_SCENE, len(texts)))),
              sentences=sentences(low, min(low + PER_SCENE, len(texts)), 3))
        for n, low in enumerate(starts)
    )  # fmt: skip
    chapters = tuple(
        Chapter(video_id=video_id, index=i, start_s=CLIP_S * i, end_s=CLIP_S * (i + 1), text=text)
        for i, text in enumerate(texts)
    )
    return Story(video_id=video_id, duration_s=CLIP_S * len(texts), scenes=scenes,
                 sentences=sentences(0, len(texts), PER_SCENE), chapters=chapters,
                 num_clips=len(texts))  # fmt: skip


# -- what is measured ----------------------------------------------------------------------------


class Known:
    """An embedder that knows the queries."""

    identity = None

    def __init__(self, queries: Sequence[tuple[str, np.ndarray]]) -> None:
        self._rows = dict(queries)

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of queries."""
        return np.array([self._rows[text] for text in texts], np.float32)


def measure(folder: Path, num_chapters: int, num_queries: int) -> dict[str, float]:
    """Load a library and search it, in this process."""
    from time import perf_counter, process_time

    from fdvs.config import SearchConfig
    from fdvs.search.index import Index
    from fdvs.search.moments import search_moments
    from fdvs.store.store import Store

    queries = queries_of(num_chapters, num_queries)
    embedder: Any = Known(queries)
    with Store.open(folder) as store:
        began_s, began_cpu_s = perf_counter(), process_time()
        index = Index.load(store)
        load_s, load_cpu_s = perf_counter() - began_s, process_time() - began_cpu_s
        spent = []
        for text, _ in queries:
            began_s = perf_counter()
            search_moments(index, text, embedder, SearchConfig())
            spent.append(perf_counter() - began_s)
        peak_mib = _peak_mib()
        by_meaning = SearchConfig(word_weight=0.0, min_score=0.0)
        found = [
            {m.text.split()[-1] for m in search_moments(index, text, embedder, by_meaning,
                                                        num=NUM_NEAREST)}
            for text, _ in queries
        ]  # fmt: skip
    nearest = _nearest(num_chapters, np.array([row for _, row in queries], np.float64))
    recalls = [
        len(one & {f"n{place}." for place in best}) / NUM_NEAREST
        for one, best in zip(found, nearest, strict=True)
    ]
    spent.sort()
    return {"load_s": load_s, "load_cpu_s": load_cpu_s, "first_s": max(spent),
            "p50_s": statistics.median(spent), "p90_s": spent[len(spent) * 9 // 10],
            "peak_mib": peak_mib, "recall": statistics.fmean(recalls)}  # fmt: skip


def _nearest(num_chapters: int, queries: np.ndarray) -> list[list[int]]:
    """Return the places of the chapters nearest to each query, in doubles, block by block."""
    best = [np.zeros((0, 2)) for _ in queries]
    for number, rows in enumerate(vectors_of(num_chapters)):
        cosines = np.round(rows.astype(np.float64) @ queries.T, 6)
        places = number * PER_VIDEO + np.arange(len(rows))
        for q in range(len(queries)):
            joined = np.concatenate([best[q], np.stack([-cosines[:, q], places], axis=1)])
            best[q] = joined[np.lexsort((joined[:, 1], joined[:, 0]))[:NUM_NEAREST]]
    return [one[:, 1].astype(int).tolist() for one in best]


def _peak_mib() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
