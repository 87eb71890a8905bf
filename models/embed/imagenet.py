"""What both ways to run EfficientNet-Lite0 share: its input, batches, the names of classes."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import numpy as np

from fdvs.types import Image, ModelIdentity, Vectors

INPUT_PX = 224
SHORT_SIDE_PX = 256
MEAN, SCALE = 127.0, 128.0
NUM_FEATURES = 1280
LABELS = "imagenet_labels.txt"


class ImageNetEmbedder:
    """An ImageEmbedder; `label_names` names the classes of the classifier.

    A subclass runs the network (`_features`) and classifies its own vectors (`probabilities`).
    """

    matcher_backend = "conse"
    # Larger batches are slower on a CPU: their activations no longer fit its caches.
    batch_size = 8

    def __init__(self, identity: ModelIdentity) -> None:
        self.identity = identity
        self.label_names = _label_names()

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return raw features before the classifier, float32 [len(images), 1280]."""
        rows = [np.zeros((0, NUM_FEATURES), np.float32)]
        for start in range(0, len(images), self.batch_size):
            batch = np.stack([network_input(i) for i in images[start : start + self.batch_size]])
            rows.append(self._features(batch))
        return np.concatenate(rows)

    def _features(self, x_N3HW: Vectors) -> Vectors:
        raise NotImplementedError

    def probabilities(self, vectors: Vectors) -> Vectors:
        """Return float32 [N, 1000]: the classifier's softmax over features [N, 1280]."""
        raise NotImplementedError


def network_input(image: Image) -> Vectors:
    """Return float32 [3, 224, 224]: short side to 256, centre crop, (x - 127) / 128.

    Resize and crop are one bicubic resampling of the centre square, 224/256 of the short side.
    """
    from PIL import Image as Pictures

    height, width = image.shape[:2]
    side = min(height, width) * INPUT_PX / SHORT_SIDE_PX
    left, top = (width - side) / 2, (height - side) / 2
    square = Pictures.fromarray(image).resize(
        (INPUT_PX, INPUT_PX),
        resample=Pictures.Resampling.BICUBIC,
        box=(left, top, left + side, top + side),
    )
    scaled = (np.asarray(square, dtype=np.float32) - MEAN) / SCALE
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _label_names() -> list[str]:
    """Return the 1,000 names of the ImageNet-1k classes with their synonyms, from WordNet."""
    return files("fdvs.models.embed").joinpath(LABELS).read_text("utf-8").splitlines()
