"""EfficientNet-Lite0: image features [1280], and ImageNet class probabilities from them.

The offline stand-in for an image encoder. The classifier takes stored features, so that the tag
captioner does not run the network again.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.embed.graph import runs_as_graph
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.loading import needs, place, reuse_memory
from fdvs.types import Image, ModelIdentity, Vectors

if TYPE_CHECKING:
    import torch

INPUT_PX = 224
SHORT_SIDE_PX = 256
MEAN, SCALE = 127.0, 128.0
ARCHITECTURE = "tf_efficientnet_lite0"
NUM_FEATURES = 1280
LABELS = "imagenet_labels.txt"


class EfficientNetEmbedder:
    """An ImageEmbedder; `probabilities` classifies its own vectors, `label_names` names classes."""

    matcher_backend = "conse"

    def __init__(self, network: Any, identity: ModelIdentity, *, device: str = "cpu") -> None:
        self.identity = identity
        # Larger batches are slower on a CPU: their activations no longer fit its caches.
        self.batch_size = 8 if device == "cpu" else 64
        self._network = network
        self._device = device
        self.label_names = _label_names()

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> EfficientNetEmbedder:
        """Load the checkpoint (a plain state dict); as a graph where the file is the card's own.

        Raises ModelUnavailable, ModelError.
        """
        if runs_as_graph(card, settings):
            from fdvs.models.embed.efficientnet_graph import GraphEfficientNet

            return GraphEfficientNet.load_graph(card)
        import torch

        timm = needs("timm", "local")
        device, dtype = place(settings, card.name)
        if device == "cpu":
            reuse_memory()
        network = timm.create_model(ARCHITECTURE, pretrained=False)
        load_by_order(network, _checkpoint(model_folder(card)))
        network.to(device=device, dtype=dtype, memory_format=torch.channels_last).eval()
        return cls(network, identity_of(card), device=device)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return raw features before the classifier, float32 [len(images), 1280]."""
        rows = [np.zeros((0, NUM_FEATURES), np.float32)]
        for start in range(0, len(images), self.batch_size):
            batch = np.stack([network_input(i) for i in images[start : start + self.batch_size]])
            rows.append(self._features(batch))
        return np.concatenate(rows)

    def _features(self, x_N3HW: Vectors) -> Vectors:
        import torch

        with torch.inference_mode():
            x = self._tensor(x_N3HW).contiguous(memory_format=torch.channels_last)
            features_ND = self._network.forward_head(
                self._network.forward_features(x), pre_logits=True
            )
            found: Vectors = features_ND.float().cpu().numpy()
        return found

    def probabilities(self, vectors: Vectors) -> Vectors:
        """Return float32 [N, 1000]: the classifier's softmax over features [N, 1280]."""
        import torch

        with torch.inference_mode():
            logits_NC = self._network.classifier(self._tensor(vectors)).float()
            result: Vectors = torch.softmax(logits_NC, dim=1).cpu().numpy()
        return result

    def _tensor(self, values: Vectors) -> torch.Tensor:
        import torch

        weight = self._network.classifier.weight
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._device, weight.dtype)


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


def load_by_order(network: Any, state: dict[str, Any]) -> None:
    """Load a checkpoint whose names differ but whose tensors are in the network's order.

    Batch counters are skipped on both sides. Raises ModelError where a shape differs.
    """
    targets = [(k, v) for k, v in network.state_dict().items() if "num_batches_tracked" not in k]
    values = [v for k, v in state.items() if "num_batches_tracked" not in k]
    shapes = [tuple(v.shape) for _, v in targets]
    found = [tuple(getattr(v, "shape", ())) for v in values]
    if shapes != found:
        raise ModelError(
            f"the checkpoint's {len(found)} tensors do not fit {ARCHITECTURE} ({len(shapes)})"
        )
    named = {name: value for (name, _), value in zip(targets, values, strict=True)}
    network.load_state_dict(named, strict=False)


def _checkpoint(place: Path) -> dict[str, Any]:
    import pickle

    import torch

    files = [place] if place.is_file() else sorted(place.glob("*.pth"))
    if len(files) != 1:
        raise ModelUnavailable(f"{place} holds {len(files)} .pth files; need one checkpoint")
    try:
        state = torch.load(files[0], map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise ModelError(f"{files[0]} is no plain state dict: {str(error)[:200]}") from None
    if not isinstance(state, dict):
        raise ModelError(f"{files[0]} holds a {type(state).__name__}, not a state dict")
    return state


def _label_names() -> list[str]:
    """Return the 1,000 names of the ImageNet-1k classes with their synonyms, from WordNet."""
    return files("fdvs.models.embed").joinpath(LABELS).read_text("utf-8").splitlines()
