"""A gate: a linear map from hidden states to the score that a second reading would give a token.

    fit = GateFit(model); fit.add(ids, instruction=instruction, most_positions=context)
    fit.solve().write(path)                                  # minutes on a CPU, no gradients
    for hidden in read_gated(model, ids_L, cache, read_gate(path)): ...

A text that is read twice costs twice the time (`rereading.py`). What the second reading finds can
be predicted from what a layer sees of a token (after KVzap, arXiv 2601.07891, and Fast KVzip, arXiv
2601.17668). Every chunk leaves a given number of tokens of each key head, so only the order within
a chunk matters: the regression is on differences to the chunk's mean. A prediction is not the
second reading: decision 036 says what it loses.

Shapes: L tokens, E hidden size, K key heads, C tokens of a passage, n chunks of T tokens.
"""

# ruff: noqa: N815 (names of tensors carry their shapes)
from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, unflatten

from fdvs.errors import InvalidValue
from fdvs.kernels.dga import DGALayerCache, full_config
from fdvs.models.llm.attention import make_cache
from fdvs.models.llm.rereading import LEAD_TOKENS, MOST_TOKENS, passage_tokens, reread_passage

#: What a gate's file bears after its plan's name.
SUFFIX = ".gate.safetensors"
FORMAT, NAME = "fdvs-attention-gate-1", "weights"
MOST_BYTES = 2**28
#: Strength of the ridge, as a share of the mean variance of a feature.
RIDGE = 1e-2
#: Attention below this counts as this: differences among tokens that nobody attends to are noise.
LEAST_ATTENTION = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Weights [layers, K, E], float32: how a key head's score of a token depends on its state."""

    weights_NKE: Tensor

    def scores(self, layer: int, hidden_BLE: Tensor) -> Tensor:
        """Return scores [B, K, L], positive: larger for what a repetition would attend to."""
        weights_KE = self.weights_NKE[layer].to(hidden_BLE.device)
        logs_BLK = features(hidden_BLE) @ weights_KE.T
        scores_BKL: Tensor = logs_BLK.transpose(1, 2).clamp(-60, 60).exp()
        return scores_BKL

    def digest(self) -> str:
        """Return a hash of the weights: what is kept of a text depends on them."""
        return hashlib.sha256(self.weights_NKE.numpy().tobytes()).hexdigest()

    def write(self, path: Path) -> None:
        """Write the gate as safetensors."""
        from safetensors.torch import save_file

        save_file({NAME: self.weights_NKE.contiguous()}, path, metadata={"format": FORMAT})


def read_gate(path: Path) -> Gate:
    """Read a gate. Raises ValueError for anything else, or too large a file."""
    from safetensors import SafetensorError, safe_open

    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise ValueError(f"no regular file of at most {MOST_BYTES} bytes")
        with safe_open(path, framework="pt") as file:
            if (file.metadata() or {}).get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}")
            weights_NKE: Tensor = file.get_tensor(NAME)
    except (OSError, SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is no gate ({str(error)[:200]}); write one with scripts/plan_attention.py "
            "--gate"
        ) from error
    if weights_NKE.dim() != 3 or weights_NKE.dtype != torch.float32:
        raise ValueError(f"{path} holds {weights_NKE.dtype} {tuple(weights_NKE.shape)}, no gate")
    if not bool(weights_NKE.isfinite().all()):
        raise ValueError(f"{path} holds weights that are not finite; write it again")
    return Gate(weights_NKE=weights_NKE)


def gate_for(model: Any, path: Path) -> Gate:
    """Read a gate for a model. Raises InvalidValue for another file, or another model's gate."""
    try:
        gate = read_gate(path)
    except ValueError as error:
        raise InvalidValue("gate", str(path), f"a gate ({error})") from None
    text = model.config.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    wanted = (text.num_hidden_layers, heads, text.hidden_size)
    if (given := tuple(gate.weights_NKE.shape)) != wanted:
        raise InvalidValue(
            "gate", str(path),
            f"one of this model's {wanted} (layers, key heads, hidden size); this has {given}",
        )  # fmt: skip
    return gate


def gate_beside(plan: Path) -> Path | None:
    """Return the gate's file beside a plan's, if there is one."""
    gate = plan.with_suffix(SUFFIX)
    return gate if gate.exists() else None


def features(hidden_BLE: Tensor) -> Tensor:
    """Return hidden states of unit mean square, float32: what a layer's own norm makes of them."""
    wide_BLE = hidden_BLE.detach().float()
    return wide_BLE * wide_BLE.square().mean(-1, keepdim=True).clamp_min(1e-12).rsqrt()


def read_gated(model: Any, ids_L: Tensor, cache: Any, gate: Gate) -> Iterator[Tensor]:
    """Read a text once into an empty grouped cache; the gate decides what is kept.

    The caller must consume all of it. Of a last incomplete passage the tokens that follow decide.

    Yields:
        Hidden states [1, passage, E] after the last layer.

    Raises:
        ValueError: settings that take no scores (`rereading.why_not`).
    """
    size = passage_tokens(cache)
    for first in range(0, len(ids_L), size):
        last_BLE, hidden = _hidden(model, ids_L[first : first + size], cache)
        yield last_BLE
        if last_BLE.shape[1] < size:
            return
        for index, layer in enumerate(cache.layers):
            layer.state.commit(gate.scores(index, hidden[index]))


class GateFit:
    """Collects what a ridge regression needs: products of features and scores, by layer."""

    def __init__(self, model: Any, *, chunk: int = 160) -> None:
        """Start empty; `chunk` is that of the settings that the gate will serve."""
        self._model, self._chunk = model, chunk
        self._products: list[tuple[Tensor, Tensor]] = []
        self.num_tokens = 0

    def add(self, ids: Sequence[int], *, instruction: Sequence[int], most_positions: int) -> None:
        """Read a text in full, each passage twice, and add its tokens.

        A token's target is the logarithm of the most attention that its repetition gives it, times
        the size of its value: what it can change.

        Raises:
            ValueError: a text shorter than a chunk.
        """
        size = max(1, min(MOST_TOKENS, len(ids)) // self._chunk) * self._chunk
        cache = make_cache(self._model, full_config(), layer_configs={})
        room = most_positions - len(instruction) - LEAD_TOKENS - size
        stop = min(len(ids), room) // self._chunk * self._chunk
        if stop <= 0:
            raise ValueError(
                f"of {len(ids)} tokens {room} at most fit the context twice, less than a chunk of "
                f"{self._chunk}; give longer texts, or another chunk"
            )
        ids_L = torch.tensor(list(ids[:stop]))
        for first in range(0, stop, size):
            passage = range(first, min(first + size, stop))
            _, hidden = _hidden(self._model, ids_L[passage.start : passage.stop], cache)
            scores = reread_passage(self._model, ids_L, cache, passage, instruction)
            for index, layer in enumerate(cache.layers):
                self._add(index, hidden[index], _target(layer.state, scores[index], passage))
            self.num_tokens += len(passage)

    def solve(self, ridge: float = RIDGE) -> Gate:
        """Return the gate. Raises ValueError where nothing was added."""
        if not self._products:
            raise ValueError("no text was added; give texts of at least a chunk")
        weights = []
        for square_EE, cross_EK in self._products:
            strength = ridge * float(square_EE.diagonal().mean())
            penalty_EE = strength * torch.eye(len(square_EE), dtype=square_EE.dtype)
            weights.append(torch.linalg.solve(square_EE + penalty_EE, cross_EK).T.float())
        return Gate(weights_NKE=torch.stack(weights))

    def _add(self, index: int, hidden_BLE: Tensor, target_BKC: Tensor) -> None:
        x_LE = self._centred(features(hidden_BLE)[0])
        y_LK = self._centred(target_BKC[0].T)
        square_EE, cross_EK = (x_LE.T @ x_LE).double().cpu(), (x_LE.T @ y_LK).double().cpu()
        if index == len(self._products):
            self._products.append((square_EE, cross_EK))
            return
        squares_EE, crosses_EK = self._products[index]
        squares_EE += square_EE
        crosses_EK += cross_EK

    def _centred(self, x_LX: Tensor) -> Tensor:
        chunks_nTX = unflatten(x_LX, 0, (-1, self._chunk))
        centred_LX: Tensor = (chunks_nTX - chunks_nTX.mean(1, keepdim=True)).flatten(0, 1)
        return centred_LX


def _target(layer: DGALayerCache, scores_BKC: Tensor, passage: range) -> Tensor:
    state = layer.states[0]
    assert state is not None  # the passage was read
    values_BKCE = state.v_BKRE[:, :, passage.start : passage.stop].float()
    sizes_BKC = values_BKCE.norm(dim=-1).clamp_min(1e-6)
    target_BKC: Tensor = scores_BKC.float().clamp_min(LEAST_ATTENTION).log() + sizes_BKC.log()
    return target_BKC


def _hidden(model: Any, ids_L: Tensor, cache: Any) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Read tokens; return the last hidden states and what each layer was given, [1, L, E] each."""
    with torch.no_grad():
        out = model.base_model(
            input_ids=ids_L[None].to(model.device), past_key_values=cache, use_cache=True,
            output_hidden_states=True,
        )  # fmt: skip
    return out.last_hidden_state, out.hidden_states[: len(cache.layers)]
