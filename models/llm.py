"""A language model on this machine: any causal one of transformers, or a GGUF file.

Follows a system and a user text through the model's own chat template, greedily. The texts come
from outside: control tokens in them are taken out, so that a caption cannot end its turn.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.errors import InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.fetch import identity_of, model_folder
from fdvs.models.gguf import as_folder, find_gguf
from fdvs.models.loading import needs, place, without_progress_bars
from fdvs.models.options import options_from
from fdvs.protocols import Written
from fdvs.types import ModelIdentity

if TYPE_CHECKING:
    import torch

ATTENTIONS = ("auto", "dga", "sdpa")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriterOptions:
    """A card's options. `chat_template` (Jinja) is for checkpoints that bring none."""

    chat_template: str = ""
    context_tokens: int | None = None


class LocalWriter:
    """Writes with a local model; `attention` says which attention ran last, and why that one."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        identity: ModelIdentity,
        *,
        attention: str,
        why: str,
        options: WriterOptions | None = None,
    ) -> None:
        self.identity = identity
        self.attention = f"{attention} ({why})"
        self._why = why
        self._model = model
        self._tokenizer = tokenizer
        self._stops = _stop_tokens(model, tokenizer)
        options = options or WriterOptions()
        if options.chat_template:
            tokenizer.chat_template = options.chat_template
        if not tokenizer.chat_template:
            raise ModelUnavailable(
                f"{identity.name} brings no chat template, so it takes no instructions; choose an "
                "instruct model, or a card with options.chat_template"
            )
        self.context_tokens = options.context_tokens or _context_tokens(model, tokenizer)

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> LocalWriter:
        """Load weights and tokenizer from disk. Raises ModelUnavailable, ModelError."""
        options = options_from(card, WriterOptions, shared=("files",))
        attention, why = choose_attention(settings.attention)
        folder = _weights_folder(card)
        device, dtype = place(settings, card.name)
        model, tokenizer, said = _load(folder, attention=attention, dtype=dtype, device=device)
        return cls(model, tokenizer, identity_of(card), attention=said, why=why, options=options)

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a bare text, without the chat template's own."""
        return len(self._ids(text))

    def write(self, system: str, user: str, *, max_tokens: int) -> Written:
        """Answer greedily. Raises ModelError where prompt and answer do not fit the context."""
        import torch

        from fdvs.models.attention import generate

        ids = self._ids(self._prompt(system, user))
        if len(ids) + max_tokens > self.context_tokens:
            raise ModelError(
                f"{self.identity.name}: a prompt of {len(ids)} tokens and {max_tokens} to write "
                f"exceed its context of {self.context_tokens}; shorten the prompt"
            )
        input_ids = torch.tensor([ids], device=self._model.device)
        try:
            made = generate(
                self._model,
                input_ids,
                max_new_tokens=max_tokens,
                eos_token_id=self._stops,
                pad_token_id=self._stops[0],
                **GREEDY,
            )
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{self.identity.name}: {str(error)[:300]}") from error
        self.attention = f"{made.attention} ({self._why})"
        return self._written(made.new_tokens[0].tolist(), len(ids))

    def _written(self, tokens: list[int], num_prompt_tokens: int) -> Written:
        text = self._tokenizer.decode(tokens, skip_special_tokens=True)
        return Written(
            text=text.strip(),
            num_prompt_tokens=num_prompt_tokens,
            num_tokens=len(tokens),
            stopped=bool(tokens) and tokens[-1] in self._stops,
        )

    def _prompt(self, system: str, user: str) -> str:
        """Return the chat template's text; a template without a system turn gets one turn."""
        from jinja2 import TemplateError

        system, user = (self._without_controls(text) for text in (system, user))
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return self._render(turns if system else turns[1:])
        except TemplateError:
            return self._render([{"role": "user", "content": f"{system}\n\n{user}"}])

    def _render(self, turns: list[dict[str, str]]) -> str:
        return str(
            self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )

    def _without_controls(self, text: str) -> str:
        """Take the tokenizer's control tokens out, also those that a removal puts together."""
        controls = [t for t in self._tokenizer.all_special_tokens if t]
        while any(control in text for control in controls):
            for control in controls:
                text = text.replace(control, "")
        return text

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


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


def _load(folder: Path, *, attention: str, dtype: torch.dtype, device: str) -> tuple[Any, Any, str]:
    needs("transformers", "offline")
    from fdvs.models.attention import load_causal_lm

    try:
        with without_progress_bars():
            return load_causal_lm(
                folder,
                attention="dga" if attention == "dga" else "sdpa",
                dtype=dtype,
                device=device,
                local_files_only=True,
                trust_remote_code=False,
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(f"cannot load {folder}: {str(error)[:300]}") from error


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
