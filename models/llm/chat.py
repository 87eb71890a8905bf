"""Prompts as tokens: a model's chat template and tokenizer, applied to untrusted texts.

Takes system and user texts, gives prompts and token ids. Special tokens in the texts are removed,
so that a caption cannot end its turn. Knows no model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.excerpts import shortened
from fdvs.models.weights.templates import check_template, rendered

# Added tokens that are no special ones but control a chat as well: `<think>`, `<|tool|>`, `[INST]`.
_CONTROL = re.compile(r"[<\[{(｜|].*\S.*[>\]})｜|]", re.DOTALL)
#: Private-use characters that mark the end of the fixed text while the template is rendered.
MARK, MORE = "\ue0f1", "\ue0f2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The fixed prefix of a prompt.

    Attributes:
        ids: tokens up to the variable part of the user's turn: template, system text, fixed text.
        closing: what the template puts after the user's turn, up to the start of the answer.
    """

    ids: tuple[int, ...]
    closing: str


class Chat:
    """A tokenizer with its chat template."""

    def __init__(self, tokenizer: Any, *, name: str, template: str = "") -> None:
        """`template` (Jinja) replaces the checkpoint's own, for one that has none or a wrong one.

        Raises ModelUnavailable where there is no template at all, ModelError where it could fill
        the memory.
        """
        if template:
            tokenizer.chat_template = template
        if not tokenizer.chat_template:
            raise ModelUnavailable(
                f"{name} has no chat template, so it does not follow instructions; choose an "
                "instruct model, or a card with options.chat_template"
            )
        check_template(tokenizer.chat_template, name=name)
        self.tokenizer = tokenizer
        self._name = name

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a bare text. Raises ModelError where the tokenizer fails."""
        try:
            return list(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        except Exception as error:  # tokenizers raises bare exceptions
            reason = shortened(" ".join(str(error).split()))
            raise ModelError(f"{self._name}: its tokenizer failed ({reason})") from error

    def option_ids(self, option: str) -> list[int]:
        """Return the tokens of an answer option. Raises ModelError where it has none."""
        if ids := self.ids(self._without_special_tokens(option)):
            return ids
        raise ModelError(f"{self._name}: option {option!r} has no token; give one with words")

    def text(self, tokens: list[int]) -> str:
        """Return the exact text of tokens, without special tokens."""
        return str(
            self.tokenizer.decode(
                tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def prompt(self, system: str, user: str) -> str:
        """Return the rendered template; without a system role, both texts go into one turn."""
        system, user = (self._without_special_tokens(text) for text in (system, user))
        return self._rendered(system, user)

    def opening(self, system: str, text: str) -> Opening:
        """Return the prompt up to the end of `text`, with which the user's turn begins.

        It is tokenized alone, so its tokens do not depend on what follows. If the text ends with a
        newline, most tokenizers split the whole prompt in the same way.
        Raises ModelError where the template does not reproduce the text.
        """
        system, text = (self._without_special_tokens(part) for part in (system, text))
        mark = MARK
        while mark in system + text:
            mark += MORE
        parts = self._rendered(system, text + mark).split(mark)
        if len(parts) != 2:
            raise ModelError(
                f"{self._name}: its chat template repeats or drops the user's text, so nothing "
                "can be prefilled before the question; give text and question together"
            )
        return Opening(ids=tuple(self.ids(parts[0])), closing=parts[1])

    def following(self, rest: str, opening: Opening) -> list[int]:
        """Return the tokens that follow an opening. Raises ModelError where there are none."""
        ids = self._inner_ids(self._without_special_tokens(rest) + opening.closing)
        if not ids:
            raise ModelError(f"{self._name}: nothing follows the text that was read; ask something")
        return ids

    def _rendered(self, system: str, user: str) -> str:
        turns = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        try:
            return self._render(turns if system else turns[1:])
        except ModelError:
            if not system:
                raise
            return self._render([{"role": "user", "content": f"{system}\n\n{user}"}])

    def _render(self, turns: list[dict[str, str]]) -> str:
        return rendered(
            self.tokenizer, turns, name=self._name, add_generation_prompt=True,
            enable_thinking=False,
        )  # fmt: skip

    def _without_special_tokens(self, text: str) -> str:
        """Remove the tokenizer's control tokens, also those that a removal creates."""
        while any(token in text for token in self._controls):
            for token in self._controls:
                text = text.replace(token, "")
        return text

    @cached_property
    def _controls(self) -> tuple[str, ...]:
        return control_tokens(self.tokenizer)

    def _inner_ids(self, text: str) -> list[int]:
        """Return the tokens of a text that continues another.

        Some tokenizers (SentencePiece) prepend a space to any input: the text is then tokenized
        after a newline, whose tokens are removed.
        """
        if not self._adds_a_space:
            return self.ids(text)
        line, both = self.ids("\n"), self.ids("\n" + text)
        return both[len(line) :] if both[: len(line)] == line else self.ids(text)

    @cached_property
    def _adds_a_space(self) -> bool:
        return self.text(self.ids("a") + self.ids("a")) != "aa"


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Return the texts that a tokenizer reads as control tokens, longest first.

    `all_special_tokens` has the named ones only (3 of SmolLM2's 17), `added_tokens_decoder` all;
    of tokens that were added as plain words (runs of spaces, names) only bracketed ones count.
    """
    found = {str(token) for token in tokenizer.all_special_tokens}
    for token in getattr(tokenizer, "added_tokens_decoder", {}).values():
        text = str(getattr(token, "content", token))
        if getattr(token, "special", False) or _CONTROL.fullmatch(text):
            found.add(text)
    return tuple(sorted((text for text in found if text.strip()), key=lambda one: (-len(one), one)))
