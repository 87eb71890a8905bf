"""Word and passage statistics over many videos, to discount what all of them say.

Takes the passages of some videos, or the chapters of a library; gives in how many videos each word
occurs, and a sample of the texts with their vectors. Looks at no question and no answer.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from fdvs.answers.evidence import Passage, kept_chapters
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.text.vocabulary import stems
from fdvs.types import Vectors
from fdvs.vectors import Doubles, unit_rows

NUM_SAMPLED = 2000
# with fewer passages of other videos, the nearest of them say nothing
MIN_SAMPLED = 200
MAX_CHAPTERS_READ = 20_000  # of a library, for its words: some seconds


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """Words and passages of `num_videos` videos.

    `num_with` counts the videos in which a stem occurs, `num_passages` the passages that were read
    of each video; `rows` [B, D] are unit vectors of passages, and `video_ids` [B] their videos.
    """

    num_videos: int = 0
    num_with: Mapping[str, int] = field(default_factory=dict)
    num_passages: Mapping[str, int] = field(default_factory=dict)
    rows: Doubles = field(default_factory=lambda: np.zeros((0, 0)))
    video_ids: tuple[str, ...] = ()

    def weight(self, stem: str) -> float:
        """Return a stem's idf, more than 0; every stem weighs the same where no video is known."""
        return math.log(1 + self.num_videos / (self.num_with.get(stem, 0) + 0.5)) or 1.0

    def rows_beside(self, video_ids: set[str]) -> Doubles:
        """Return the vectors of other videos' passages; none where there are too few."""
        others = [place for place, owner in enumerate(self.video_ids) if owner not in video_ids]
        return self.rows[others if len(others) >= MIN_SAMPLED else []]

    def num_beside(self, video_ids: set[str]) -> int:
        """Return how many passages of other videos were read."""
        return sum(num for owner, num in self.num_passages.items() if owner not in video_ids)


def make_background(passages: Sequence[Passage], embedder: TextEmbedder) -> Background:
    """Return the statistics of passages; embeds a sample of them, chosen by their hash."""
    sample = sorted(passages, key=_hash_order)[:NUM_SAMPLED]
    rows = embedder.embed_texts([passage.text for passage in sample])
    return _background(passages, sample, unit_rows(rows))


def library_background(
    index: Index, *, max_chapters: int = MAX_CHAPTERS_READ, num_sampled: int = NUM_SAMPLED
) -> Background:
    """Return the statistics of a library's kept chapters, with stored vectors: embeds nothing.

    Empty where there is only one video. Of a library with more than `max_chapters` a part is read,
    chosen by its hash; vectors are those of the first `num_sampled`.
    """
    read = sorted(kept_chapters(index), key=_hash_order)[:max_chapters]
    if len({entry.video_id for entry in read}) < 2:
        return Background()
    stored = ((entry, _stored_rows(index, entry)) for entry in read)
    sample = list(islice(((e, rows[0]) for e, rows in stored if len(rows)), num_sampled))
    rows = np.array([row for _, row in sample]).reshape(len(sample), index.num_dims)
    return _background(read, [entry for entry, _ in sample], unit_rows(rows))


def _stored_rows(index: Index, entry: Entry) -> Vectors:
    place = index.place(entry.key)
    assert place is not None  # an entry of this index
    return index.vectors(place)


def _background(
    read: Sequence[Passage | Entry], sample: Sequence[Passage | Entry], rows: Doubles
) -> Background:
    texts: dict[str, list[str]] = {}
    for one in read:
        texts.setdefault(one.video_id, []).append(one.text)
    found = stems(" ".join(of_video) for of_video in texts.values())
    return Background(
        num_videos=len(texts),
        num_with=Counter(stem for of_video in found for stem in set(of_video)),
        num_passages={video_id: len(of_video) for video_id, of_video in texts.items()},
        rows=rows,
        video_ids=tuple(one.video_id for one in sample),
    )


def _hash_order(one: Passage | Entry) -> tuple[bytes, int]:
    text = f"{one.video_id} {one.text}".encode()
    return hashlib.sha256(text).digest(), one.chapter if isinstance(one, Passage) else one.item
