"""Tag captioner: ImageNet classes recognised in the kept frames, as keywords.

The offline stand-in for a captioner. It knows no people, actions or counts, so it writes no
sentences; doubtful keywords end with a question mark, and where nothing is recognised it says
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.tagwords import Tag, tags
from fdvs.models.embed.efficientnet import EfficientNetEmbedder
from fdvs.models.embed.imagenet import ImageNetEmbedder
from fdvs.models.weights.fetch import identity_of, weights_card
from fdvs.types import ClipView, ModelIdentity, Observation, Vectors

FLOOR = 0.25
KIND_FLOOR = 0.1
LIKELY = 0.5
MAX_TAGS = 4


class TagCaptioner:
    """A Describer that classifies the image embedder's own features."""

    source = "tags"
    needs_frames = True
    batch_size = 8
    version = 2

    def __init__(self, embedder: ImageNetEmbedder, identity: ModelIdentity) -> None:
        self.identity = identity
        self._embedder = embedder

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> TagCaptioner:
        """Load the card's network. Raises ModelUnavailable, ModelError."""
        owner = weights_card(card) or card
        embedder = EfficientNetEmbedder.load(owner, replace(settings, dtype="auto"))
        return cls(embedder, identity_of(card))

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return one observation per clip with the recognised objects, none without any."""
        rows = self._features(clips)
        probabilities = self._embedder.probabilities(np.concatenate(rows)) if rows else None
        result: list[list[Observation]] = []
        start = 0
        for view, features in zip(clips, rows, strict=True):
            assert probabilities is not None
            found = self._tags(probabilities[start : start + len(features)])
            start += len(features)
            result.append(_observations(view, found))
        return result

    def _features(self, clips: Sequence[ClipView]) -> list[Vectors]:
        """Return each clip's features: stored ones of this embedder, else computed in batches."""
        missing = [view for view in clips if not self._has_features(view)]
        images = [frame.image for view in missing for frame in view.frames]
        computed = self._embedder.embed_images(images)
        rows, start = [], 0
        for view in clips:
            if view.vectors is not None and self._has_features(view):
                rows.append(view.vectors)
            else:
                rows.append(computed[start : start + len(view.frames)])
                start += len(view.frames)
        return rows

    def _has_features(self, view: ClipView) -> bool:
        return (
            view.vectors is not None
            and view.embedder == self._embedder.identity
            and len(view.vectors) > 0
        )

    def _tags(self, probabilities: Vectors) -> list[Tag]:
        """Return a clip's tags, each with the probability of its best frame."""
        best: dict[str, Tag] = {}
        for row in probabilities:
            for tag in tags(row, self._embedder.label_names, floor=FLOOR, kind_floor=KIND_FLOOR):
                if tag.name not in best or tag.probability > best[tag.name].probability:
                    best[tag.name] = tag
        if len(best) > 1:
            best.pop("some animal", None)
        return sorted(best.values(), key=lambda tag: (-tag.probability, tag.name))[:MAX_TAGS]


def caption(found: Sequence[Tag]) -> str:
    """Return a clip's tags as keywords; those below `LIKELY` end with a question mark.

    >>> caption([Tag(name="rabbit", kinds=("hare",), probability=0.6)])
    'rabbit (hare)'
    """
    return ", ".join(tag.words() + ("" if tag.probability >= LIKELY else "?") for tag in found)


def _observations(view: ClipView, found: Sequence[Tag]) -> list[Observation]:
    if not found:
        return []
    confidence = max(tag.probability for tag in found)
    return [view.observation(TagCaptioner.source, caption(found), confidence)]
