"""A causal language model of transformers and its tokenizer: prefill and greedy decoding.

Takes token ids and a KV cache, gives completions, and records which attention ran. What uses it:
`local.py` (a whole prompt) and `reading.py` (a prompt that was prefilled once).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.llm.attention import NAME, describe_run, generate, make_cache
from fdvs.models.llm.attention_options import layer_settings_of, settings_of
from fdvs.models.llm.chat import Chat
from fdvs.models.llm.gate import Gate, read_gated
from fdvs.models.llm.rereading import INSTRUCTION, num_read_twice, read_into, why_not
from fdvs.models.weights.loading import MODEL_FAULTS, reason_of, stop_between_layers
from fdvs.protocols import Completion
from fdvs.types import ModelIdentity

# A checkpoint's repetition penalty punishes the words of the prompt: quoting would be least likely.
GREEDY: dict[str, Any] = {
    "do_sample": False, "temperature": None, "top_p": None, "top_k": None,
    "repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelOptions:
    """A card's options. `chat_template` (Jinja) is for checkpoints that have none of their own."""

    chat_template: str = ""
    context_tokens: int | None = None


class Engine:
    """Prefills prompts and decodes greedily; `attention` says which attention ran last, and why.

    `reread`: prompts of which tokens will be evicted are read twice (`rereading.py`). Else `gate`
    judges their tokens (`gate.py`), if there is one.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        identity: ModelIdentity,
        *,
        attention: str,
        why: str,
        options: LanguageModelOptions | None = None,
        reread: bool = True,
        gate: Gate | None = None,
    ) -> None:
        options = options or LanguageModelOptions()
        self.identity = identity
        self.attention = f"{attention} ({why})"
        self.model = model
        self.chat = Chat(tokenizer, name=identity.name, template=options.chat_template)
        self.context_tokens = options.context_tokens or context_tokens(model, tokenizer)
        self.reread = reread
        self.gate = gate
        self._why = why
        self._stops = stop_tokens(model, tokenizer)
        stop_between_layers(model)

    def check_fits(self, num_prompt_tokens: int, max_tokens: int) -> None:
        """Raise ModelError where a prompt and `max_tokens` to write exceed the context."""
        if num_prompt_tokens + max_tokens > self.context_tokens:
            raise ModelError(
                f"{self.identity.name}: a prompt of {num_prompt_tokens} tokens and {max_tokens} to "
                f"write exceed its context of {self.context_tokens}; shorten the prompt"
            )

    def prefill(self, ids: Sequence[int]) -> Any:
        """Return a KV cache of the tokens. Raises ModelError where they do not fit the context."""
        self.check_fits(len(ids), 1)
        with self.model_errors():
            cache = empty_cache(self.model)
            twice = self.num_read_twice(len(ids), cache)
            if twice:
                self._read_twice(ids, cache)
            elif self.is_gated(len(ids), cache):
                self._read_gated(ids, cache)
            else:
                prefill(self.model, ids, cache)
        self.note_attention(cache, read_twice=twice)
        return cache

    def decode(
        self,
        ids: list[int],
        cache: Any | None,
        *,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
        read_twice: int = 0,
    ) -> Completion:
        """Write greedily after a prompt; `cache` may hold its first tokens already.

        `read_twice` of them were read twice; `attention` mentions it.
        Raises ModelError where prompt and answer do not fit the context.
        """
        self.check_fits(len(ids), max_tokens)
        streamer = None if on_text is None else TextStreamer(self.chat.text, on_text)
        with self.model_errors():
            generated = generate(
                self.model,
                torch.tensor([ids], device=self.model.device),
                max_new_tokens=max_tokens,
                cache=cache,
                eos_token_id=self._stops,
                pad_token_id=self._stops[0],
                streamer=streamer,
                **GREEDY,
            )
        self._set_attention(generated.attention, read_twice)
        return self._completion(generated.new_tokens[0].tolist(), len(ids))

    def decode_prompt(self, ids: list[int], *, max_tokens: int) -> Completion:
        """Prefill a whole prompt (twice where `reread` asks for it) and write greedily after it.

        Raises ModelError where prompt and answer do not fit the context.
        """
        self.check_fits(len(ids), max_tokens)
        cache = empty_cache(self.model)
        twice = self.num_read_twice(len(ids) - 1, cache)
        if not twice and not self.is_gated(len(ids) - 1, cache):
            return self.decode(ids, None, max_tokens=max_tokens)
        with self.model_errors():
            (self._read_twice if twice else self._read_gated)(ids[:-1], cache)
        return self.decode(ids, cache, max_tokens=max_tokens, read_twice=twice)

    def num_read_twice(self, num_tokens: int, cache: Any) -> int:
        """Return how many of a prompt's first tokens are read twice; 0 where none are evicted."""
        if not self.reread or not self._is_judged(num_tokens, cache):
            return 0
        return num_read_twice(cache, num_tokens, self._instruction(), self.context_tokens)

    def is_gated(self, num_tokens: int, cache: Any) -> bool:
        """Return whether the gate decides what is kept of a prompt."""
        return self.gate is not None and not self.reread and self._is_judged(num_tokens, cache)

    def budgets_from_text(self) -> bool:
        """Whether a prompt that is read twice sets the heads' budgets: no card or plan does."""
        return not layer_settings_of(self.model)

    def note_attention(self, cache: Any, *, read_twice: int = 0) -> None:
        """Record in `attention` what ran on a cache, and how many tokens were read twice."""
        self._set_attention(describe_run(self.model, cache), read_twice)

    @contextmanager
    def model_errors(self) -> Iterator[None]:
        """Turn errors of the model's code into a ModelError that names the model."""
        try:
            yield
        except MODEL_FAULTS as error:
            raise ModelError(f"{self.identity.name}: {reason_of(error)}") from error

    def _is_judged(self, num_tokens: int, cache: Any) -> bool:
        """Return whether tokens are evicted whose scores can be given."""
        return not why_not(cache) and num_tokens > settings_of(self.model).dense_threshold

    def _read_gated(self, ids: Sequence[int], cache: Any) -> None:
        assert self.gate is not None  # `is_gated` said so
        for _ in read_gated(self.model, torch.tensor(list(ids)), cache, self.gate):
            pass

    def _read_twice(self, ids: Sequence[int], cache: Any) -> None:
        read_into(
            cache, self.model, ids, instruction=self._instruction(),
            most_positions=self.context_tokens,
        )  # fmt: skip

    def _instruction(self) -> list[int]:
        return self.chat.ids(INSTRUCTION)

    def _set_attention(self, ran: str, read_twice: int) -> None:
        twice = f"; {read_twice} read twice" if read_twice else ""
        if read_twice and self.budgets_from_text():
            twice += ", budgets by key head from the text"
        if self.gate is not None and not self.reread:
            twice += "; the plan's gate judges long texts"
        self.attention = f"{ran}{twice} ({self._why})"

    def _completion(self, tokens: list[int], num_prompt_tokens: int) -> Completion:
        return Completion(
            text=self.chat.text(tokens).strip(),
            num_prompt_tokens=num_prompt_tokens,
            num_tokens=len(tokens),
            stopped=bool(tokens) and tokens[-1] in self._stops,
        )


def empty_cache(model: Any) -> Any:
    """Return an empty KV cache that fits a model's attention: grouped, or the stock one."""
    from transformers import DynamicCache

    text = model.config.get_text_config()
    return make_cache(model) if text._attn_implementation == NAME else DynamicCache(config=text)


def prefill(model: Any, ids: Sequence[int], cache: Any) -> Tensor:
    """Read tokens into a cache; return the logits after the last one [V], float32."""
    with torch.no_grad():
        out = model(
            input_ids=torch.tensor([list(ids)], device=model.device),
            past_key_values=cache, use_cache=True, logits_to_keep=1,
        )  # fmt: skip
    logits_V: Tensor = out.logits[0, -1].float()
    return logits_V


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids of the model's and the tokenizer's end tokens, sorted.

    Raises ModelUnavailable where there are none.
    """
    configured = model.generation_config.eos_token_id
    listed = configured if isinstance(configured, list) else [configured]
    stops = sorted({int(t) for t in (*listed, tokenizer.eos_token_id) if t is not None})
    if not stops:
        raise ModelUnavailable(
            f"{type(model).__name__} and its tokenizer name no end token; choose a model that does"
        )
    return stops


def context_tokens(model: Any, tokenizer: Any) -> int:
    """Return the smaller of the model's positions and the tokenizer's limit.

    Raises ModelUnavailable where neither is known.
    """
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [int(n) for n in (positions, tokenizer.model_max_length) if n and n < 10**9]
    if not limits:
        raise ModelUnavailable(
            f"{type(model).__name__} does not say how long its context is; choose a card with "
            "options.context_tokens"
        )
    return min(limits)


class TextStreamer:
    """Passes a completion on while it is written; a `streamer` of transformers' `generate`.

    The pieces joined are the whole completion, stripped: incomplete characters and trailing space
    are held back until more tokens follow.
    """

    def __init__(self, text_of: Callable[[list[int]], str], on_text: Callable[[str], None]) -> None:
        self._text_of = text_of
        self._on_text = on_text
        self._tokens: list[int] | None = None
        self._num_sent = 0

    def put(self, tokens: Tensor) -> None:
        """Take the prompt (the first call) or the next token."""
        if self._tokens is None:
            self._tokens = []
            return
        self._tokens.extend(int(token) for token in tokens.flatten())
        self._send(self._text_of(self._tokens).rstrip("\ufffd"))

    def end(self) -> None:
        """Send what was held back."""
        self._send(self._text_of(self._tokens or []))

    def _send(self, text: str) -> None:
        text = text.strip()
        if len(text) > self._num_sent:
            self._on_text(text[self._num_sent :])
            self._num_sent = len(text)
