"""Action recognition: a clip's most likely class by a video classifier (Kinetics-400).

The model of transformers sees the kept frames, resampled to the number it was trained on. A class
counts only above a minimum probability: of 400 classes one always wins, even if nothing happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fdvs.errors import ConfigError, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.loading import (
    MODEL_FAULTS,
    batch_size_for,
    load_part,
    load_weights,
    loading,
    place,
    reason_of,
)
from fdvs.typed import check_range
from fdvs.types import ClipView, ModelIdentity, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionOptions:
    """`min_probability`: below it a clip gets no action. `batch_size`: None to choose by device."""

    min_probability: float = 0.3
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_range("min_probability", self.min_probability, 0, 1)
        check_range("batch_size", self.batch_size, 1, 1024)


class ActionSource:
    """A Describer: at most one observation per clip, the class name, e.g. `riding a bike`."""

    source = "action"
    version = 1
    needs_frames = True

    def __init__(
        self, processor: Any, model: Any, identity: ModelIdentity, options: ActionOptions
    ) -> None:
        self.identity = identity
        self.batch_size = batch_size_for(model, options.batch_size, cpu=2, gpu=16)
        self.processor, self.model = processor, model
        self._min_probability = options.min_probability
        num_frames = getattr(model.config, "num_frames", None)
        if not isinstance(num_frames, int):
            raise ConfigError(
                f"model {identity.name!r} does not say how many frames it takes "
                "(config.num_frames); choose a video classifier"
            )
        self._num_frames = num_frames

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> ActionSource:
        """Load processor and weights. Raises ModelUnavailable, ConfigError for wrong options."""
        from transformers import AutoImageProcessor, AutoModelForVideoClassification

        options = options_from(card, ActionOptions, shared=("files",))
        processor = load_part(AutoImageProcessor, card)
        device, dtype = place(settings, f"action {card.name}")
        model = load_weights(AutoModelForVideoClassification, card, device=device, dtype=dtype)
        with loading(card, model_folder(card)):
            return cls(processor, model, identity_of(card), options)

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Name each clip's action. Raises ModelError where the classifier fails."""
        found: list[list[Observation]] = [[] for _ in clips]
        shown = [at for at, view in enumerate(clips) if view.frames]
        for start in range(0, len(shown), self.batch_size):
            batch = shown[start : start + self.batch_size]
            answers = self._classify([clips[at] for at in batch])
            for at, (label, probability) in zip(batch, answers, strict=True):
                if probability >= self._min_probability:
                    found[at] = [clips[at].observation(self.source, label, probability)]
        return found

    def _classify(self, clips: Sequence[ClipView]) -> list[tuple[str, float]]:
        import torch
        from PIL import Image

        videos = [
            [
                Image.fromarray(view.frames[at].image)
                for at in resampled(len(view.frames), self._num_frames)
            ]
            for view in clips
        ]
        try:
            inputs = self.processor(videos, return_tensors="pt")
            with torch.inference_mode():
                logits_BK = self.model(**inputs.to(self.model.device, self.model.dtype)).logits
        except MODEL_FAULTS as error:  # includes out of memory
            raise ModelError(f"{self.identity.label()} failed ({reason_of(error)})") from error
        top = logits_BK.float().softmax(dim=-1).max(dim=-1)
        names = self.model.config.id2label
        return [
            (str(names[int(k)]).replace("_", " "), float(p))
            for k, p in zip(top.indices, top.values, strict=True)
        ]


def resampled(num_have: int, num_want: int) -> list[int]:
    """Return `num_want` sorted indices spread evenly over `num_have` frames, repeated if fewer.

    >>> resampled(4, 8)
    [0, 0, 1, 1, 2, 2, 3, 3]
    """
    return [(2 * at + 1) * num_have // (2 * num_want) for at in range(num_want)]
