"""One step of `stream` mode: append tokens to the state, commit the chunks that are due, attend.

Takes a state (None at the start) and new queries, keys and values of rows of equal length, gives
the output and the next state. A prefill is one append to an empty state and a decode step is an
append of one token, so both run the same code. States are never changed in place.

Shapes: B rows, H query heads, K key heads, Q new tokens, R raw tokens, J kept queries, D head
dim, E value dim, S scored tokens.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, unflatten

from fdvs.kernels.dga.append_buffer import appended
from fdvs.kernels.dga.backends import EAGER, Backend
from fdvs.kernels.dga.commit import best_units, build_units, first_query_needed
from fdvs.kernels.dga.config import DGAConfig
from fdvs.kernels.dga.eager import one_thread
from fdvs.kernels.dga.unit_set import AttendInputs, StreamState, Units


def append(
    state: StreamState | None,
    q_BHQD: Tensor,
    k_BKQD: Tensor,
    v_BKQE: Tensor,
    *,
    config: DGAConfig,
    scale: float,
    return_lse: bool = False,
    backend: Backend = EAGER,
) -> tuple[Tensor, Tensor | None, StreamState]:
    """Append tokens and attend from them.

    Args:
        backend: what attends, and scores chunks if it can; torch builds the units.

    Returns:
        Output [B, H, Q, E], log-sum-exp [B, H, Q] or None, and the next state.
    """
    with one_thread(q_BHQD.device) as threads:
        full = grow(
            state, q_BHQD, k_BKQD, v_BKQE, config=config, scale=scale,
            backend=backend, threads=threads,
        )  # fmt: skip
    inputs = AttendInputs(
        q_BHQD=q_BHQD, units=full.units, k_BKRD=full.k_BKRD, v_BKRE=full.v_BKRE,
        q_start=full.num_seen - q_BHQD.shape[2], raw_start=full.raw_start,
        config=config, scale=scale, return_lse=return_lse,
    )  # fmt: skip
    out, lse = backend.attend(inputs)
    with one_thread(q_BHQD.device):
        return out, lse, trim(full, config)


def grow(
    state: StreamState | None, q_BHQD: Tensor, k_BKQD: Tensor, v_BKQE: Tensor, *,
    config: DGAConfig, scale: float, backend: Backend = EAGER,
    threads: int = 1,
) -> StreamState:  # fmt: skip
    """Add the tokens and build the units of every chunk that is due; evict nothing yet."""
    state = _joined(state, q_BHQD, k_BKQD, v_BKQE)
    due = config.chunks_built(state.num_seen)
    if due <= state.num_built:
        return state
    new = build_units(
        state, range(state.num_built, due), config=config, scale=scale,
        score_chunks=backend.score_chunks, threads=threads,
    )  # fmt: skip
    return _with_units(state, new, due)


def commit_scored(state: StreamState, scores_BKS: Tensor, *, config: DGAConfig) -> StreamState:
    """Build the units of the next chunks from given scores.

    Queries see them from the chunk's commit time on, as if its own judges had scored it.

    Args:
        scores_BKS: scores of the tokens from the first chunk without units on, whole chunks.

    Raises:
        ValueError: no whole chunks, tokens that have not arrived, or settings that pool.
    """
    if config.is_dense:
        return state
    count, left = divmod(scores_BKS.shape[2], config.chunk)
    chunks = range(state.num_built, state.num_built + count)
    if left or not count or chunks.stop * config.chunk > state.num_seen:
        first = state.num_built * config.chunk
        raise ValueError(
            f"{scores_BKS.shape[2]} scores were given; {state.num_seen - first} tokens are not yet "
            f"committed, from position {first} on: score whole chunks of {config.chunk} of them"
        )
    if config.pool:
        raise ValueError(
            "pool=True weighs the members of a group by their judges' attention; given scores "
            "need pool=False"
        )
    new = best_units(state, unflatten(scores_BKS, 2, (count, config.chunk)), chunks, config)
    return trim(_with_units(state, new, chunks.stop), config)


def _with_units(state: StreamState, new: Units, num_built: int) -> StreamState:
    units = new if state.units is None else Units.concatenate([state.units, new])
    return replace(state, units=units, num_built=num_built)


def trim(state: StreamState, config: DGAConfig) -> StreamState:
    """Evict raw tokens that later queries see as units, and queries that no commit will need."""
    if config.is_dense:
        return replace(state, q_BHJD=state.q_BHJD[:, :, :0], q_start=state.num_seen)
    raw_start = max(state.raw_start, config.chunks_visible(state.num_seen) * config.chunk)
    # the query at num_seen comes next: chunks it sees as units are never read raw again,
    # unless their commit is that very query's
    raw_start = min(raw_start, state.num_built * config.chunk)
    q_start = min(state.num_seen, max(state.q_start, first_query_needed(config, state.num_built)))
    cut, q_cut = raw_start - state.raw_start, q_start - state.q_start
    if cut:
        state = replace(state, k_buffer=None, v_buffer=None)
    return replace(
        state, raw_start=raw_start, q_start=q_start,
        k_BKRD=_kept(state.k_BKRD, cut), v_BKRE=_kept(state.v_BKRE, cut),
        q_BHJD=_kept(state.q_BHJD, q_cut),
    )  # fmt: skip


def _joined(
    state: StreamState | None, q_BHQD: Tensor, k_BKQD: Tensor, v_BKQE: Tensor
) -> StreamState:
    if state is None:
        return StreamState(
            num_seen=k_BKQD.shape[2], num_built=0, units=None, raw_start=0, k_BKRD=k_BKQD,
            v_BKRE=v_BKQE, q_start=0, q_BHJD=q_BHQD,
        )  # fmt: skip
    k_BKRD, k_buffer = appended(state.k_BKRD, k_BKQD, state.k_buffer)
    v_BKRE, v_buffer = appended(state.v_BKRE, v_BKQE, state.v_buffer)
    return replace(
        state, num_seen=state.num_seen + k_BKQD.shape[2],
        k_BKRD=k_BKRD, v_BKRE=v_BKRE, k_buffer=k_buffer, v_buffer=v_buffer,
        q_BHJD=torch.cat((state.q_BHJD, q_BHQD), 2),
    )  # fmt: skip


def _kept(x_BXRD: Tensor, cut: int) -> Tensor:
    """Drop the first tokens and free their memory."""
    return x_BXRD[:, :, cut:].clone() if cut else x_BXRD
