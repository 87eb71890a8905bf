"""ConSE: pictures embedded among texts by their class labels; the offline stand-in for CLIP.

A picture's vector is the mean of the text embeddings of its most likely labels, weighted by their
probabilities (Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings",
ICLR 2014). Nothing is trained. It knows the classifier's labels, but no people, actions or counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fdvs.fingerprint import digest
from fdvs.models.embed.kept_vectors import kept_vectors
from fdvs.protocols import TextEmbedder
from fdvs.types import ModelIdentity, Vectors
from fdvs.vectors import unit_rows

if TYPE_CHECKING:
    from fdvs.models.embed.imagenet import ImageNetEmbedder

NUM_LABELS = 10
TEMPLATE = "a photo of {}"


class ConseMatcher:
    """A PictureMatcher in the text embedder's space.

    `min_score` is the cosine from which a match is shown. With the offline preset's models most
    pictures of the queried object score above it and most others below; the margin is thin
    (see docs/decisions/006-pictures-in-search.md).
    """

    min_score = 0.68

    def __init__(
        self,
        images: Callable[[], ImageNetEmbedder],
        texts: Callable[[], TextEmbedder],
        *,
        made_of: tuple[ModelIdentity, ModelIdentity],
    ) -> None:
        """Take an image classifier and a text embedder, each loaded on first use."""
        self._images, self._texts = images, texts
        self._text_identity = made_of[1]
        self.identity = ModelIdentity(
            role="picture_matcher",
            backend="conse",
            name=f"ConSE over {made_of[0].name} and {made_of[1].name}",
            weights_sha256=digest(list(made_of)),
            is_stand_in=True,
        )

    def place_pictures(self, vectors: Vectors) -> Vectors:
        """Return unit rows [N, E] for the classifier's features [N, D]."""
        probabilities_NC = self._images().probabilities(vectors)
        top_NK = np.argsort(-probabilities_NC, axis=1, kind="stable")[:, :NUM_LABELS]
        weights_NK = np.take_along_axis(probabilities_NC, top_NK, axis=1)
        placed_NE = np.einsum("nk,nke->ne", weights_NK, self._label_vectors[top_NK])
        rows: Vectors = unit_rows(placed_NE).astype(np.float32)
        return rows

    def place_query(self, query: str) -> Vectors:
        """Return the unit vector [E] of a query."""
        row: Vectors = self._texts().embed_texts([TEMPLATE.format(query)])[0]
        return row

    @cached_property
    def _label_vectors(self) -> Vectors:
        """The text embeddings of all labels with their synonyms, computed once a machine."""
        names = [TEMPLATE.format(name) for name in self._images().label_names]
        key = digest([self._text_identity, names])
        return kept_vectors(key, lambda: self._texts().embed_texts(names))
