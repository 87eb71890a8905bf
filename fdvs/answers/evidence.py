"""What an answer may rest on: chapters that may be cited, their sentences, and the vectors.

Built once for a question from chapters of an index, or from captions that somebody published.
Chapters that textual redundancy dropped are left out, as everywhere in answers. A passage is one
sentence with the times of the chapter (or caption) it stands in.

P passages, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fdvs.prompting.injection import has_prompt_injection
from fdvs.prompting.marks import unmarked
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.text.sentences import sentences_of
from fdvs.text.vocabulary import same_words, stems
from fdvs.types import Moment, Span, Vectors
from fdvs.vectors import embed_queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage(Span):
    """A sentence that may be evidence; its times are those of its chapter.

    `chapter` is the clip index of the chapter (the caption's position where there are no clips);
    `heading` is the chapter's heading, which is a passage of its own, too.
    """

    chapter: int
    text: str
    heading: str = ""

    @property
    def is_heading(self) -> bool:
        return bool(self.heading) and same_words(self.text) == same_words(self.heading)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """The evidence for one question.

    Attributes:
        moments: the chapters found, which a language model reads and may cite, video by video in
            time order.
        near: the other chapters that were looked at, the nearest first; a quote may cite them.
        passages: sentences of these chapters, and of others that were looked at.
        vectors: of the passages, unit rows [P, D].
        story: the sentences of the stories, video by video; empty where none is told.
        num_in_scope: about how many passages were searched, where `passages` are the nearest of
            them; None where these are all.
        fit: how well the question fits the passages (`fdvs.answers.fit`).
    """

    moments: tuple[Moment, ...] = ()
    near: tuple[Moment, ...] = ()
    passages: tuple[Passage, ...]
    vectors: Vectors
    story: tuple[str, ...] = ()
    num_in_scope: int | None = None
    fit: float = 0.0

    def __post_init__(self) -> None:
        if len(self.passages) != len(self.vectors):
            raise ValueError(f"{len(self.passages)} passages but {len(self.vectors)} vectors")

    @cached_property
    def stems(self) -> tuple[frozenset[str], ...]:
        """The word stems of each passage."""
        return tuple(map(frozenset, stems(passage.text for passage in self.passages)))


class OnceEmbedder:
    """A TextEmbedder that embeds each text once: for one question, or for one video of a build.

    Texts that are new are embedded together in the order given; the others get the row that they
    got before. Not meant to be kept longer: it forgets nothing.
    """

    def __init__(self, embedder: TextEmbedder) -> None:
        self.identity = embedder.identity
        self._embedder = embedder
        self._rows: dict[str, Vectors] = {}

    def remember(self, texts: Sequence[str], rows: Vectors) -> None:
        """Take the rows [len(texts), D] of texts that this embedder, or a stored one, embedded."""
        self._rows.update(zip(texts, rows, strict=True))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D], rows of unit length."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new or not texts:
            rows = self._embedder.embed_texts(new)
            self._rows.update(zip(new, rows, strict=True))
            if not texts:
                return rows
        return np.stack([self._rows[text] for text in texts])

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return unit rows [len(texts), D] of questions, which may be embedded unlike texts."""
        if hasattr(self._embedder, "embed_queries"):
            return embed_queries(self._embedder, texts)
        return self.embed_texts(texts)


def make_evidence(
    passages: Sequence[Passage], embedder: TextEmbedder, *, story: Sequence[str] = ()
) -> Evidence:
    """Embed passages; equal texts are embedded once."""
    texts = list(dict.fromkeys(passage.text for passage in passages))
    rows = embedder.embed_texts(texts)
    place = {text: i for i, text in enumerate(texts)}
    vectors = rows[[place[passage.text] for passage in passages]]
    return Evidence(passages=tuple(passages), vectors=vectors, story=tuple(story))


def evidence_of(index: Index, embedder: TextEmbedder, entries: Sequence[Entry]) -> Evidence:
    """Return the passages of chapters, with the stories of their videos; no moments yet.

    Vectors that the build stored are used where they are those of the same sentences.
    """
    if isinstance(embedder, OnceEmbedder):
        for entry in entries:
            texts = sentences_of(unmarked(entry.text))
            rows = index.sentence_vectors(entry, texts)
            if rows is not None:
                embedder.remember(texts, rows)
    videos = dict.fromkeys(entry.video_id for entry in entries)
    stories = [index.stories[video_id] for video_id in videos if video_id in index.stories]
    sentences = [unmarked(sentence.text) for story in stories for sentence in story.sentences]
    headings = {
        (video_id, chapter.index): chapter.title
        for video_id in videos
        if video_id in index.stories
        for chapter in index.stories[video_id].chapters
    }
    return make_evidence(passages_of(entries, headings), embedder, story=sentences)


def passages_of(
    entries: Iterable[Entry], headings: Mapping[tuple[str, int], str] | None = None
) -> list[Passage]:
    """Return the sentences of chapters, each with its chapter's times; none reads like an order.

    `headings` are those of chapters, by video and clip.
    """
    known = headings or {}
    return [
        Passage(
            **entry.where(),
            chapter=entry.item,
            text=sentence,
            heading=known.get((entry.video_id, entry.item), ""),
        )
        for entry in entries
        for sentence in sentences_of(unmarked(entry.text))
        if not has_prompt_injection(sentence)
    ]


def moment_of(entry: Entry, *, score: float, matched_by: tuple[str, ...] = ()) -> Moment:
    """Return a chapter as a moment that may be cited."""
    return Moment(
        **entry.where(),
        score=score,
        text=entry.text,
        clips=(entry.item,),
        matched_by=matched_by,
    )


def kept_chapters(index: Index, video_ids: Iterable[str] | None = None) -> list[Entry]:
    """Return the kept chapters of some videos (None: all) in the index's order."""
    ids = [None] if video_ids is None else sorted(set(video_ids), key=index.number_of)
    spans = [index.span("chapter", video_id) for video_id in ids]
    return [index.entries[p] for low, high in spans for p in range(low, high) if index.is_kept(p)]


def num_kept(index: Index, video_id: str | None) -> int:
    """Return the number of kept chapters of one video (None: of all)."""
    low, high = index.span("chapter", video_id)
    return int(np.count_nonzero(index.columns.kept[low:high]))
