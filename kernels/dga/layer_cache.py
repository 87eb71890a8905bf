"""The cache of one layer: units, the raw tail, and the queries that later commits need.

Passed to `dga_attention(..., cache=)`. Tokens are only ever appended; several at once equal one by
one. Rows of equal length share one state; once their lengths differ each row has its own.

Shapes: B rows, H query heads, K key heads, L new tokens, S scored tokens, D head dim, E value dim.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from fdvs.kernels.dga.backends import EAGER, Backend
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.inputs import Spans, over_spans, row_groups
from fdvs.kernels.dga.stream import append, commit_scored
from fdvs.kernels.dga.unit_set import StreamState, Units

#: The parts that `num_bytes` counts.
PARTS = ("units", "raw", "queries", "spare")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Appended:
    """The last append, with the states before it: enough to append fewer of its tokens instead."""

    states: list[StreamState | None]
    q_BHLD: Tensor
    k_BKLD: Tensor
    v_BKLE: Tensor
    spans: Spans
    scale: float
    backend: Backend

    def without(self, num_tokens: int) -> Spans | None:
        """Return the rows' spans without their last tokens; None where a row has fewer."""
        spans = [(start, stop - num_tokens) for start, stop in self.spans]
        return None if any(stop < start for start, stop in spans) else spans


class DGALayerCache:
    """The state of one attention layer for a batch of rows.

    Attributes:
        recording: whether the last append can be taken back, in part or whole, even where it
            committed chunks: `crop` then returns to the states before it and appends what is left
            of its tokens. Needed for drafts (assisted generation, prompt lookup), whose rejected
            tokens must not have judged a chunk. Holds the states before the last append.
    """

    def __init__(self, config: DGAConfig) -> None:
        """Start empty.

        Raises:
            ValueError: `config.select` is `global`, which scores whole prompts only.
        """
        if config.select == "global":
            raise ValueError("select='global' scores a whole prompt and has no cache; use 'stream'")
        self.config = config
        self.states: list[StreamState | None] = [None]
        self.recording = False
        self._last: _Appended | None = None

    @property
    def num_rows(self) -> int:
        """Rows of the batch, 0 while empty."""
        return sum(0 if s is None else s.k_BKRD.shape[0] for s in self.states)

    @property
    def num_seen(self) -> list[int]:
        """Tokens of each row so far, without padding."""
        return [
            state.num_seen
            for state in self.states
            if state is not None
            for _ in range(state.k_BKRD.shape[0])
        ]

    def state_configs(self, num_states: int) -> list[DGAConfig]:
        """Return one config for each of `num_states` states."""
        return [self.config] * num_states

    def append(
        self, q_BHLD: Tensor, k_BKLD: Tensor, v_BKLE: Tensor, *, spans: Spans, scale: float,
        return_lse: bool = False, backend: Backend = EAGER,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        """Append each row's span of the new tokens and attend from them.

        Returns:
            Output [B, H, L, E], zero outside the spans, and log-sum-exp [B, H, L] (-inf there).
        """
        self._fit_rows(q_BHLD.shape[0], len(set(spans)) > 1)
        self._last = None
        if self.recording:
            self._last = _Appended(
                states=list(self.states), q_BHLD=q_BHLD, k_BKLD=k_BKLD, v_BKLE=v_BKLE,
                spans=spans, scale=scale, backend=backend,
            )  # fmt: skip

        def run(index: int, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor | None]:
            out, lse, self.states[index] = append(
                self.states[index], q, k, v, config=self.config, scale=scale,
                return_lse=return_lse, backend=backend,
            )  # fmt: skip
            return out, lse

        groups = row_groups(spans, together=len(self.states) == 1)
        out, lse = over_spans(run, groups, q_BHLD, k_BKLD, v_BKLE)
        return out, lse if return_lse else None

    def commit(self, scores_BKS: Tensor) -> None:
        """Commit the next chunks by given scores, such as those of a rereading.

        Args:
            scores_BKS: from the first chunk that is not committed on, for whole chunks whose tokens
                have all arrived. Ignored where nothing is grouped.

        Raises:
            ValueError: no whole chunks, tokens that have not arrived, or settings that pool.
        """
        each = torch.split(scores_BKS, 1) if len(self.states) > 1 else [scores_BKS]
        self._last = None
        self.states = [
            None if state is None else commit_scored(state, scores, config=self.config)
            for state, scores in zip(self.states, each, strict=True)
        ]

    def crop(self, num_tokens: int) -> None:
        """Forget the last `num_tokens` tokens of every row.

        Raises:
            ValueError: they reach back past the last commit, whose raw tokens are evicted, and
                further than an append that was recorded.
        """
        if num_tokens < 0:
            raise ValueError(f"num_tokens={num_tokens} must not be negative")
        if self._last is not None and any(
            _too_far(s, num_tokens, self.config) for s in self.states
        ):
            self._take_back(self._last, num_tokens)
            return
        self.states = [_cropped(state, num_tokens, self.config) for state in self.states]
        self._last = None

    def _take_back(self, last: _Appended, num_tokens: int) -> None:
        """Return to the states before the last append, and append what is left of it."""
        spans = last.without(num_tokens)
        if spans is None:
            raise ValueError(
                f"cannot forget {num_tokens} tokens: chunks were committed, and the last append, "
                "which is all that was recorded, is shorter; read the text again"
            )
        self.states = list(last.states)
        if any(start < stop for start, stop in spans):
            self.append(
                last.q_BHLD, last.k_BKLD, last.v_BKLE, spans=spans, scale=last.scale,
                backend=last.backend,
            )  # fmt: skip

    def reset(self) -> None:
        """Forget everything."""
        self.states = [None]
        self._last = None

    def reorder(self, rows: Tensor | Sequence[int]) -> None:
        """Replace the batch by the given rows (beam search: with repeats)."""
        index = torch.as_tensor(rows, dtype=torch.long).flatten()
        self._last = None
        if len(self.states) == 1:
            self.states = [s if s is None else _select(s, index) for s in self.states]
        else:
            self.states = [self.states[i] for i in index.tolist()]

    def fork(self, rows: int = 1) -> DGALayerCache:
        """Return an independent cache that continues from here; nothing is copied.

        Args:
            rows: repeat the only row this many times, as views; 1 keeps the batch as it is.

        Raises:
            ValueError: `rows` with a batch of several rows.
        """
        if rows != 1 and self.num_rows != 1:
            raise ValueError(f"cannot repeat a batch of {self.num_rows} rows {rows} times; need 1")
        forked = DGALayerCache(self.config)
        forked.states = [s if s is None or rows == 1 else _spread(s, rows) for s in self.states]
        forked.recording = self.recording
        forked._last = self._last if rows == 1 else None
        return forked

    def num_bytes(self) -> dict[str, int]:
        """Return the bytes held, by part: units, raw tail, queries, spare slots."""
        parts = dict.fromkeys(PARTS, 0)
        for state in self.states:
            if state is None:
                continue
            if state.units is not None:
                parts["units"] += _size(
                    state.units.keys_BKND, state.units.values_BKNE, state.units.bias_BKN
                )
            parts["raw"] += _size(state.k_BKRD, state.v_BKRE)
            parts["queries"] += _size(state.q_BHJD)
            buffers = (state.k_buffer, state.v_buffer)
            parts["spare"] += sum(0 if one is None else one.spare_bytes for one in buffers)
        return parts

    def _fit_rows(self, rows: int, uneven: bool) -> None:
        if self.num_rows and rows != self.num_rows:
            raise ValueError(f"the cache holds {self.num_rows} rows, the call has {rows}")
        if not uneven or len(self.states) > 1:
            return
        state = self.states[0]
        self.states = [
            None if state is None else _select(state, torch.tensor([i])) for i in range(rows)
        ]


def _cropped(state: StreamState | None, num_tokens: int, config: DGAConfig) -> StreamState | None:
    if state is None or num_tokens == 0:
        return state
    left = state.num_seen - num_tokens
    least = _least_tokens(state, config)
    if left < least:
        raise ValueError(
            f"cannot forget {num_tokens} of {state.num_seen} tokens: the first {least} were needed "
            f"to commit chunks or to see them; forget at most {state.num_seen - least}, or read "
            "the text again"
        )
    if left == 0:
        return None
    raw, kept = left - state.raw_start, max(0, left - state.q_start)
    return replace(
        state, num_seen=left, q_start=min(state.q_start, left),
        k_BKRD=state.k_BKRD[:, :, :raw], v_BKRE=state.v_BKRE[:, :, :raw],
        q_BHJD=state.q_BHJD[:, :, :kept], k_buffer=None, v_buffer=None,
    )  # fmt: skip


def _too_far(state: StreamState | None, num_tokens: int, config: DGAConfig) -> bool:
    """Return whether a crop would leave fewer tokens than it must."""
    return state is not None and state.num_seen - num_tokens < _least_tokens(state, config)


def _least_tokens(state: StreamState, config: DGAConfig) -> int:
    """Return the number of tokens that a crop must leave.

    Those that a commit needed; and while raw tokens are evicted, so many that the next query sees
    their units instead of them.
    """
    due = config.chunks_built(state.num_seen)
    by_time = config.commit_time(due - 1) + 1 if due else 0
    early = state.num_built * config.chunk if state.num_built > due else 0  # by given scores
    evicted = state.raw_start // config.chunk
    unseen = max(config.dense_threshold, config.commit_time(evicted - 1)) if evicted else 0
    return max(by_time, early, unseen)


def _select(state: StreamState, index: Tensor) -> StreamState:
    index = index.to(state.k_BKRD.device)
    return _mapped(state, lambda x: x[index])


def _spread(state: StreamState, rows: int) -> StreamState:
    return _mapped(state, lambda x: x.expand(rows, *x.shape[1:]))


def _mapped(state: StreamState, change: Callable[[Tensor], Tensor]) -> StreamState:
    """Return the state with `change` applied to every tensor that has rows."""
    units = state.units
    if units is not None:
        units = Units(**{f.name: change(getattr(units, f.name)) for f in fields(Units)})
    return replace(
        state, units=units, k_BKRD=change(state.k_BKRD), v_BKRE=change(state.v_BKRE),
        q_BHJD=change(state.q_BHJD), k_buffer=None, v_buffer=None,
    )  # fmt: skip


def _size(*tensors: Tensor) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)
