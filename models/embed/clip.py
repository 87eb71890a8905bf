"""CLIP with open_clip: pictures and short texts embedded in one space, from local weights.

A checkpoint is a folder with `open_clip_config.json` and safetensors weights, or one safetensors
file and its architecture in the card's options.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import (
    checked_folder,
    loading,
    model_errors,
    needs,
    place,
    without_progress_bars,
)
from fdvs.protocols import TextEmbedder
from fdvs.typed import check_range
from fdvs.types import Image, ModelIdentity, Vectors
from fdvs.vectors import unit_rows

if TYPE_CHECKING:
    import torch

CONFIG_FILE = "open_clip_config.json"
# Names that open_clip takes before any pickle.
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors")
PICKLES = ("*.bin", "*.pth")
TEMPLATE = "a photo of {}"
# A cautious guess for short queries to CLIP, not measured: LAION-5B kept pairs of picture and
# caption from a cosine of 0.28 on (Schuhmann et al., 2022); short queries score lower.
MIN_SCORE = 0.22
# SigLIP says itself how likely a pair is, as sigmoid(scale * cosine + bias); short queries get few
# per cent. Not measured either.
MIN_PROBABILITY = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipOptions:
    """A card's options. `architecture` is open_clip's name, for a single weights file.

    `quick_gelu`: for weights that were trained with QuickGELU (OpenAI's). `template`: the sentence
    around a query, with {}. `min_score`: the least cosine of a match; None for what the model says
    itself (SigLIP), or a guess.
    """

    architecture: str = ""
    quick_gelu: bool = False
    template: str = TEMPLATE
    min_score: float | None = None

    def __post_init__(self) -> None:
        check_range("min_score", self.min_score, -1, 1)
        if self.template.count("{}") != 1:
            raise InvalidValue("template", self.template, "a sentence with one {} for the query")


class OpenClipEmbedder:
    """An ImageEmbedder with the model's own preprocessing; embeds queries in the same space."""

    matcher_backend = "clip"
    batch_size = 32

    def __init__(
        self,
        model: Any,
        preprocess: Any,
        tokenizer: Any,
        identity: ModelIdentity,
        *,
        dtype: Any,
        options: ClipOptions,
    ) -> None:
        self.identity = identity
        self.template = options.template
        own = least_cosine(model) if options.min_score is None else options.min_score
        self.min_score = MIN_SCORE if own is None else own
        self._model = model
        self._preprocess = preprocess
        self._tokenizer = tokenizer
        self._dtype = dtype
        self._device = next(model.parameters()).device

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> OpenClipEmbedder:
        """Load a checkpoint from disk. Raises ModelUnavailable, ModelError."""
        library = needs("open_clip", "laptop")
        options = options_from(card, ClipOptions, shared=("files",))
        folder = checked_folder(card)
        name, weights = _sources(folder, options)
        device, dtype = place(settings, card.name, exact=True)
        with loading(card, folder, by="open_clip"), without_progress_bars():
            model, preprocess = library.create_model_from_pretrained(
                name,
                pretrained=str(weights) if weights else None,
                device=device,
                force_quick_gelu=options.quick_gelu,
            )
            tokenizer = library.get_tokenizer(name)
            model.to(dtype=dtype).eval()
        return cls(model, preprocess, tokenizer, identity_of(card), dtype=dtype, options=options)

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return float32 [len(images), D], not normalised."""
        import torch
        from PIL import Image as Pictures

        def encode(batch: Sequence[Image]) -> torch.Tensor:
            pixels = [self._preprocess(Pictures.fromarray(image)) for image in batch]
            x_N3HW = torch.stack(pixels).to(device=self._device, dtype=self._dtype)
            features: torch.Tensor = self._model.encode_image(x_N3HW)
            return features

        return self._batched(images, encode)

    def embed_text_queries(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D] in the pictures' space, rows of unit length.

        Texts are truncated to the model's context (77 tokens for most).
        """
        rows = self._batched(
            texts, lambda batch: self._model.encode_text(self._tokenizer(batch).to(self._device))
        )
        return unit_rows(rows).astype(np.float32)

    def _batched(self, items: Sequence[Any], encode: Any) -> Vectors:
        import torch

        rows = []
        with torch.inference_mode(), model_errors(self.identity.label()):
            for batch in _batches(items, self.batch_size):
                rows.append(encode(batch).float().cpu().numpy())
        return np.concatenate(rows) if rows else np.zeros((0, self._width()), np.float32)

    def _width(self) -> int:
        import torch

        with torch.inference_mode():
            return int(self._model.encode_text(self._tokenizer([""]).to(self._device)).shape[1])


class ClipMatcher:
    """A PictureMatcher that embeds queries with CLIP's or SigLIP's text encoder."""

    def __init__(
        self,
        images: Callable[[], OpenClipEmbedder],
        texts: Callable[[], TextEmbedder],
        *,
        made_of: tuple[ModelIdentity, ModelIdentity],
    ) -> None:
        """Take the image embedder, which is loaded on first use; `texts` is not needed."""
        del texts
        self._images = images
        self.identity = replace(made_of[0], role="picture_matcher")

    @property
    def min_score(self) -> float:
        """The least cosine of a match; it differs from model to model. Loads the embedder."""
        return float(getattr(self._images(), "min_score", MIN_SCORE))

    def place_pictures(self, vectors: Vectors) -> Vectors:
        """Return unit rows [N, D] for the embedder's own vectors [N, D]."""
        return unit_rows(vectors).astype(np.float32)

    def place_query(self, query: str) -> Vectors:
        """Return the unit vector [D] of a query."""
        images = self._images()
        text = getattr(images, "template", TEMPLATE).replace("{}", query)
        row: Vectors = images.embed_text_queries([text])[0]
        return row


def least_cosine(model: Any) -> float | None:
    """Return the cosine from which a model with a sigmoid calls a pair MIN_PROBABILITY likely.

    None for one without a bias: CLIP's numbers compare pairs, and say of none how likely it is.
    """
    bias = getattr(model, "logit_bias", None)
    if bias is None:
        return None
    logit = math.log(MIN_PROBABILITY / (1 - MIN_PROBABILITY))
    return float((logit - bias.item()) / math.exp(model.logit_scale.item()))


def _batches(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def _sources(found: Path, options: ClipOptions) -> tuple[str, Path | None]:
    """Return open_clip's model name and, for a single file, its path. Raises ModelUnavailable.

    A folder without weights is refused here: open_clip would silently use random ones.
    """
    if found.is_file():
        if found.suffix != ".safetensors" or not options.architecture:
            raise ModelUnavailable(
                f"{found}: a single file must be safetensors and needs options.architecture "
                f"(such as ViT-B-32) in its card; or give a folder with {CONFIG_FILE}"
            )
        return options.architecture, found
    if not (found / CONFIG_FILE).is_file():
        raise ModelUnavailable(f"{found} holds no {CONFIG_FILE}, so its architecture is unknown")
    weights = sorted(found.glob("*.safetensors"))
    if not weights:
        raise ModelUnavailable(f"{found} holds no safetensors weights; pickles are not loaded")
    pickles = [path for kind in PICKLES for path in sorted(found.glob(kind))]
    if pickles and not any(path.name in WEIGHTS for path in weights):
        raise ModelError(
            f"{found} holds {pickles[0].name}, which open_clip would load: pickles are not loaded; "
            f"remove it, or rename {weights[0].name} to {WEIGHTS[0]}"
        )
    return f"local-dir:{found}", None
