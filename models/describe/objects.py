"""Open-vocabulary object detection on the kept frames (GroundingDINO) with transformers.

The class names form the prompt. The detector's text encoder takes 256 tokens, so a long list is
split into several prompts, and every kept frame is run once per prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fdvs.errors import InvalidValue, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.objectwords import COCO_NAMES, Box, match_label, sentence
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
from fdvs.types import ClipView, Image, ModelIdentity, Observation


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectOptions:
    """Thresholds as in the paper (0.4 per box, 0.25 per word); `labels` are the classes."""

    labels: tuple[str, ...] = COCO_NAMES
    box_threshold: float = 0.4
    text_threshold: float = 0.25
    batch_size: int | None = None

    def __post_init__(self) -> None:
        check_range("box_threshold", self.box_threshold, 0, 1)
        check_range("text_threshold", self.text_threshold, 0, 1)
        check_range("batch_size", self.batch_size, 1, 1024)
        wrong = [label for label in self.labels if not label.strip() or "." in label]
        if wrong or not self.labels:
            raise InvalidValue(
                "labels", wrong or self.labels, "names without full stops, one or more"
            )


class ObjectSource:
    """A Describer: one sentence per clip, e.g. `2 x car (small, top left; medium, center).`"""

    source = "objects"
    version = 1
    needs_frames = True
    batch_size = 1

    def __init__(
        self, processor: Any, model: Any, identity: ModelIdentity, options: ObjectOptions
    ) -> None:
        self.identity = identity
        self.processor, self.model, self.options = processor, model, options
        self._num_pictures = batch_size_for(model, options.batch_size, cpu=2, gpu=16)
        self.prompts = split_labels(
            options.labels,
            count=lambda text: len(processor.tokenizer(text)["input_ids"]),
            limit=model.config.max_text_len,
        )

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> ObjectSource:
        """Load processor and weights. Raises ModelUnavailable, ConfigError for wrong options."""
        from transformers import AutoModelForZeroShotObjectDetection, AutoProcessor

        options = options_from(card, ObjectOptions, shared=("files",))
        processor = load_part(AutoProcessor, card)
        device, dtype = place(settings, f"objects {card.name}")
        model = load_weights(AutoModelForZeroShotObjectDetection, card, device=device, dtype=dtype)
        with loading(card, model_folder(card)):
            return cls(processor, model, identity_of(card), options)

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Detect objects on every kept frame. Raises ModelError where the detector fails."""
        pictures = [frame.image for view in clips for frame in view.frames]
        boxes = iter(self.detect(pictures))
        return [self._observe(view, [next(boxes) for _ in view.frames]) for view in clips]

    def _observe(self, view: ClipView, pictures: Sequence[Sequence[Box]]) -> list[Observation]:
        text = sentence(pictures)
        if not text:
            return []
        confidence = max(box.score for boxes in pictures for box in boxes)
        return [view.observation(self.source, text, confidence)]

    def detect(self, pictures: Sequence[Image]) -> list[list[Box]]:
        """Return the boxes of each picture, over all prompts."""
        found: list[list[Box]] = []
        try:
            for at in range(0, len(pictures), self._num_pictures):
                batch = pictures[at : at + self._num_pictures]
                rounds = [self._ask(batch, labels) for labels in self.prompts]
                found += [
                    [box for boxes in per_prompt for box in boxes]
                    for per_prompt in zip(*rounds, strict=True)
                ]
        except MODEL_FAULTS as error:  # includes out of memory
            raise ModelError(
                f"{self.identity.label()} failed on {len(pictures)} frames ({reason_of(error)})"
            ) from error
        return found

    def _ask(self, pictures: Sequence[Image], labels: Sequence[str]) -> list[list[Box]]:
        import torch
        from PIL import Image as Pillow

        model, options = self.model, self.options
        inputs = self.processor(
            images=[Pillow.fromarray(picture) for picture in pictures],
            text=[prompt_of(labels)] * len(pictures),
            return_tensors="pt",
        ).to(model.device, model.dtype)
        with torch.inference_mode():
            outputs = model(**inputs)
        results = self.processor.post_process_grounded_object_detection(
            outputs,
            inputs["input_ids"],
            threshold=options.box_threshold,
            text_threshold=options.text_threshold,
        )
        return [_boxes(result, labels) for result in results]


def split_labels(labels: Sequence[str], *, count: Any, limit: int) -> tuple[tuple[str, ...], ...]:
    """Split a list of classes into prompts of at most `limit` tokens; `count` counts tokens.

    Raises InvalidValue for a label that is too long on its own.
    """
    prompts: list[tuple[str, ...]] = []
    now: tuple[str, ...] = ()
    for label in dict.fromkeys(label.strip().lower() for label in labels):
        if count(prompt_of((label,))) > limit:
            raise InvalidValue("labels", label[:60], f"at most {limit} tokens each")
        if now and count(prompt_of((*now, label))) > limit:
            prompts.append(now)
            now = ()
        now = (*now, label)
    return (*prompts, now)


def prompt_of(labels: Sequence[str]) -> str:
    """Return the detector's prompt: each class is followed by a full stop."""
    return ". ".join(labels) + "."


def _boxes(result: Any, labels: Sequence[str]) -> list[Box]:
    """Return one picture's boxes that match a class; coordinates are clamped to 0..1."""
    boxes: list[Box] = []
    if not len(result["scores"]):
        return boxes  # the processor returns one empty phrase where nothing was found
    corners = result["boxes"].float().clamp(0, 1).tolist()
    scores = result["scores"].float().tolist()
    for (x0, y0, x1, y1), score, phrase in zip(corners, scores, result["text_labels"], strict=True):
        if label := match_label(phrase, labels):
            boxes.append(Box(label=label, score=score, x0=x0, y0=y0, x1=x1, y1=y1))
    return boxes
