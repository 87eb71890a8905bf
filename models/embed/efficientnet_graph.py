"""EfficientNet-Lite0 by ONNX Runtime; the classifier is one matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdvs.models.cards import Card
from fdvs.models.embed.graph import open_graph, stored_tensor
from fdvs.models.embed.imagenet import ImageNetEmbedder
from fdvs.models.weights.fetch import identity_of
from fdvs.types import ModelIdentity, Vectors


class GraphEfficientNet(ImageNetEmbedder):
    """The features and probabilities of `EfficientNetEmbedder`, without torch."""

    def __init__(
        self, session: Any, classifier: tuple[Vectors, Vectors], identity: ModelIdentity
    ) -> None:
        """Take the graph's session, and weights [1000, 1280] and biases [1000]."""
        super().__init__(identity)
        self._session = session
        self._weight_CD, self._bias_C = classifier

    @classmethod
    def load(cls, card: Card) -> GraphEfficientNet:
        """Load from disk. Raises ModelUnavailable, ModelError."""
        session, names = open_graph(card), ("classifier.weight", "classifier.bias")
        weight_CD, bias_C = (stored_tensor(card, name) for name in names)
        return cls(session, (weight_CD, bias_C), identity_of(card))

    def _features(self, x_N3HW: Vectors) -> Vectors:
        (features_ND,) = self._session.run(None, {"pictures": x_N3HW})
        found: Vectors = features_ND
        return found

    def probabilities(self, vectors: Vectors) -> Vectors:
        """Return float32 [N, 1000]: the classifier's softmax over features [N, 1280]."""
        logits_NC = np.asarray(vectors, np.float32) @ self._weight_CD.T + self._bias_C
        raised_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
        found: Vectors = (raised_NC / raised_NC.sum(axis=1, keepdims=True)).astype(np.float32)
        return found
