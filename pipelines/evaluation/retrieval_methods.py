"""Our ranking of a gallery and the simpler ones that it is compared with, on the same blocks.

Each method gives scores [Q, V] for a block of queries. `ours` is `fdvs.search.gallery`; the others
are the floor (TF-IDF), single parts, the paper's rule (best of story and chapters, arXiv
2412.06182), and two simple ways to add words: reciprocal rank fusion (`fdvs.search.ranking`) and a
sum of scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fdvs.metrics.retrieval import COSINE_TIE_WIDTH, Ranks, Scores, text_to_video, video_to_text
from fdvs.protocols import TextEmbedder
from fdvs.search.gallery import Described, Fusion, Gallery, Queries, ScoreParts, embed_queries, fuse
from fdvs.search.ranking import RANK_OFFSET
from fdvs.types import Vectors

OURS, FLOOR, OTHER_VIDEO = "ours", "tf_idf", "other_video"
BLOCK_QUERIES = 512
NUM_BEST = 10

RANKS_SCALE = 1e4  # so that deep ranks differ by more than what counts as a tie of cosines

Method = Callable[["Block"], Scores]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Scores [Q, V] of some queries, computed once and shared by all methods."""

    parts: ScoreParts
    plain_story: Vectors
    plain_best: Vectors
    tf_idf: Vectors


class Contest:
    """A gallery, queries, and every method's scores for them.

    The simpler methods use the embedder's vectors of whole texts.
    """

    def __init__(
        self,
        videos: Sequence[Described],
        texts: Sequence[str],
        embedder: TextEmbedder,
        fusion: Fusion,
    ) -> None:
        self.fusion = fusion
        self.gallery = Gallery.embed(videos, embedder)
        self.queries = embed_queries(texts, embedder)
        self._whole = embedder.embed_texts(texts)
        self._stories = embedder.embed_texts([video.story for video in videos])
        self._tf_idf = TfIdf([video.story for video in videos])

    def blocks(self) -> Iterator[tuple[slice, Block]]:
        """Yield the queries block by block."""
        for start in range(0, len(self.queries), BLOCK_QUERIES):
            rows = slice(start, min(start + BLOCK_QUERIES, len(self.queries)))
            queries = self.queries.part(rows)
            yield (
                rows,
                Block(
                    parts=self.gallery.parts(queries, num_near=self.fusion.num_near),
                    plain_story=self._whole[rows] @ self._stories.T,
                    plain_best=self.gallery.best_chapters(unsplit(queries, self._whole[rows])),
                    tf_idf=self._tf_idf.scores(queries.texts),
                ),
            )

    def methods(self) -> Mapping[str, Method]:
        """Return the methods by name, ours first."""
        return {
            OURS: lambda block: fuse(block.parts, self.fusion),
            FLOOR: lambda block: block.tf_idf,
            "words_alone": lambda block: block.parts.words,
            "story_alone": lambda block: block.plain_story,
            "chapters_flat": lambda block: block.plain_best,
            "paper_rule": paper_rule,
            "story_and_best_chapter": lambda block: block.plain_story + block.plain_best,
            "story_plus_tf_idf": lambda block: block.plain_story + block.tf_idf,
            "ranks_fused": lambda block: (
                RANKS_SCALE * reciprocal_ranks(paper_rule(block), block.parts.words)
            ),
        }


def paper_rule(block: Block) -> Vectors:
    """Return the best cosine among a video's story and chapters."""
    return np.maximum(block.plain_story, block.plain_best)


def reciprocal_ranks(*scores: Scores) -> Scores:
    """Return the sum over rankings [Q, V] of 1 / (60 + rank); equal scores share the best rank."""
    found: Scores = np.zeros(scores[0].shape)
    for one in scores:
        found = found + 1.0 / (RANK_OFFSET + _ranks(one))
    return found


def _ranks(scores: Scores) -> NDArray[np.int64]:
    """Return 1 + how many of its row score higher, for each score."""
    rows = np.sort(-scores, axis=1)
    return np.stack(
        [1 + np.searchsorted(row, -own, side="left") for row, own in zip(rows, scores, strict=True)]
    )


def unsplit(queries: Queries, whole: Vectors) -> Queries:
    """Return queries of one part each: the whole text."""
    return Queries(
        texts=queries.texts, whole=whole, sentences=whole, starts=np.arange(len(whole) + 1)
    )


class TfIdf:
    """The floor: cosine of TF-IDF vectors (scikit-learn, 1 + log tf, English stop words)."""

    def __init__(self, texts: Sequence[str]) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer: Any = TfidfVectorizer(sublinear_tf=True, stop_words="english")
        try:
            self._rows = self._vectorizer.fit_transform(texts)
        except ValueError:  # nothing but stop words in the whole gallery
            self._rows = None
        self._num = len(texts)

    def scores(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), V]."""
        if self._rows is None:
            return np.zeros((len(texts), self._num), dtype=np.float32)
        found = self._vectorizer.transform(texts) @ self._rows.T
        return np.asarray(found.toarray(), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """Ranks by method, `other_video` among them (ours, for the next candidate's words).

    `backwards` are ours from video to text, where asked for; `best` holds the places [Q, <= 10] of
    the candidates that ours puts first.
    """

    ranks: Mapping[str, Ranks]
    backwards: Ranks | None
    best: NDArray[np.int64]


def hold(contest: Contest, right: NDArray[np.int64], *, both_ways: bool) -> Outcome:
    """Rank every query by every method."""
    num = len(contest.gallery.video_ids)
    found: dict[str, list[Ranks]] = {}
    best, matrix = [], []
    for rows, block in contest.blocks():
        for name, method in contest.methods().items():
            scores = method(block)
            found.setdefault(name, []).append(_rank(scores, right[rows]))
            if name == OURS:
                other = (right[rows] + 1) % num
                found.setdefault(OTHER_VIDEO, []).append(_rank(scores, other))
                best.append(np.argsort(-scores, axis=1, kind="stable")[:, :NUM_BEST])
                matrix += [scores] if both_ways else []
    backwards = None
    if both_ways:
        backwards = video_to_text(np.concatenate(matrix), right, tie_width=COSINE_TIE_WIDTH)
    ranks = {name: _joined(parts) for name, parts in found.items()}
    return Outcome(ranks=ranks, backwards=backwards, best=np.concatenate(best))


def strongest_plain(ranks: Mapping[str, Ranks]) -> str:
    """Return the simpler method with the highest R@1, which ours has to beat."""
    plain = [name for name in ranks if name not in (OURS, OTHER_VIDEO)]
    return max(plain, key=lambda name: float(ranks[name].hits(1).mean()))


def _rank(scores: Scores, right: NDArray[np.int64]) -> Ranks:
    return text_to_video(scores, right, tie_width=COSINE_TIE_WIDTH)


def _joined(parts: Sequence[Ranks]) -> Ranks:
    ranks = np.concatenate([part.ranks for part in parts])
    return Ranks(
        places=np.arange(len(ranks), dtype=np.int64),
        ranks=ranks,
        num_candidates=parts[0].num_candidates,
        num_tied=sum(part.num_tied for part in parts),
    )
