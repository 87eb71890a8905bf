"""EfficientNet-Lite0: image features [1280], and ImageNet class probabilities from them.

The offline stand-in for an image encoder. The classifier takes stored features, so that the tag
captioner does not run the network again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.embed.graph import runs_as_graph
from fdvs.models.embed.imagenet import ImageNetEmbedder
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import checked_folder, needs, place, reason_of, reuse_memory
from fdvs.types import ModelIdentity, Vectors

if TYPE_CHECKING:
    import torch

ARCHITECTURE = "tf_efficientnet_lite0"
GPU_BATCH = 64


class EfficientNetEmbedder(ImageNetEmbedder):
    """An ImageEmbedder; `probabilities` classifies its own vectors, `label_names` names classes."""

    def __init__(self, network: Any, identity: ModelIdentity, *, device: str = "cpu") -> None:
        super().__init__(identity)
        if device != "cpu":
            self.batch_size = GPU_BATCH
        self._network = network
        self._device = device

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> ImageNetEmbedder:
        """Load the checkpoint (a plain state dict); as a graph where the file is the card's own.

        Raises ModelUnavailable, ModelError.
        """
        if runs_as_graph(card, settings):
            from fdvs.models.embed.efficientnet_graph import GraphEfficientNet

            return GraphEfficientNet.load(card)
        import torch

        timm = needs("timm", "local")
        device, dtype = place(settings, card.name, exact=True)
        if device == "cpu":
            reuse_memory()
        network = timm.create_model(ARCHITECTURE, pretrained=False)
        load_by_order(network, _checkpoint(checked_folder(card)))
        network.to(device=device, dtype=dtype, memory_format=torch.channels_last).eval()
        return cls(network, identity_of(card), device=device)

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
    import torch

    files = [place] if place.is_file() else sorted(place.glob("*.pth"))
    if len(files) != 1:
        raise ModelUnavailable(f"{place} holds {len(files)} .pth files; need one checkpoint")
    try:
        state = torch.load(files[0], map_location="cpu", weights_only=True)
    except Exception as error:  # a file that is cut or garbled fails anywhere
        raise ModelError(
            f"{files[0]} is no plain state dict: {reason_of(error)}; fetch or copy it again"
        ) from None
    if not isinstance(state, dict):
        raise ModelError(f"{files[0]} holds a {type(state).__name__}, not a state dict")
    return state
