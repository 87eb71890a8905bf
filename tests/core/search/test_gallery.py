"""The gallery's scores against loops written out, and BM25 against its formula."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fdvs.errors import InvalidValue
from fdvs.search import gallery as module
from fdvs.search.gallery import Described, Fusion, Gallery, blend, embed_queries, fuse
from fdvs.text.bm25 import K1, B, Bm25
from fdvs.text.sentences import split_sentences
from fdvs.text.vocabulary import stems
from fdvs.types import ModelIdentity

VIDEOS = (
    Described(
        video_id="kite",
        story="A boy flies a kite. The kite falls into the sea.",
        chapters=("A boy flies a kite.", "The kite falls into the sea."),
    ),
    Described(video_id="soup", story="A cook stirs soup.", chapters=("A cook stirs soup.",)),
    Described(
        video_id="race",
        story="Runners wait. They run. One falls.",
        chapters=("Runners wait.", "They run.", "One falls."),
    ),
)
QUERIES = (
    "Someone flies a kite. Then it falls.",
    "the soup is stirred",
    "Runners run and one of them falls.",
    "xyzzy",
)


class RandomVectors:
    """A unit vector of eight numbers for each text, the same each time it is asked for."""

    identity = ModelIdentity(role="text_embedder", backend="test", name="random")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_texts(self, texts):
        self.asked += texts
        rows = [np.random.default_rng(list(text.encode())).normal(size=8) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], dtype=np.float32)


def vector(text: str) -> np.ndarray:
    return RandomVectors().embed_texts([text])[0].astype(np.float64)


def blended(whole: str, parts: list[str]) -> np.ndarray:
    mean = sum(vector(part) for part in parts)
    mixed = vector(whole) + 0.25 * mean / np.linalg.norm(mean)
    return mixed / np.linalg.norm(mixed)


def brute_force(query: str, fusion: Fusion) -> list[float]:
    words = Bm25([video.story for video in VIDEOS]).scores([query])[0]
    stories = [blended(video.story, list(video.chapters)) for video in VIDEOS]
    sentences = split_sentences(query)
    found = []
    for place, video in enumerate(VIDEOS):
        best = [
            max(float(vector(sentence) @ vector(chapter)) for chapter in video.chapters)
            for sentence in sentences
        ]
        others = sorted(float(stories[place] @ s) for n, s in enumerate(stories) if n != place)
        near = others[-fusion.num_near :]
        found.append(
            float(blended(query, sentences) @ stories[place])
            + fusion.chapters * sum(best) / len(best)
            + fusion.words * (words[place] / words.max() if words.max() else 0.0)
            - fusion.crowding * sum(near) / len(near)
        )
    return found


@pytest.mark.parametrize(
    "fusion", [Fusion(), Fusion(chapters=0.9, words=0.5, crowding=0.3, num_near=1)]
)
def test_scores_are_those_of_the_loops(fusion: Fusion) -> None:
    embedder = RandomVectors()
    gallery = Gallery.embed(VIDEOS, embedder)
    found = gallery.scores(embed_queries(QUERIES, embedder), fusion)
    np.testing.assert_allclose(found, [brute_force(query, fusion) for query in QUERIES], atol=1e-5)
    assert found.dtype == np.float32


def test_blocks_of_any_size_give_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    embedder = RandomVectors()
    queries = embed_queries(QUERIES, embedder)
    whole = Gallery.embed(VIDEOS, embedder).scores(queries)
    monkeypatch.setattr(module, "MAX_CELLS", 1)
    np.testing.assert_allclose(Gallery.embed(VIDEOS, embedder).scores(queries), whole, atol=1e-6)


def test_a_part_of_the_queries_scores_as_in_all() -> None:
    embedder = RandomVectors()
    gallery = Gallery.embed(VIDEOS, embedder)
    queries = embed_queries(QUERIES, embedder)
    part = queries.part(slice(1, 3))
    assert part.texts == QUERIES[1:3]
    np.testing.assert_allclose(gallery.scores(part), gallery.scores(queries)[1:3], atol=1e-6)


def test_the_order_of_the_gallery_does_not_matter() -> None:
    embedder = RandomVectors()
    queries = embed_queries(QUERIES, embedder)
    forwards = Gallery.embed(VIDEOS, embedder).scores(queries)
    backwards = Gallery.embed(VIDEOS[::-1], embedder).scores(queries)
    np.testing.assert_allclose(backwards[:, ::-1], forwards, atol=1e-6)


def test_equal_texts_are_embedded_once() -> None:
    embedder = RandomVectors()
    Gallery.embed(VIDEOS, embedder)
    assert embedder.asked.count("A cook stirs soup.") == 1


def test_words_count_only_where_some_video_holds_one() -> None:
    embedder = RandomVectors()
    parts = Gallery.embed(VIDEOS, embedder).parts(embed_queries(QUERIES, embedder))
    assert parts.words[3].tolist() == [0, 0, 0]
    assert parts.words[1].tolist() == [0, 1, 0]  # "stirred" and "stirs" have one stem


def test_without_weights_only_the_story_counts() -> None:
    embedder = RandomVectors()
    parts = Gallery.embed(VIDEOS, embedder).parts(embed_queries(QUERIES, embedder))
    alone = fuse(parts, Fusion(chapters=0, words=0, crowding=0))
    np.testing.assert_array_equal(alone, parts.story)


def test_a_video_like_its_neighbours_is_crowded_and_an_odd_one_is_not() -> None:
    rows = np.eye(4, dtype=np.float32)[[0, 0, 0, 3]]
    videos = [Described(video_id=str(n), story="a b", chapters=("a b",)) for n in range(4)]
    crowding = Gallery(videos, rows, rows).crowding(2)
    np.testing.assert_allclose(crowding, [1, 1, 1, 0], atol=1e-6)


def test_a_single_video_is_not_crowded() -> None:
    embedder = RandomVectors()
    gallery = Gallery.embed(VIDEOS[:1], embedder)
    assert gallery.crowding(10).tolist() == [0]
    assert gallery.scores(embed_queries(QUERIES[:1], embedder)).shape == (1, 1)


def test_no_queries_give_no_rows() -> None:
    embedder = RandomVectors()
    none = blend(np.zeros((0, 8), np.float32), np.zeros((0, 8), np.float32), np.array([0]))
    assert none.shape == (0, 8)
    part = embed_queries(QUERIES, embedder).part(slice(2, 2))
    assert Gallery.embed(VIDEOS, embedder).scores(part).shape == (0, 3)


@pytest.mark.parametrize("text", ["", " \n "])
def test_a_query_without_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue, match="visible character"):
        embed_queries([text], RandomVectors())


@pytest.mark.parametrize(
    ("videos", "said"),
    [
        ([], "number of videos"),
        ([VIDEOS[0], VIDEOS[0]], "each id once"),
        ([Described(video_id="dumb", story="a", chapters=())], "chapters of dumb"),
        (VIDEOS[:1], "rows of stories and chapters"),
    ],
)
def test_a_gallery_that_is_none_is_refused(videos: list[Described], said: str) -> None:
    rows = np.ones((5, 8), np.float32)
    with pytest.raises(InvalidValue, match=said):
        Gallery(videos, rows, rows)


@pytest.mark.parametrize(
    "wrong", [{"chapters": -1}, {"words": math.nan}, {"crowding": math.inf}, {"num_near": 0}]
)
def test_weights_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidValue, match="fusion"):
        Fusion(**wrong)


def test_bm25_is_its_formula() -> None:
    texts = ["cats chase cats", "a dog sleeps all day long", "dogs and cats"]
    # stop words are out: lengths 3, 4 and 2; two of three texts hold each of cat and dog
    idf = math.log(1 + (3 - 2 + 0.5) / (2 + 0.5))

    def weight(count: int, length: int) -> float:
        return idf * count * (K1 + 1) / (count + K1 * (1 - B + B * length / 3))

    found = Bm25(texts).scores(["cat cat", "dog", "cat dog", "bird"])
    cat = [weight(2, 3), 0, weight(1, 2)]
    dog = [0, weight(1, 4), weight(1, 2)]
    both = [a + b for a, b in zip(cat, dog, strict=True)]
    np.testing.assert_allclose(found, [cat, dog, both, [0, 0, 0]], rtol=1e-5)


def test_stems_are_those_of_the_word_table() -> None:
    assert stems(["The runner's running, ran", "Éclairs!", "", "of the"]) == [
        ["runner", "run", "ran"],
        ["eclair"],
        [],
        [],
    ]


def test_texts_of_stop_words_alone_score_nothing() -> None:
    assert Bm25(["of the", "and"]).scores(["the"]).tolist() == [[0, 0]]
