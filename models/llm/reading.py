"""A text that a language model has read, ready for many questions.

Holds the keys and values of a prompt's fixed part. A question works on a fork of them, so that
each pays only for its own tokens and sees nothing of the others. Options are scored in one pass.

Shapes: N options, L tokens of the longest option but its last, Q the same of all together, T
tokens before, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fdvs.models.llm.chat import Opening
from fdvs.protocols import Completion, OptionScore

if TYPE_CHECKING:
    from torch import Tensor

    from fdvs.models.llm.writer import LocalLanguageModel


class LocalReadPrompt:
    """A ReadPrompt of a local model. `cache` is the model's, filled with the opening's tokens.

    `reused` says that it was not read now, but came from a `ReadingCache`; `read_twice` of its
    tokens were judged by rereading.
    """

    def __init__(
        self, writer: LocalLanguageModel, opening: Opening, cache: Any, *, reused: bool = False
    ) -> None:
        self.num_tokens = len(opening.ids)
        self.reused = reused
        self.opening = opening
        self.cache = cache
        self.read_twice = writer.tokens_read_twice(self.num_tokens, cache)
        self._writer = writer

    def write(
        self, rest: str, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        """Answer `rest` greedily. Raises ModelError where it does not fit the context."""
        ids = self._writer.chat.following(rest, self.opening)
        return self._writer.go_on(
            [*self.opening.ids, *ids], fork(self.cache), max_tokens=max_tokens, on_text=on_text,
            read_twice=self.read_twice,
        )  # fmt: skip

    def score(self, rest: str, options: Sequence[str]) -> tuple[OptionScore, ...]:
        """Return the likelihood of each option as the answer to `rest`, without an end token.

        Raises ModelError where it does not fit the context, or an option holds no token.
        """
        chat = self._writer.chat
        option_ids = [chat.option_ids(option) for option in options]
        if not option_ids:
            return ()
        ids = chat.following(rest, self.opening)
        self._writer.check_fits(self.num_tokens + len(ids), max(map(len, option_ids)))
        cache = fork(self.cache)
        with self._writer.model_errors():
            sums = option_log_probs(self._writer.model, cache, ids, option_ids)
        self._writer.note_attention(cache, read_twice=self.read_twice)
        return tuple(
            OptionScore(log_prob=log_prob, num_tokens=len(tokens))
            for log_prob, tokens in zip(sums, option_ids, strict=True)
        )


def fork(cache: Any, rows: int = 1) -> Any:
    """Return a cache of one row that goes on from here on its own, `rows` times; tensors shared."""
    if hasattr(cache, "fork"):
        return cache.fork(rows)
    made = copy.copy(cache)
    made.layers = [_forked(layer) for layer in cache.layers]
    if rows > 1:
        made.batch_repeat_interleave(rows)
    return made


def _forked(layer: Any) -> Any:
    """Copy a stock layer: the usual kinds replace their tensors and never write into them."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    if type(layer) in (DynamicLayer, DynamicSlidingWindowLayer):
        return copy.copy(layer)
    return copy.deepcopy(layer)


def empty_cache(model: Any) -> Any:
    """Return the cache that fits a model's attention: grouped, or the stock one."""
    from transformers import DynamicCache

    from fdvs.models.llm.attention import NAME, make_cache

    text = model.config.get_text_config()
    return make_cache(model) if text._attn_implementation == NAME else DynamicCache(config=text)


def read_ahead(model: Any, ids: Sequence[int], cache: Any) -> Tensor:
    """Read tokens into a cache; return the logits after the last one [V], float32."""
    import torch

    with torch.no_grad():
        out = model(
            input_ids=torch.tensor([list(ids)], device=model.device),
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
    logits_V: Tensor = out.logits[0, -1].float()
    return logits_V


def option_log_probs(
    model: Any, cache: Any, ids: Sequence[int], options: Sequence[Sequence[int]]
) -> list[float]:
    """Return the summed log probability of each option's tokens after the cache and `ids`.

    Reads `ids` once, into `cache`, then all options in one pass.
    """
    import torch

    first_V = read_ahead(model, ids, cache).log_softmax(-1)
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
    import torch

    log_probs_LV = logits_LV.float().log_softmax(-1)
    at = torch.tensor(tokens, device=logits_LV.device)[:, None]
    return float(log_probs_LV.gather(1, at).sum())


def _is_plain(cache: Any) -> bool:
    """Whether every layer is a stock one that keeps all tokens, so that a mask can tell all."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _packed(model: Any, cache: Any, options: Sequence[Tensor]) -> list[Tensor]:
    """Read the options one behind the other, each blind for the others; logits [L, V] of each."""
    import torch

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
    """Read the options as rows of a batch; logits [L, V] of each.

    Shorter ones are filled up at the end, where causal attention lets nobody look.
    """
    import torch

    ids_NL = torch.nn.utils.rnn.pad_sequence([option[:-1] for option in options], batch_first=True)
    many = fork(cache, len(options))
    logits_NLV = model(input_ids=ids_NL, past_key_values=many, use_cache=True).logits
    return [logits_NLV[row, : len(option) - 1] for row, option in enumerate(options)]


class Pieces:
    """Hands an answer on as it is written; a streamer of `generate`.

    Pieces joined are the whole answer, stripped: half characters and space that may turn out to
    be the last wait for what follows.
    """

    def __init__(self, text_of: Callable[[list[int]], str], on_text: Callable[[str], None]) -> None:
        self._text_of = text_of
        self._on_text = on_text
        self._tokens: list[int] | None = None
        self._told = 0

    def put(self, tokens: Tensor) -> None:
        """Take the prompt (the first call) or the next token."""
        if self._tokens is None:
            self._tokens = []
            return
        self._tokens.extend(int(token) for token in tokens.flatten())
        self._tell(self._text_of(self._tokens).rstrip("\ufffd"))

    def end(self) -> None:
        """Tell what was held back."""
        self._tell(self._text_of(self._tokens or []))

    def _tell(self, text: str) -> None:
        text = text.strip()
        if len(text) > self._told:
            self._on_text(text[self._told :])
            self._told = len(text)
