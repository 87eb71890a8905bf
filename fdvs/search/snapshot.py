"""The index of a large library in a file beside it, `search.arrays`.

Reading a library row by row takes seconds for 100,000 chapters. So what was read, and the words of
the texts, are kept in a file, which the next process maps. It is believed for the state of the
library that it was made of: the sizes and times of change of the database's files, the last row,
and the videos with their names. Otherwise it is made again, and it may be deleted at any time. A
small library is read each time, which takes less than its file would be worth.
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.fingerprint import digest
from fdvs.search.arrays import Array, BadArrays, read_arrays, write_arrays
from fdvs.search.columns import LEVELS, Columns, Levels
from fdvs.search.near import levels_of
from fdvs.search.word_table import Words, count_words
from fdvs.store.schema import DATABASE_NAME
from fdvs.store.store import Store

ARRAYS_NAME = "search.arrays"
VERSION = 2  # raise it where columns, words or their reading change
MIN_TEXTS = 2000  # of a library that gets a file

_COLUMNS = {
    "videos": ("<i4", 1), "items": ("<i8", 1), "starts_s": ("<f8", 1), "ends_s": ("<f8", 1),
    "kept": ("|u1", 1), "text_ends": ("<i8", 1), "texts": ("|u1", 1), "positions": ("<i8", 1),
    "vectors": ("<f4", 2), "look_videos": ("<i4", 1), "look_items": ("<i8", 1),
    "looks": ("<f4", 2),
}  # fmt: skip
_LEVELS = {"levels": ("|i1", 2), "steps": ("<f4", 1), "lengths": ("<f4", 1), "errors": ("<f4", 1)}
_OWNERS = {"levels": "vectors", "look_levels": "looks"}
_WORDS = {
    "stem_ends": ("<i8", 1), "stems": ("|u1", 1), "pair_ends": ("<i8", 1),
    "pair_texts": ("<i4", 1), "pair_counts": ("<u2", 1), "place_ends": ("<i8", 1),
    "places": ("<i4", 1), "lengths": ("<i4", 1), "long_words": ("|u1", 1),
}  # fmt: skip
_WANTED = {
    **_COLUMNS, **_WORDS, "facts": ("|u1", 1),
    **{f"{of}.{name}": kind for of in _OWNERS for name, kind in _LEVELS.items()},
}  # fmt: skip
_FACTS = ("video_ids", "names", "told", "counts", "num_looks_left_out")

logger = logging.getLogger(__name__)


def state_of(store: Store) -> str:
    """Return what changes with every change of the library.

    Read it before the library itself: what changes in between makes the file stale, never wrong.
    """
    files = []
    for name in (DATABASE_NAME, f"{DATABASE_NAME}-wal"):
        try:
            found = (store.folder / name).stat()
        except OSError:
            continue
        if found.st_size:  # an empty log is the same as none
            files.append((name, found.st_size, found.st_mtime_ns))
    with store.reading() as connection:
        (last,) = connection.execute("SELECT max(artifact_id) FROM artifacts").fetchone()
        names = [(video.video_id, video.name) for video in store.videos()]
    return digest([VERSION, files, last, names])


def read_snapshot(folder: Path, state: str) -> tuple[Columns, Words] | None:
    """Return the stored index of a state of the library, None where there is none to believe."""
    path = folder / ARRAYS_NAME
    try:
        arrays = read_arrays(path, state, _WANTED)
        of_columns: dict[str, Any] = {name: arrays[name] for name in _COLUMNS}
        for of in _OWNERS:
            of_columns[of] = Levels(**{name: arrays[f"{of}.{name}"] for name in _LEVELS})
        columns = Columns(**of_columns, **_facts(arrays["facts"]))
        words = Words(**{name: arrays[name] for name in _WORDS})
        _check(columns, words)
    except FileNotFoundError:
        return None
    except (BadArrays, OSError, ValueError) as error:
        logger.info("%s is not used (%s); the library is read instead", path, error)
        return None
    return columns, words


def write_snapshot(folder: Path, state: str, columns: Columns) -> bool:
    """Store the index of a state of the library; return whether that was possible."""
    path = folder / ARRAYS_NAME
    try:
        texts = (columns.text(place) for place in range(len(columns.items)))
        words = count_words(texts, len(columns.items))
        facts = json.dumps({name: getattr(columns, name) for name in _FACTS}).encode()
        arrays = {
            **{name: getattr(columns, name) for name in _COLUMNS},
            **{field.name: getattr(words, field.name) for field in fields(words)},
            "facts": np.frombuffer(facts, np.uint8),
        }
        for of, owner in _OWNERS.items():
            made = levels_of(arrays[owner])
            arrays |= {f"{of}.{name}": getattr(made, name) for name in _LEVELS}
        write_arrays(path, state, arrays)
    except (OSError, ValueError) as error:
        logger.info("%s cannot be written (%s); searches work without it", path, error)
        return False
    return True


def _facts(stored: Array) -> dict[str, Any]:
    facts = json.loads(stored.tobytes())
    if not isinstance(facts, dict) or set(facts) != set(_FACTS):
        raise BadArrays("its facts are of another kind")
    ids, names, told, counts = (facts[name] for name in _FACTS[:4])
    if not all(isinstance(one, list) for one in (ids, names, told, counts)):
        raise BadArrays("its facts are of another kind")
    if not all(isinstance(one, str) for one in (*ids, *names)):
        raise BadArrays("its facts are of another kind")
    if not len(ids) == len(names) == len(told) or len(counts) != len(LEVELS):
        raise BadArrays("its facts do not agree")
    if not all(type(one) is int and one >= 0 for one in (*counts, facts["num_looks_left_out"])):
        raise BadArrays("its facts are of another kind")
    return facts


def _check(columns: Columns, words: Words) -> None:
    """Raise BadArrays unless the arrays fit together: no place may lie outside of another array."""
    num, num_videos = len(columns.items), len(columns.video_ids)
    lengths = (columns.videos, columns.starts_s, columns.ends_s, columns.kept, words.lengths)
    _must(sum(columns.counts) == num and all(len(one) == num for one in lengths), "entries")
    bounds = np.cumsum([0, *columns.counts])
    for low, high in itertools.pairwise(bounds):
        _must(_is_rising(columns.videos[low:high], num_videos), "videos")
    _must(_is_rising(columns.positions, num), "positions")
    _must(len(columns.positions) == len(columns.vectors), "vectors")
    _must(_is_rising(columns.look_videos, num_videos), "look_videos")
    _must(len(columns.look_videos) == len(columns.look_items) == len(columns.looks), "looks")
    _check_levels(columns.levels, columns.vectors)
    _check_levels(columns.look_levels, columns.looks)
    ends: Mapping[str, tuple[Array, int, int]] = {
        "text_ends": (columns.text_ends, num, len(columns.texts)),
        "stem_ends": (words.stem_ends, len(words.stem_ends) - 1, len(words.stems)),
        "pair_ends": (words.pair_ends, len(words.stem_ends) - 1, len(words.pair_texts)),
        "place_ends": (words.place_ends, len(words.stem_ends) - 1, len(words.places)),
    }
    for name, (array, num_ends, last) in ends.items():
        is_whole = len(array) == num_ends + 1 and array[0] == 0 and array[-1] == last
        _must(is_whole and _is_rising(array, last + 1), name)
    _must(len(words.pair_texts) == len(words.pair_counts), "pair_counts")


def _check_levels(kept: Levels | None, vectors: Array) -> None:
    if kept is None:
        return
    sizes = (len(kept.steps), len(kept.lengths), len(kept.errors))
    _must(kept.levels.shape == vectors.shape and set(sizes) == {len(vectors)}, "levels")
    each = (kept.steps, kept.lengths, kept.errors)  # NaN would rule a vector out
    _must(not any(bool(np.isnan(one).any()) for one in each), "levels")


def _is_rising(array: Array, below: int) -> bool:
    """Whether numbers never fall and lie in [0, below)."""
    if not len(array):
        return True
    return bool(array[0] >= 0 and array[-1] < below and (array[1:] >= array[:-1]).all())


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise BadArrays(f"its {what} do not fit together")
