"""A language model on this machine: any causal one of transformers, or a GGUF file.

Follows a system and a user text through the model's own chat template (`chat.py`), greedily, or
reads the beginning of a prompt once and answers many questions about it (`reading.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.llm.chat import Chat, Opening
from fdvs.models.llm.reading import LocalReadPrompt, Pieces, empty_cache, read_ahead
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.gguf import as_folder, find_gguf
from fdvs.models.weights.loading import needs, place, without_progress_bars
from fdvs.protocols import Completion
from fdvs.types import ModelIdentity

if TYPE_CHECKING:
    import torch

    from fdvs.models.llm.attention_options import AttentionOptions

ATTENTIONS = ("auto", "dga", "sdpa")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageModelOptions:
    """A card's options. `chat_template` (Jinja) is for checkpoints that bring none."""

    chat_template: str = ""
    context_tokens: int | None = None


class LocalLanguageModel:
    """Writes with a local model; `attention` says which attention ran last, and why that one.

    `reread`: texts that are grouped are read twice.
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
    ) -> None:
        options = options or LanguageModelOptions()
        self.identity = identity
        self.attention = f"{attention} ({why})"
        self.model = model
        self.chat = Chat(tokenizer, name=identity.name, template=options.chat_template)
        self.context_tokens = options.context_tokens or _context_tokens(model, tokenizer)
        self._why = why
        self.reread = reread
        self._stops = _stop_tokens(model, tokenizer)

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> LocalLanguageModel:
        """Load weights and tokenizer from disk. Raises ModelUnavailable, ModelError."""
        needs("transformers", "offline")
        from fdvs.models.llm.attention import describe_attention
        from fdvs.models.llm.attention_options import OPTION, attention_options, options_of_plan

        options = options_from(card, LanguageModelOptions, shared=("files", OPTION))
        own, plan = attention_options(card), settings.attention_plan
        attention, why = choose_attention(settings.attention)
        if plan:
            own, why = options_of_plan(Path(plan)), f"{why}, with the plan {Path(plan).name}"
        folder = _weights_folder(card)
        device, dtype = place(settings, card.name)
        model, tokenizer = _load(folder, own, attention=attention, dtype=dtype, device=device)
        said = describe_attention(model)
        return cls(
            model, tokenizer, identity_of(card), attention=said, why=why, options=options,
            reread=settings.reread,
        )  # fmt: skip

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a bare text, without the chat template's own."""
        return len(self.chat.ids(text))

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Answer greedily. Raises ModelError where prompt and answer do not fit the context."""
        ids = self.chat.ids(self.chat.prompt(system, user))
        self.check_fits(len(ids), max_tokens)
        cache = empty_cache(self.model)
        twice = self.tokens_read_twice(len(ids) - 1, cache)
        if not twice:
            return self.go_on(ids, None, max_tokens=max_tokens)
        with self.model_errors():
            self._read_twice(ids[:-1], cache)
        return self.go_on(ids, cache, max_tokens=max_tokens, read_twice=twice)

    def read(self, system: str, text: str) -> LocalReadPrompt:
        """Read the fixed part of a prompt: the system text and what the user gives first.

        Let `text` end with one newline: its tokens are then, with most tokenizers, those that it
        has in front of any question. Raises ModelError where it does not fit the context.
        """
        return self.read_opening(self.chat.opening(system, text))

    def read_opening(self, opening: Opening) -> LocalReadPrompt:
        """Read an opening. Raises ModelError where it does not fit the context."""
        self.check_fits(len(opening.ids), 1)
        with self.model_errors():
            cache = empty_cache(self.model)
            twice = self.tokens_read_twice(len(opening.ids), cache)
            if twice:
                self._read_twice(opening.ids, cache)
            else:
                read_ahead(self.model, opening.ids, cache)
        self.note_attention(cache, read_twice=twice)
        return LocalReadPrompt(self, opening, cache)

    def tokens_read_twice(self, num_tokens: int, cache: Any) -> int:
        """Return how many of a text's first tokens are read twice: none unless some are dropped."""
        from fdvs.models.llm.attention import settings_of
        from fdvs.models.llm.rereading import tokens_read_twice, why_not

        if (
            not self.reread
            or why_not(cache)
            or num_tokens <= settings_of(self.model).dense_threshold
        ):
            return 0
        return tokens_read_twice(cache, num_tokens, self._instruction(), self.context_tokens)

    def budgets_from_text(self) -> bool:
        """Whether a text that is read twice sets the heads' budgets: no card and no plan does."""
        from fdvs.models.llm.attention import layer_settings_of

        return not layer_settings_of(self.model)

    def _read_twice(self, ids: Sequence[int], cache: Any) -> None:
        from fdvs.models.llm.rereading import read_into

        read_into(
            cache, self.model, ids, instruction=self._instruction(),
            most_positions=self.context_tokens,
        )  # fmt: skip

    def _instruction(self) -> list[int]:
        from fdvs.models.llm.rereading import INSTRUCTION

        return self.chat.ids(INSTRUCTION)

    def go_on(
        self,
        ids: list[int],
        cache: Any | None,
        *,
        max_tokens: int,
        on_text: Callable[[str], None] | None = None,
        read_twice: int = 0,
    ) -> Completion:
        """Write greedily after a prompt, the first tokens of which `cache` may hold already.

        `read_twice` of them were read twice; `attention` will say so.
        Raises ModelError where prompt and answer do not fit the context.
        """
        import torch

        from fdvs.models.llm.attention import generate

        self.check_fits(len(ids), max_tokens)
        streamer = None if on_text is None else Pieces(self.chat.text, on_text)
        with self.model_errors():
            made = generate(
                self.model,
                torch.tensor([ids], device=self.model.device),
                max_new_tokens=max_tokens,
                cache=cache,
                eos_token_id=self._stops,
                pad_token_id=self._stops[0],
                streamer=streamer,
                **GREEDY,
            )
        self._say(made.attention, read_twice)
        return self._written(made.new_tokens[0].tolist(), len(ids))

    def note_attention(self, cache: Any, *, read_twice: int = 0) -> None:
        """Let `attention` say what ran on a cache; `read_twice` are tokens that were reread."""
        from fdvs.models.llm.attention import describe_run

        self._say(describe_run(self.model, cache), read_twice)

    def _say(self, ran: str, read_twice: int) -> None:
        twice = f"; {read_twice} read twice" if read_twice else ""
        if read_twice and self.budgets_from_text():
            twice += ", budgets by key head from the text"
        self.attention = f"{ran}{twice} ({self._why})"

    def check_fits(self, num_prompt_tokens: int, max_tokens: int) -> None:
        """Raise ModelError where a prompt and what is to follow exceed the context."""
        if num_prompt_tokens + max_tokens > self.context_tokens:
            raise ModelError(
                f"{self.identity.name}: a prompt of {num_prompt_tokens} tokens and {max_tokens} to "
                f"write exceed its context of {self.context_tokens}; shorten the prompt"
            )

    @contextmanager
    def model_errors(self) -> Iterator[None]:
        """Turn what a model refuses or fails at into a ModelError."""
        try:
            yield
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.identity.name}: {str(error)[:300]}") from error

    def _written(self, tokens: list[int], num_prompt_tokens: int) -> Completion:
        return Completion(
            text=self.chat.text(tokens).strip(),
            num_prompt_tokens=num_prompt_tokens,
            num_tokens=len(tokens),
            stopped=bool(tokens) and tokens[-1] in self._stops,
        )


GREEDY: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}


def choose_attention(wanted: str) -> tuple[str, str]:
    """Return (attention, reason): `auto` takes the project's own grouped attention.

    Raises InvalidValue for a name that is not one of ATTENTIONS.
    """
    if wanted not in ATTENTIONS:
        raise InvalidValue("ask.attention", wanted, ", ".join(ATTENTIONS))
    if wanted != "auto":
        return wanted, "asked for"
    return "dga", "the default"


def _weights_folder(card: Card) -> Path:
    found = model_folder(card)
    if gguf := find_gguf(found):
        return as_folder(gguf)
    if found.is_file() or not any(found.glob("*.safetensors")):
        raise ModelUnavailable(
            f"{found} holds no safetensors or GGUF weights; pickles are not loaded"
        )
    return found


def _load(
    folder: Path, own: AttentionOptions, *, attention: str, dtype: torch.dtype, device: str
) -> tuple[Any, Any]:
    """Return model and tokenizer, grouped attention set as the card says. Raises ModelError."""
    from fdvs.models.llm.attention import enable, load_causal_lm

    try:
        with without_progress_bars():
            model, tokenizer, _ = load_causal_lm(
                folder,
                attention="sdpa",
                dtype=dtype,
                device=device,
                local_files_only=True,
                trust_remote_code=False,
            )
        if attention == "dga":
            enable(model, own.config, layer_configs=own.layers)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"cannot load {folder}: {str(error)[:300]}") from error
    return model, tokenizer


def _stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end an answer: the model's own and the tokenizer's."""
    own = model.generation_config.eos_token_id
    found = [*(own if isinstance(own, list) else [own]), tokenizer.eos_token_id]
    stops = sorted({int(token) for token in found if token is not None})
    if not stops:
        raise ModelUnavailable(f"{type(model).__name__} and its tokenizer name no end token")
    return stops


def _context_tokens(model: Any, tokenizer: Any) -> int:
    """Return the smaller of what the positions and the tokenizer allow."""
    positions = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [int(n) for n in (positions, tokenizer.model_max_length) if n and n < 10**9]
    if not limits:
        raise ModelUnavailable(
            f"{type(model).__name__} does not say how long its context is; choose a card with "
            "options.context_tokens"
        )
    return min(limits)
