"""The captioner as language model: one set of weights describes pictures and writes text.

Two models of four to eight billion parameters do not fit into a GPU of 24 GB. A vision-language
model follows instructions without pictures, too. It answers whole prompts by its own attention:
passages are not prefilled, since some families keep the positions of the last picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fdvs.errors import ConfigError, ModelError
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.chat import Chat
from fdvs.models.llm.engine import GREEDY, context_tokens, stop_tokens
from fdvs.models.weights.loading import MODEL_FAULTS, reason_of
from fdvs.models.weights.templates import rendered
from fdvs.protocols import Completion

if TYPE_CHECKING:
    from fdvs.models.describe.vlm import TransformersCaptioner

MIN_CONTEXT = 4096


class CaptionerLanguageModel:
    """A LanguageModel over the model and tokenizer of a loaded captioner."""

    def __init__(self, captioner: TransformersCaptioner) -> None:
        """Raises ConfigError for a captioner without a chat template, which writes no text."""
        name = captioner.identity.name
        if not captioner.is_chat:
            raise ConfigError(
                f"{name} has no chat template, so it writes no text; name another llm"
            )
        self.identity = replace(captioner.identity, role="llm")
        self.attention = "sdpa (the captioner's own)"
        self.chat = _VisionChat(captioner.processor, name=name)
        self._captioner = captioner
        model, tokenizer = captioner.model, captioner.processor.tokenizer
        self._stops = stop_tokens(model, tokenizer)
        # a prompt must fit beside the weights, however long a context the model has
        fitting = max(MIN_CONTEXT, captioner.bound.max_tokens)
        self.context_tokens = min(context_tokens(model, tokenizer), fitting)

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> CaptionerLanguageModel:
        """Load the captioner of a card. Raises as its `load` does, and ConfigError."""
        from fdvs.models.describe.vlm import TransformersCaptioner

        captioner = TransformersCaptioner.load(
            replace(card, role="captioner", backend="transformers"), settings
        )
        return cls(captioner)

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens of a bare text, without those of the chat template."""
        return len(self.chat.ids(text))

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Answer greedily. Raises ModelError where prompt and answer do not fit the context."""
        import torch

        ids = self.chat.ids(self.chat.prompt(system, user))
        if len(ids) + max_tokens > self.context_tokens:
            raise ModelError(
                f"{self.identity.name}: a prompt of {len(ids)} tokens and {max_tokens} to write "
                f"exceed its context of {self.context_tokens}; shorten the prompt"
            )
        model = self._captioner.model
        prompt_1P = torch.tensor([ids], device=model.device)
        try:
            with self._captioner.lock, torch.inference_mode():
                rows_1T = model.generate(
                    input_ids=prompt_1P, attention_mask=torch.ones_like(prompt_1P),
                    max_new_tokens=max_tokens, eos_token_id=self._stops,
                    pad_token_id=self._stops[0], num_beams=1, **GREEDY,
                )  # fmt: skip
        except MODEL_FAULTS as error:
            raise ModelError(f"{self.identity.name}: {reason_of(error)}") from error
        tokens = rows_1T[0, len(ids) :].tolist()
        return Completion(
            text=self.chat.text(tokens).strip(), num_prompt_tokens=len(ids),
            num_tokens=len(tokens), stopped=bool(tokens) and tokens[-1] in self._stops,
        )  # fmt: skip


class _VisionChat(Chat):
    """A Chat whose template is the processor's: a turn's content is a list of parts."""

    def __init__(self, processor: Any, *, name: str) -> None:
        own = getattr(processor, "chat_template", None) or processor.tokenizer.chat_template
        super().__init__(processor.tokenizer, name=name, template=own)
        self._processor = processor
        self._thinking = {"enable_thinking": False} if "enable_thinking" in str(own) else {}

    def _render(self, turns: list[dict[str, str]]) -> str:
        parts = [
            {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]}
            for turn in turns
        ]
        return rendered(
            self._processor, parts, name=self._name, add_generation_prompt=True, **self._thinking
        )
