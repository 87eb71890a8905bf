"""A query that nothing can read matches nothing by meaning."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fdvs.config import SearchConfig
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.search.moments import search_moments, search_videos
from fdvs.search.readable import has_meaning
from fdvs.store.store import Store
from fdvs.types import Vectors


class EnglishEmbedder(HashTextEmbedder):
    """As small English models do: whatever it cannot read is one and the same sign."""

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        return super().embed_texts(
            ["".join("¤" if ord(c) > 0x2FF else c for c in t) for t in texts]
        )


@pytest.fixture
def embedder() -> EnglishEmbedder:
    """The one that `make_library` uses, too."""
    return EnglishEmbedder(2048)


@pytest.mark.parametrize(
    ("query", "readable"),
    [
        ("rabbit", True), ("the red rabbit", True), ("café au lait", True), ("2024", True),
        ("狗", False), ("🦄", False), ("???", False), ("who is he", False), ("red 狗", False),
        ("one red rabbit 狗", True),
    ],
)  # fmt: skip
def test_a_query_needs_words_that_the_embedder_reads(query: str, readable: bool) -> None:
    assert has_meaning(query, EnglishEmbedder(256)) is readable


def test_an_embedder_that_reads_a_script_is_believed() -> None:
    assert has_meaning("狗", HashTextEmbedder(2048))


@pytest.mark.parametrize("query", ["猫", "🦄", "???", "who is he", "unicorn", "asdfgh", "!", "the"])
def test_nothing_fits_well_and_the_nearest_is_known(
    query: str, make_library: Callable[..., Store], embedder: EnglishEmbedder
) -> None:
    store = make_library({"a.mp4": ["狗", "a red car"], "b.mp4": ["小狗在草地上跑", "she is tall"]})
    index, config = Index.load(store), SearchConfig(min_score=0.3)
    signs = embedder.embed_texts(["狗", "猫", "🦄"])
    assert np.allclose(signs @ signs.T, 1.0)  # the trap: by vectors, one is as good as any other
    assert search_moments(index, query, embedder, config) == []
    assert search_videos(index, query, embedder, config) == []
    assert search_moments(index, query, embedder, config, nearest=True, num=3)
    assert search_videos(index, query, embedder, config, nearest=True, num=1)


def test_the_words_of_an_unreadable_query_are_still_found(
    make_library: Callable[..., Store], embedder: EnglishEmbedder
) -> None:
    index = Index.load(make_library({"a.mp4": ["狗", "a red car"], "b.mp4": ["猫在草地上"]}))
    found = search_moments(index, "狗", embedder, SearchConfig(min_score=0.3))
    assert [(one.name, one.matched_by) for one in found] == [("a.mp4", ("words",))]
