"""Sentence embeddings by ONNX Runtime: the tokenizer's file, the graph, mean pooling."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from fdvs.models.cards import Card
from fdvs.models.embed.graph import open_graph, weights_file
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.loading import loading, needs
from fdvs.types import ModelIdentity, Vectors
from fdvs.vectors import unit_rows

PAD = "[PAD]"


class GraphSentenceEmbedder:
    """A TextEmbedder with the vectors of `SentenceEmbedder`, without torch.

    Legend: B texts of a batch, T tokens, D dimensions.
    """

    batch_size = 32

    def __init__(self, session: Any, tokenizer: Any, identity: ModelIdentity) -> None:
        self.identity = identity
        self._session = session
        self._tokenizer = tokenizer
        self._num_dims = int(session.get_outputs()[0].shape[-1])

    @classmethod
    def load(cls, card: Card) -> GraphSentenceEmbedder:
        """Load from disk, without network. Raises ModelUnavailable, ModelError."""
        folder, session = weights_file(card).parent, open_graph(card)
        package = needs("tokenizers", "")
        with loading(card, folder):
            tokenizer = package.Tokenizer.from_file(str(folder / "tokenizer.json"))
            limits = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
            tokenizer.enable_truncation(int(limits["max_seq_length"]))
            tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PAD), pad_token=PAD)
        return cls(session, tokenizer, identity_of(card))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D], rows of unit length; an empty text is allowed."""
        rows = np.zeros((len(texts), self._num_dims), np.float32)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # little padding
        for start in range(0, len(order), self.batch_size):
            places = order[start : start + self.batch_size]
            rows[places] = self._pooled([texts[place] for place in places])
        return unit_rows(rows).astype(np.float32)

    def _pooled(self, texts: Sequence[str]) -> Vectors:
        """Return the mean [B, D] of each text's token vectors."""
        encoded = self._tokenizer.encode_batch(list(texts))
        ids_BT = np.array([one.ids for one in encoded], np.int64)
        mask_BT = np.array([one.attention_mask for one in encoded], np.int64)
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT}
        (hidden_BTD,) = self._session.run(None, inputs)
        weights_BT1 = mask_BT[:, :, None].astype(np.float32)
        summed_BD = (hidden_BTD * weights_BT1).sum(axis=1)
        pooled_BD: Vectors = summed_BD / np.maximum(weights_BT1.sum(axis=1), 1e-9)
        return pooled_BD
