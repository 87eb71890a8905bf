"""The texts of a library as arrays: of a million entries none is a Python object until it is shown.

N entries in the order of `LEVELS`, then of videos by name, then of items, which is time; R vectors
of D numbers, those of one entry together and in the entries' order; L looks (vectors of clips, E
numbers) in the order of videos and clips. `ColumnWriter` takes videos in the order of their names.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from fdvs.search.row_writer import RowWriter
from fdvs.types import Level, Span, Vectors

Key = tuple[str, str, int]  # video_id, level, item
Places = NDArray[np.int64]

LEVELS: tuple[Level, ...] = ("chapter", "scene", "story")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry(Span):
    """One text: a chapter (item = clip index), a scene (item = scene index) or a story (0)."""

    level: Level
    item: int
    text: str

    @property
    def key(self) -> Key:
        return (self.video_id, self.level, self.item)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Levels:
    """Vectors [R, D] in levels of a byte: a vector is its step times its levels, plus an error.

    `lengths` and `errors` are at least the lengths of step times levels and of the error [R]. See
    `fdvs.search.near`.
    """

    levels: NDArray[np.int8]
    steps: NDArray[np.float32]
    lengths: NDArray[np.float32]
    errors: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """What an index is made of.

    Attributes:
        video_ids, names, told: of each video, in the order of names; whether it has a story.
        counts: the number of entries of each level.
        videos, items, starts_s, ends_s, kept: of each entry [N]; `videos` are places in
            `video_ids`, `kept` is 0 for a chapter that textual redundancy dropped.
        text_ends, texts: text n is the UTF-8 of `texts[text_ends[n]:text_ends[n + 1]]`.
        positions, vectors: the entry of each unit vector [R], and the vectors [R, D].
        look_videos, look_items, looks: video, clip and vector of each look.
        num_looks_left_out: clips embedded by another model than most.
        levels, look_levels: of the vectors and looks, where the index lies in a file.
    """

    video_ids: Sequence[str]
    names: Sequence[str]
    told: Sequence[bool]
    counts: tuple[int, ...]
    videos: NDArray[np.int32]
    items: Places
    starts_s: NDArray[np.float64]
    ends_s: NDArray[np.float64]
    kept: NDArray[np.uint8]
    text_ends: Places
    texts: NDArray[np.uint8]
    positions: Places
    vectors: Vectors
    look_videos: NDArray[np.int32]
    look_items: Places
    looks: Vectors
    num_looks_left_out: int = 0
    levels: Levels | None = None
    look_levels: Levels | None = None

    def text(self, place: int) -> str:
        """Return the text of one entry."""
        low, high = self.text_ends[place : place + 2]
        return self.texts[low:high].tobytes().decode("utf-8", "replace")

    def level_range(self, level: Level) -> tuple[int, int]:
        """Return the half-open range of places of a level."""
        number = LEVELS.index(level)
        low = sum(self.counts[:number])
        return low, low + self.counts[number]

    def video_range(self, level: Level, video: int) -> tuple[int, int]:
        """Return the half-open range of places of a video's entries of a level."""
        low, high = self.level_range(level)
        first, stop = np.searchsorted(self.videos[low:high], [video, video + 1])
        return low + int(first), low + int(stop)


class Entries(Sequence[Entry]):
    """The entries of columns, made when they are looked at."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._ends = np.cumsum(columns.counts)

    def __len__(self) -> int:
        return len(self._columns.items)

    @overload
    def __getitem__(self, place: int) -> Entry: ...
    @overload
    def __getitem__(self, place: slice) -> list[Entry]: ...
    def __getitem__(self, place: int | slice) -> Entry | list[Entry]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = int(place)
        place += len(self) if place < 0 else 0
        if not 0 <= place < len(self):
            raise IndexError(f"entry {place} of {len(self)}")
        columns = self._columns
        video = int(columns.videos[place])
        return Entry(
            video_id=columns.video_ids[video],
            name=columns.names[video],
            level=LEVELS[int(np.searchsorted(self._ends, place, side="right"))],
            item=int(columns.items[place]),
            start_s=float(columns.starts_s[place]),
            end_s=float(columns.ends_s[place]),
            text=columns.text(place),
        )

    def __iter__(self) -> Iterator[Entry]:
        return (self[place] for place in range(len(self)))


@dataclass(slots=True)
class _Level:
    """The entries of one level so far."""

    videos: array[int] = field(default_factory=lambda: array("i"))
    items: array[int] = field(default_factory=lambda: array("q"))
    starts_s: array[float] = field(default_factory=lambda: array("d"))
    ends_s: array[float] = field(default_factory=lambda: array("d"))
    kept: bytearray = field(default_factory=bytearray)
    sizes: array[int] = field(default_factory=lambda: array("q"))
    texts: bytearray = field(default_factory=bytearray)
    rows: dict[int, RowWriter] = field(default_factory=dict)


class ColumnWriter:
    """Collects the columns of a library: each video, followed by its texts and its looks.

    Vectors of a large library go to temporary files in `folder` (`fdvs.search.row_writer`).
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._ids: list[str] = []
        self._names: list[str] = []
        self._told: list[bool] = []
        self._levels = [_Level() for _ in LEVELS]
        self._looks: dict[int, RowWriter] = {}
        self._look_items: dict[int, array[int]] = {}

    def add_video(self, video_id: str, name: str, *, has_story: bool) -> None:
        """Begin a video."""
        self._ids.append(video_id)
        self._names.append(name)
        self._told.append(has_story)

    def add_text(self, entry: Entry, vectors: Vectors | None, *, is_kept: bool) -> None:
        """Add a text of the last video; those of a level come in the order of their items."""
        level = self._levels[LEVELS.index(entry.level)]
        if vectors is not None and len(vectors):
            rows = level.rows.get(dims := vectors.shape[1])
            if rows is None:
                rows = level.rows[dims] = RowWriter(dims, self._folder, of_length_one=True)
            rows.add(len(level.items), vectors)
        text = entry.text.encode()
        level.videos.append(len(self._ids) - 1)
        level.items.append(entry.item)
        level.starts_s.append(entry.start_s)
        level.ends_s.append(entry.end_s)
        level.kept.append(is_kept)
        level.sizes.append(len(text))
        level.texts += text

    def add_look(self, item: int, vector: Vectors) -> None:
        """Add the look of a clip of the last video."""
        rows = self._looks.get(len(vector))
        if rows is None:
            rows = self._looks[len(vector)] = RowWriter(len(vector), self._folder)
        rows.add(len(self._ids) - 1, vector[None])
        self._look_items.setdefault(len(vector), array("q")).append(item)

    def finish(self) -> Columns:
        """Return the columns. Vectors of another length than most are left out: a build with
        another embedder may be unfinished."""
        levels = self._levels
        num_dims = _most([(d, len(r.owners)) for one in levels for d, r in one.rows.items()])
        counts = tuple(len(one.items) for one in levels)
        vectors = RowWriter(num_dims, self._folder)
        owners = []
        for number, one in enumerate(levels):
            if (rows := one.rows.pop(num_dims, None)) is not None:
                owners.append(np.array(rows.owners, np.int64) + sum(counts[:number]))
                vectors = rows if len(owners) == 1 else vectors.joined_by(rows)
        sizes = np.concatenate([np.array(one.sizes, np.int64) for one in levels])
        look_dims = _most([(dims, len(rows.owners)) for dims, rows in self._looks.items()])
        looks = self._looks.get(look_dims) or RowWriter(look_dims)
        num_looks = sum(len(one.owners) for one in self._looks.values())
        return Columns(
            video_ids=self._ids,
            names=self._names,
            told=self._told,
            counts=counts,
            videos=np.concatenate([np.array(one.videos, np.int32) for one in levels]),
            items=np.concatenate([np.array(one.items, np.int64) for one in levels]),
            starts_s=np.concatenate([np.array(one.starts_s, np.float64) for one in levels]),
            ends_s=np.concatenate([np.array(one.ends_s, np.float64) for one in levels]),
            kept=np.concatenate([np.frombuffer(bytes(one.kept), np.uint8) for one in levels]),
            text_ends=np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)]),
            texts=np.concatenate([np.frombuffer(bytes(one.texts), np.uint8) for one in levels]),
            positions=np.concatenate([np.zeros(0, np.int64), *owners]),
            vectors=vectors.finish(),
            look_videos=np.array(looks.owners, np.int32),
            look_items=np.array(self._look_items.get(look_dims, ()), np.int64),
            looks=looks.finish(),
            num_looks_left_out=num_looks - len(looks.owners),
        )


def _most(counted: Sequence[tuple[int, int]]) -> int:
    counts: Counter[int] = Counter()
    for dims, num in counted:
        counts[dims] += num
    return counts.most_common(1)[0][0] if counts else 0
