"""Words of options heard in passages: exactly, or by words of like meaning."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from fdvs.answers.choice.background import Background, make_background
from fdvs.answers.choice.by_words import WordMatcher, content_words
from fdvs.answers.evidence import Passage
from fdvs.types import ModelIdentity, Vectors

LIKE = {"sofa": (1.0, 0.0, 0.0), "couch": (0.8, 0.6, 0.0), "boat": (0.0, 0.0, 1.0)}


class PlaneEmbedder:
    """Known words lie as `LIKE` says, all others along an axis of their own."""

    identity = ModelIdentity(role="text_embedder", backend="test", name="plane", revision="1")

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._others: dict[str, int] = {}

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        self.asked.extend(texts)
        rows = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            if text in LIKE:
                row[:3] = LIKE[text]
            else:
                row[3 + self._others.setdefault(text, len(self._others))] = 1.0
        return rows


def matcher(background: Background | None = None) -> WordMatcher:
    return WordMatcher(
        PlaneEmbedder(), background or Background(), enough_mentions=3.0, likeness=2.0
    )


def passage(video_id: str, text: str) -> Passage:
    return Passage(video_id=video_id, name=video_id, chapter=0, start_s=0, end_s=1, text=text)


def test_a_word_said_three_times_counts_half() -> None:
    words = matcher()
    said = words.words_of(["a boat", "two boats", "the boat"])
    assert words.scores(["boat"], said).tolist() == pytest.approx([0.5 / 2])


def test_a_word_is_heard_through_its_likeness() -> None:
    words = matcher()
    said = words.words_of(["a sofa"])
    exact, like, none = words.scores(["sofa", "couch", "boat"], said)
    assert like == pytest.approx(exact * 0.8**2)
    assert none == 0


def test_a_repeated_word_of_an_option_counts_once() -> None:
    words = matcher()
    said = words.words_of(["a boat"])
    once, twice = words.scores(["boat", "boat boats"], said)
    assert once == twice


def test_words_said_in_every_video_weigh_less() -> None:
    passages = [passage("a", "a boat and a sofa"), passage("b", "a boat"), passage("c", "boats")]
    background = make_background(passages, PlaneEmbedder())
    words = matcher(background)
    everywhere, once = words.scores(["boat", "sofa"], words.words_of(["boat and sofa"]))
    assert everywhere / once == pytest.approx(math.log(1 + 3 / 3.5) / math.log(1 + 3 / 1.5))


def test_without_a_background_all_words_weigh_the_same() -> None:
    assert Background().weight("boat") == Background().weight("sofa") > 0


def test_options_without_content_words_score_nothing() -> None:
    words = matcher()
    assert words.scores(["it is", "the"], words.words_of(["a boat"])).tolist() == [0.0, 0.0]


def test_passages_without_words_score_nothing() -> None:
    words = matcher()
    assert words.scores(["boat"], words.words_of(["..."])).tolist() == [0.0]


def test_content_words_are_lower_case_once_and_longer_than_a_letter() -> None:
    assert content_words("C lifts the Cup, and the cup falls") == ["lifts", "cup", "falls"]


def test_each_word_is_embedded_once() -> None:
    embedder = PlaneEmbedder()
    words = WordMatcher(embedder, Background(), enough_mentions=3.0, likeness=2.0)
    said = words.words_of(["boat sofa"])
    words.scores(["boat"], said)
    words.scores(["boat couch"], said)
    assert sorted(embedder.asked) == ["boat", "couch", "sofa"]


def test_kept_words_are_bounded_and_scores_stay_the_same() -> None:
    embedder = PlaneEmbedder()
    few = WordMatcher(embedder, Background(), enough_mentions=3.0, likeness=2.0, max_words=1)
    many = matcher()
    before = many.scores(["boat couch"], many.words_of(["boat sofa"]))
    known = few.words_of(["boat sofa"])
    assert few.scores(["boat couch"], known).tolist() == before.tolist()
    assert embedder.asked.count("boat") == 2  # it was not kept


def test_a_background_samples_the_same_passages_in_any_order() -> None:
    passages = [passage(f"v{n}", f"boat number {n}") for n in range(50)]
    one, two = PlaneEmbedder(), PlaneEmbedder()
    forward = make_background(passages, one)
    backward = make_background(passages[::-1], two)
    assert forward.video_ids == backward.video_ids
    assert one.asked == two.asked


def test_a_background_leaves_out_the_own_video_and_tells_nothing_from_few() -> None:
    owners = ("a",) * 150 + ("b",) * 250
    background = Background(rows=np.ones((400, 2)), video_ids=owners)
    assert len(background.rows_beside({"a"})) == 250
    assert len(background.rows_beside({"b"})) == 0
