"""What a library's other videos say, read from what is stored, beside the passages themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fdvs.answers.choice.background import MIN_SAMPLED, library_background, make_background
from fdvs.answers.evidence import kept_chapters, passages_of
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.store.store import Store
from fdvs.types import Vectors

MakeLibrary = Callable[..., Store]
FILMS = {
    "a.mp4": ["A dog runs.", "A dog barks.", "A man waves."],
    "b.mp4": ["A man sits.", "A man reads."],
    "c.mp4": ["Cars pass."],
}


class NeverAsked(HashTextEmbedder):
    """An embedder that must not be needed."""

    def embed_texts(self, texts: object) -> Vectors:
        raise AssertionError("a library has its vectors")


def test_a_library_gives_what_its_chapters_as_passages_give(
    make_library: MakeLibrary, embedder: HashTextEmbedder
) -> None:
    index = Index.load(make_library(FILMS))
    stored = library_background(index)
    made = make_background(passages_of(kept_chapters(index)), embedder)
    assert stored.num_videos == made.num_videos == 3
    assert stored.num_with == made.num_with
    assert stored.num_with["man"] == 2
    assert stored.num_passages == made.num_passages
    assert stored.video_ids == made.video_ids
    np.testing.assert_allclose(stored.rows, made.rows, atol=1e-6)


def test_chapters_that_redundancy_dropped_are_left_out(make_library: MakeLibrary) -> None:
    index = Index.load(make_library(FILMS, dropped={"a.mp4": [0, 1]}))
    found = library_background(index)
    assert sorted(found.num_passages.values()) == [1, 1, 2]
    assert "dog" not in found.num_with


def test_one_video_has_nothing_beside_it(make_library: MakeLibrary) -> None:
    found = library_background(Index.load(make_library({"a.mp4": FILMS["a.mp4"]})))
    assert (found.num_videos, found.num_with, len(found.rows)) == (0, {}, 0)
    assert found.weight("dog") == found.weight("cat")
    assert len(library_background(Index.load(make_library({}, folder="none"))).rows) == 0


def test_from_enough_chapters_of_other_videos_on_their_vectors_count(
    make_library: MakeLibrary,
) -> None:
    films = {"a.mp4": ["A dog."], "b.mp4": [f"A man says {n}." for n in range(MIN_SAMPLED)]}
    index = Index.load(make_library(films, with_stories=False))
    found = library_background(index)
    a, b = (next(e.video_id for e in index.entries if e.name == name) for name in sorted(films))
    assert found.rows_beside({a}).shape == (MIN_SAMPLED, 2048)
    assert (found.num_beside({a}), found.num_beside({b}), found.num_beside({a, b})) == (
        MIN_SAMPLED, 1, 0,
    )  # fmt: skip
    assert len(found.rows_beside({b})) == 0


def test_a_large_library_is_read_in_part_and_always_the_same_part(
    make_library: MakeLibrary,
) -> None:
    index = Index.load(make_library(FILMS))
    first = library_background(index, max_chapters=4, num_sampled=2)
    second = library_background(index, max_chapters=4, num_sampled=2)
    assert sum(first.num_passages.values()) == 4
    assert first.rows.shape == (2, 2048)
    assert (first.video_ids, first.num_with) == (second.video_ids, second.num_with)


def test_chapters_without_vectors_still_say_their_words(make_library: MakeLibrary) -> None:
    store = make_library(FILMS, with_stories=False)
    for video in store.videos():
        store.trim(video.video_id, "chapter_vector", keep_items=0)
    found = library_background(Index.load(store))
    assert found.num_with["man"] == 2
    assert len(found.rows) == 0
