"""The grouped KV cache as transformers' `past_key_values`; created by `attention.make_cache`.

Wraps a `DGACache` of `fdvs.kernels.dga`, layer by layer. A cache layer returns the new keys with
itself attached, and the attention appends them to it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

from fdvs.kernels.dga import DGACache, DGALayerCache, HeadsCache

#: Attribute by which the new keys carry their cache layer to the attention.
LAYER = "_fdvs_dga_layer"


@cache
def cache_classes() -> tuple[type[Any], type[Any]]:
    """Return (layer class, cache class), defined on first use to import transformers lazily."""
    from transformers.cache_utils import Cache, CacheLayerMixin

    class GroupedLayer(CacheLayerMixin):  # type: ignore[misc]  # untyped library
        """One layer: returns the new keys tagged with itself; `attend` appends them."""

        is_sliding = False
        is_croppable = False
        supports_early_init = False

        def __init__(
            self,
            state: DGALayerCache | HeadsCache,
            slots: int = 0,
            passage: range | None = None,
        ) -> None:
            super().__init__()
            self.state = state
            self.passage = passage
            self.scores_BKC: Tensor | None = None
            self.slots = self.appended = slots
            self.is_initialized = slots > 0
            self.record_past = False

        def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
            self.is_initialized = True

        def update(
            self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
        ) -> tuple[Tensor, Tensor]:
            self.is_initialized = True
            self.slots += key_states.shape[2]
            self.state.recording = self.record_past
            setattr(key_states, LAYER, self)
            return key_states, value_states

        def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
            return self.slots + query_length, 0

        def get_seq_length(self) -> int:
            return self.slots

        def get_max_length(self) -> int:
            return -1

        def reset(self) -> None:
            self.state.reset()
            self.slots = self.appended = 0

        def activate_past_recording(self) -> None:
            """Called before drafts are read: the last forward can then be taken back."""
            self.record_past = True

        def crop(self, tokens_to_remove: int) -> None:
            if not tokens_to_remove:
                return
            try:
                self.state.crop(abs(tokens_to_remove))
            except ValueError as error:
                raise ValueError(
                    f"{error}. A model that only drafts (assistant_model=) takes back more than "
                    "one forward: load it with attn_implementation='sdpa'"
                ) from error
            self.slots -= abs(tokens_to_remove)
            self.appended = self.slots

        def reorder_cache(self, beam_idx: Tensor) -> None:
            self.state.reorder(beam_idx)

        def batch_select_indices(self, indices: Tensor) -> None:
            self.state.reorder(indices)

        def batch_repeat_interleave(self, repeats: int) -> None:
            rows = torch.arange(self.state.num_rows)
            self.state.reorder(rows.repeat_interleave(repeats))

        def offload(self) -> None:
            raise NotImplementedError("a grouped cache is small and stays on its device")

    class GroupedCache(Cache):  # type: ignore[misc]  # untyped library
        """The layers of a model; `store` holds their tensors.

        With a `passage` (positions of cached tokens) nothing is appended: the next tokens repeat
        the passage, and each layer's `scores_BKC` hold the attention that its tokens received.
        """

        def __init__(self, store: DGACache, slots: list[int], passage: range | None = None) -> None:
            self.store = store
            layers = [GroupedLayer(store.layer(i), n, passage) for i, n in enumerate(slots)]
            super().__init__(layers=layers)

        def num_bytes(self) -> dict[str, int]:
            """Return the bytes held, by part."""
            return self.store.num_bytes()

        @property
        def num_seen(self) -> list[int]:
            """Tokens of each row, without padding."""
            return self.store.layer(0).num_seen

        def adopt(self, store: DGACache) -> None:
            """Switch to another store of the same tokens."""
            self.store = store
            for index, layer in enumerate(self.layers):
                layer.state = store.layer(index)

        def rereading(self, passage: range) -> GroupedCache:
            """Return a view of this cache for tokens that repeat a passage of it."""
            return GroupedCache(self.store, [layer.slots for layer in self.layers], passage)

        def fork(self, rows: int = 1) -> GroupedCache:
            """Return an independent continuation of this cache; see `DGACache.fork`."""
            return GroupedCache(self.store.fork(rows), [layer.slots for layer in self.layers])

    return GroupedLayer, GroupedCache
