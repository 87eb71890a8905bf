"""Sentence embeddings from a local folder: a graph without torch, else sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.embed.graph import runs_as_graph
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import (
    checked_folder,
    loading,
    model_errors,
    needs,
    place,
    without_progress_bars,
)
from fdvs.models.weights.templates import bounded, check_template
from fdvs.types import ModelIdentity, Vectors
from fdvs.vectors import unit_rows

if TYPE_CHECKING:
    from fdvs.models.embed.sentence_graph import GraphSentenceEmbedder


@dataclass(frozen=True, slots=True, kw_only=True)
class SentenceOptions:
    """A card's options: what stands before questions and before texts.

    None: what the checkpoint itself says (`prompts` of its config_sentence_transformers.json).
    """

    query_prompt: str | None = None
    document_prompt: str | None = None


class SentenceEmbedder:
    """A TextEmbedder; the tokenizer truncates texts to the model's context."""

    batch_size = 32

    def __init__(
        self, model: Any, identity: ModelIdentity, options: SentenceOptions | None = None
    ) -> None:
        self.identity = identity
        self._model = model
        self._options = options or SentenceOptions()
        template = getattr(getattr(model, "tokenizer", None), "chat_template", None)
        check_template(template or "", name=identity.name)
        self._bounds = bounded if template else nullcontext

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> SentenceEmbedder | GraphSentenceEmbedder:
        """Load from disk, without network; as a graph where the package has one for the card.

        Raises ModelUnavailable, ModelError.
        """
        if runs_as_graph(card, settings):
            from fdvs.models.embed.sentence_graph import GraphSentenceEmbedder

            return GraphSentenceEmbedder.load(card)
        library = needs("sentence_transformers", "local")
        options = options_from(card, SentenceOptions, shared=("files",))
        folder = checked_folder(card)
        device, dtype = place(settings, card.name, exact=True)
        with loading(card, folder), without_progress_bars():
            model = library.SentenceTransformer(
                str(folder),
                device=device,
                local_files_only=True,
                trust_remote_code=False,
                model_kwargs={"dtype": dtype, "use_safetensors": True},
            )
            return cls(model, identity_of(card), options)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D], rows of unit length; an empty text is allowed."""
        return self._rows(self._model.encode_document, texts, self._options.document_prompt)

    def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """Return the same of questions, with the prompt that the model was trained on."""
        return self._rows(self._model.encode_query, texts, self._options.query_prompt)

    def _rows(self, encode: Any, texts: Sequence[str], prompt: str | None) -> Vectors:
        if not texts:
            return np.zeros((0, self._model.get_embedding_dimension()), np.float32)
        with model_errors(self.identity.label()), self._bounds():
            rows = encode(
                list(texts),
                prompt=prompt,
                batch_size=self.batch_size,
                convert_to_numpy=True,
                normalize_embeddings=False,
                show_progress_bar=False,
            )
        return unit_rows(np.asarray(rows, dtype=np.float32)).astype(np.float32)
