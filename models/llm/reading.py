"""A prompt's fixed part, prefilled once, ready for many questions.

Holds the KV cache of the opening. Each question works on a fork of it, so it pays only for its own
tokens and sees nothing of other questions. Options are scored in one pass.

Shapes: N options, L tokens of the longest option without its last, Q those of all options
together, T tokens before, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from fdvs.models.llm.chat import Opening
from fdvs.models.llm.engine import Engine, prefill
from fdvs.protocols import Completion, OptionScore


class LocalReadPrompt:
    """A ReadPrompt of a local model; `cache` is the KV cache after the opening's tokens.

    `reused`: it came from a `ReadingCache` instead of being prefilled now. `read_twice`: how many
    of its tokens were read twice.
    """

    def __init__(
        self, engine: Engine, opening: Opening, cache: Any, *, reused: bool = False
    ) -> None:
        self.num_tokens = len(opening.ids)
        self.reused = reused
        self.opening = opening
        self.cache = cache
        self.read_twice = engine.num_read_twice(self.num_tokens, cache)
        self._engine = engine

    def write(
        self, rest: str, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        """Answer `rest` greedily. Raises ModelError where it does not fit the context."""
        ids = self._engine.chat.following(rest, self.opening)
        return self._engine.decode(
            [*self.opening.ids, *ids], fork(self.cache), max_tokens=max_tokens, on_text=on_text,
            read_twice=self.read_twice,
        )  # fmt: skip

    def score(self, rest: str, options: Sequence[str]) -> tuple[OptionScore, ...]:
        """Return the log likelihood of each option as the answer to `rest`, without an end token.

        Raises ModelError where it does not fit the context, or an option has no token.
        """
        chat = self._engine.chat
        option_ids = [chat.option_ids(option) for option in options]
        if not option_ids:
            return ()
        ids = chat.following(rest, self.opening)
        self._engine.check_fits(self.num_tokens + len(ids), max(map(len, option_ids)))
        cache = fork(self.cache)
        with self._engine.model_errors():
            sums = option_log_probs(self._engine.model, cache, ids, option_ids)
        self._engine.note_attention(cache, read_twice=self.read_twice)
        return tuple(
            OptionScore(log_prob=log_prob, num_tokens=len(tokens))
            for log_prob, tokens in zip(sums, option_ids, strict=True)
        )


def fork(cache: Any, rows: int = 1) -> Any:
    """Return a copy of a one-row cache, repeated to `rows` rows; tensors are shared."""
    if hasattr(cache, "fork"):
        return cache.fork(rows)
    forked = copy.copy(cache)
    forked.layers = [_forked(layer) for layer in cache.layers]
    if rows > 1:
        forked.batch_repeat_interleave(rows)
    return forked


def _forked(layer: Any) -> Any:
    """Copy a stock layer; the usual kinds replace their tensors and never write into them."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):
        return copy.copy(layer)
    return copy.deepcopy(layer)


def option_log_probs(
    model: Any, cache: Any, ids: Sequence[int], options: Sequence[Sequence[int]]
) -> list[float]:
    """Return the summed log probability of each option's tokens after the cache and `ids`.

    Reads `ids` once, into `cache`, then all options in one pass.
    """
    first_V = prefill(model, ids, cache).log_softmax(-1)
    sums = [float(first_V[option[0]]) for option in options]
    longer = [at for at, option in enumerate(options) if len(option) > 1]
    if not longer:
        return sums
    score = _packed if _is_plain(cache) else _in_rows
    with torch.no_grad():
        all_logits = score(
            model, cache, [torch.tensor(options[at], device=model.device) for at in longer]
        )
    for at, logits_LV in zip(longer, all_logits, strict=True):
        sums[at] += _picked(logits_LV, options[at][1:])
    return sums


def _picked(logits_LV: Tensor, tokens: Sequence[int]) -> float:
    log_probs_LV = logits_LV.float().log_softmax(-1)
    at = torch.tensor(tokens, device=logits_LV.device)[:, None]
    return float(log_probs_LV.gather(1, at).sum())


def _is_plain(cache: Any) -> bool:
    """Whether every layer is a stock one that keeps all tokens, so that a mask can hide some."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _packed(model: Any, cache: Any, options: Sequence[Tensor]) -> list[Tensor]:
    """Read the options in one row, each masked from the others; return logits [L, V] of each."""
    lengths = [len(option) - 1 for option in options]
    before = cache.get_seq_length()
    owner_Q = torch.repeat_interleave(torch.arange(len(options)), torch.tensor(lengths))
    own_QQ = (owner_Q[:, None] == owner_Q[None]).tril()
    seen_QT = torch.ones(len(owner_Q), before, dtype=torch.bool)
    positions = torch.cat([torch.arange(before, before + length) for length in lengths])
    logits_QV = model(
        input_ids=torch.cat([option[:-1] for option in options])[None],
        attention_mask=torch.cat((seen_QT, own_QQ), 1)[None, None].to(model.device),
        position_ids=positions[None].to(model.device),
        past_key_values=cache,
        use_cache=True,
    ).logits[0]
    return list(logits_QV.split(lengths))


def _in_rows(model: Any, cache: Any, options: Sequence[Tensor]) -> list[Tensor]:
    """Read the options as rows of a batch; return logits [L, V] of each.

    Shorter options are padded at the end, which is invisible under causal attention.
    """
    ids_NL = torch.nn.utils.rnn.pad_sequence([option[:-1] for option in options], batch_first=True)
    many = fork(cache, len(options))
    logits_NLV = model(input_ids=ids_NL, past_key_values=many, use_cache=True).logits
    return [logits_NLV[row, : len(option) - 1] for row, option in enumerate(options)]
