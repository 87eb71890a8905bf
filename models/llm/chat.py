"""Prompts as tokens: a model's chat template and tokenizer, for texts that come from outside.

Takes system and user texts, gives prompts and token ids. Control tokens in the texts are taken
out, so that a caption cannot end its turn. Knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from fdvs.errors import ModelError, ModelUnavailable

#: Of Unicode's private use: where the fixed text ends while the template is filled in.
MARK, MORE = "\ue0f1", "\ue0f2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """The part of a prompt that stays.

    Attributes:
        ids: tokens of all before the user's further words: the template's, the system's, the text.
        closing: what the template puts after the user's turn, up to where the answer begins.
    """

    ids: tuple[int, ...]
    closing: str


class Chat:
    """Fills in a tokenizer's chat template."""

    def __init__(self, tokenizer: Any, *, name: str, template: str = "") -> None:
        """Take `template` (Jinja) where the checkpoint brings none or a wrong one.

        Raises ModelUnavailable where there is no template at all.
        """
        if template:
            tokenizer.chat_template = template
        if not tokenizer.chat_template:
            raise ModelUnavailable(
                f"{name} brings no chat template, so it takes no instructions; choose an "
                "instruct model, or a card with options.chat_template"
            )
        self._tokenizer = tokenizer
        self._name = name

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a bare text."""
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def option_ids(self, option: str) -> list[int]:
        """Return the tokens of an answer that stands alone. Raises ModelError where it has none."""
        if ids := self.ids(self._without_controls(option)):
            return ids
        raise ModelError(f"{self._name}: option {option!r} holds no token; give one with words")

    def text(self, tokens: list[int]) -> str:
        """Return the text of tokens, without control tokens, exactly as they spell it."""
        return str(
            self._tokenizer.decode(
                tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
            )
        )

    def prompt(self, system: str, user: str) -> str:
        """Return the filled-in template; one without a system turn gets both texts in one turn."""
        system, user = (self._without_controls(text) for text in (system, user))
        return self._filled_in(system, user)

    def opening(self, system: str, text: str) -> Opening:
        """Return the prompt of a user's turn that begins with `text`, up to the end of it.

        Its tokens are those of that part alone, so they do not depend on what follows. Where the
        text ends with a newline this is how most tokenizers split the whole, too.
        Raises ModelError where the template does not give the text back as it is.
        """
        system, text = (self._without_controls(part) for part in (system, text))
        mark = MARK
        while mark in system + text:
            mark += MORE
        parts = self._filled_in(system, text + mark).split(mark)
        if len(parts) != 2:
            raise ModelError(
                f"{self._name}: its chat template repeats or drops the user's text, so nothing "
                "can be read ahead of the question; give text and question together"
            )
        return Opening(ids=tuple(self.ids(parts[0])), closing=parts[1])

    def following(self, rest: str, opening: Opening) -> list[int]:
        """Return the tokens of what comes after an opening. Raises ModelError for none."""
        ids = self._inner_ids(self._without_controls(rest) + opening.closing)
        if not ids:
            raise ModelError(f"{self._name}: nothing follows the text that was read; ask something")
        return ids

    def _filled_in(self, system: str, user: str) -> str:
        from jinja2 import TemplateError

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

    def _inner_ids(self, text: str) -> list[int]:
        """Return the tokens of a text that continues another.

        Some tokenizers (SentencePiece) put a space before whatever they are given: such text is
        given behind a newline, whose tokens are then taken off.
        """
        if not self._adds_a_space:
            return self.ids(text)
        line, both = self.ids("\n"), self.ids("\n" + text)
        return both[len(line) :] if both[: len(line)] == line else self.ids(text)

    @cached_property
    def _adds_a_space(self) -> bool:
        return self.text(self.ids("a") + self.ids("a")) != "aa"
