"""Pictures placed among texts by their likeliest labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdvs.models.embed.conse import NUM_LABELS, TEMPLATE, ConseMatcher
from fdvs.models.scripted import HashTextEmbedder
from fdvs.types import ModelIdentity, Vectors

NAMES = [f"thing{i}" for i in range(12)] + ["hare, rabbit"]


class Classifier:
    """The 'features' are the logits themselves."""

    label_names = NAMES

    def probabilities(self, vectors: Vectors) -> Vectors:
        grown = np.exp(vectors - vectors.max(axis=1, keepdims=True))
        return np.asarray(grown / grown.sum(axis=1, keepdims=True), np.float32)


def identity(name: str) -> ModelIdentity:
    return ModelIdentity(role="r", backend="b", name=name)


@pytest.fixture
def matcher() -> Any:
    images, texts = Classifier(), HashTextEmbedder()
    made_of = (identity("net"), identity("words"))
    return ConseMatcher(lambda: images, lambda: texts, made_of=made_of)


def test_a_sure_picture_lies_where_its_label_lies(matcher: Any) -> None:
    logits = np.full((1, len(NAMES)), -50.0, np.float32)
    logits[0, -1] = 50.0
    placed = matcher.place_pictures(logits)
    label = HashTextEmbedder().embed_texts([TEMPLATE.format("hare, rabbit")])[0]
    assert placed[0] @ label == pytest.approx(1.0, abs=1e-5)


def test_a_picture_is_the_weighted_mean_of_its_ten_likeliest_labels(matcher: Any) -> None:
    logits = np.random.default_rng(0).normal(size=(3, len(NAMES))).astype(np.float32)
    labels = HashTextEmbedder().embed_texts([TEMPLATE.format(name) for name in NAMES])
    rows = Classifier().probabilities(logits)
    for row, placed in zip(rows, matcher.place_pictures(logits), strict=True):
        top = sorted(range(len(NAMES)), key=lambda i: -row[i])[:NUM_LABELS]
        mean = sum(row[i] * labels[i] for i in top)
        np.testing.assert_allclose(placed, mean / np.linalg.norm(mean), atol=1e-5)


def test_a_query_finds_the_picture_of_its_thing(matcher: Any) -> None:
    logits = np.zeros((2, len(NAMES)), np.float32)
    logits[0, 3] = logits[1, -1] = 9.0
    cosines = matcher.place_pictures(logits) @ matcher.place_query("rabbit")
    assert cosines[1] > cosines[0]


def test_it_is_called_a_stand_in_and_its_parts_count(matcher: Any) -> None:
    assert matcher.identity.is_stand_in
    other = ConseMatcher(
        Classifier, HashTextEmbedder, made_of=(identity("net2"), identity("words"))
    )
    assert other.identity.weights_sha256 != matcher.identity.weights_sha256
