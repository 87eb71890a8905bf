"""What an answer may rest on: the passages of one video, or of several, with their vectors.

Takes the chapters of an index, or captions that somebody published; gives `Material`, which every
answerer reads. A passage is one sentence with the times of the chapter (or caption) it stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fdvs.protocols import TextEmbedder
from fdvs.types import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A sentence that may be evidence. Times are those of its chapter, half-open, in seconds.

    `chapter` is the clip index of the chapter (the caption's position where there are no clips).
    """

    video_id: str
    name: str
    chapter: int
    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """Passages in time order (video by video) and their unit vectors [P, D].

    `story` holds the sentences of the story, video by video; empty where none was told.
    """

    passages: tuple[Passage, ...]
    vectors: Vectors
    story: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if len(self.passages) != len(self.vectors):
            raise ValueError(f"{len(self.passages)} passages but {len(self.vectors)} vectors")


def make_material(
    passages: Sequence[Passage], embedder: TextEmbedder, *, story: Sequence[str] = ()
) -> Material:
    """Embed passages; equal texts are embedded once."""
    texts = list(dict.fromkeys(passage.text for passage in passages))
    rows = embedder.embed_texts(texts)
    place = {text: i for i, text in enumerate(texts)}
    vectors = rows[[place[passage.text] for passage in passages]]
    return Material(passages=tuple(passages), vectors=vectors, story=tuple(story))
