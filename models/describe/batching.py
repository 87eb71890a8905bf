"""How many questions a model is asked at once: bounded by tokens, halved where memory runs out.

Keys and values of a batch, and the widest layer over all of its tokens, must fit beside the
weights. The bound is computed once from the free memory of a GPU; it is an estimate, so a batch
that does not fit is cut in half, and the smaller bound is remembered.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fdvs.models.weights.loading import is_out_of_memory

# Where free memory is not asked for (a CPU, an Apple GPU): four clips of eight pictures of SmolVLM.
OTHER_TOKENS = 8_192
MIN_TOKENS = 2_048
# Of what is free beside the weights; the vision tower and the allocator's gaps need the rest.
SHARE_OF_FREE = 0.5

T = TypeVar("T")
R = TypeVar("R")

logger = logging.getLogger(__name__)


class TokenBound:
    """The most tokens (prompt and reply, over all rows) of one batch."""

    def __init__(self, max_tokens: int, *, name: str) -> None:
        self.max_tokens = max_tokens
        self._name = name

    def num_rows(self, tokens_per_row: int, *, most: int) -> int:
        """Return how many rows of a size fit into one batch: at least one, at most `most`."""
        return max(1, min(most, self.max_tokens // max(1, tokens_per_row)))

    def halve(self, num_rows: int, tokens_per_row: int) -> None:
        """Remember that a batch did not fit: from now on half of its rows."""
        self.max_tokens = (num_rows // 2) * tokens_per_row
        logger.warning(
            "%s: a batch of %d questions with %d tokens each did not fit into the memory; from now "
            "on at most %d at a time",
            self._name, num_rows, tokens_per_row, num_rows // 2,
        )  # fmt: skip

    def in_batches(
        self,
        items: Sequence[T],
        ask: Callable[[Sequence[T]], Sequence[R]],
        *,
        tokens_per_row: int,
        most: int,
    ) -> list[R]:
        """Return `ask` of all items, in batches; one that does not fit is asked again in halves.

        Raises what `ask` raises, where memory runs out for a single item, too.
        """
        done: list[R] = []
        while len(done) < len(items):
            num_rows = self.num_rows(tokens_per_row, most=most)
            batch = items[len(done) : len(done) + num_rows]
            try:
                done += ask(batch)
                continue
            except Exception as error:
                if len(batch) == 1 or not _ran_out(error):
                    raise
            # outside of `except`: the error holds the tensors of the batch
            self.halve(len(batch), tokens_per_row)
            _free_memory()
        return done


def token_bound(model: Any, wanted: int | None, *, name: str) -> TokenBound:
    """Return the bound for a model of transformers: `wanted`, or without it what its device has."""
    max_tokens = wanted or _fitting(model)
    logger.info("%s: at most %d tokens in a batch", name, max_tokens)
    return TokenBound(max_tokens, name=name)


def bytes_per_token(config: Any, itemsize: int) -> int:
    """Return what a token of a decoder costs: keys and values of all layers, and its widest layer.

    `config` is the text part of a model's config; `itemsize` the bytes of a number.
    """
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    kept = 2 * config.num_hidden_layers * key_heads * head_dim
    inner = getattr(config, "intermediate_size", None) or 4 * config.hidden_size
    return int((kept + 3 * inner + 8 * config.hidden_size) * itemsize)


def _fitting(model: Any) -> int:
    import torch

    if model.device.type != "cuda":
        return OTHER_TOKENS
    num_free, _ = torch.cuda.mem_get_info(model.device)
    try:
        cost = bytes_per_token(model.config.get_text_config(decoder=True), model.dtype.itemsize)
    except (AttributeError, TypeError):
        logger.info("%s: its config does not say what a token costs", type(model).__name__)
        return OTHER_TOKENS
    return max(MIN_TOKENS, int(SHARE_OF_FREE * num_free) // cost)


def _ran_out(error: BaseException) -> bool:
    return is_out_of_memory(error) or (
        error.__cause__ is not None and is_out_of_memory(error.__cause__)
    )


def _free_memory() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
