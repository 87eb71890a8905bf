"""Ask a language model for text: its reply is untrusted, so it is cleaned and checked."""

from __future__ import annotations

from dataclasses import replace

from fdvs.errors import BadModelOutput
from fdvs.prompting.prompts import Prompt
from fdvs.protocols import Completion, LanguageModel
from fdvs.text.clean import clean_text
from fdvs.text.sentences import drop_unfinished, unique_sentences

# a token rarely has more characters: bounds a reply whose tokens are miscounted
MAX_CHARS_PER_TOKEN = 12

# what a chat template adds to the two texts, which `count_tokens` does not include
TEMPLATE_TOKENS = 64


def ask_for_text(writer: LanguageModel, prompt: Prompt, *, max_tokens: int, what: str) -> str:
    """Return a reply of whole sentences, without repetitions; raises as `ask_writer`."""
    return ask_writer(writer, prompt, max_tokens=max_tokens, what=what).text


def ask_writer(writer: LanguageModel, prompt: Prompt, *, max_tokens: int, what: str) -> Completion:
    """Return a reply whose text is whole sentences, without repetitions; counts are the model's.

    Raises BadModelOutput if the reply has no word, ModelError if the model fails.
    """
    written = writer.write(prompt.system, prompt.user, max_tokens=max_tokens)
    text = checked_text(
        writer, written, max_tokens=max_tokens, what=what, instead="let the template write"
    )
    return replace(written, text=" ".join(unique_sentences(text)))


def checked_text(
    writer: LanguageModel, written: Completion, *, max_tokens: int, what: str, instead: str
) -> str:
    """Return a reply's text, cleaned, bounded and without an unfinished sentence.

    Raises BadModelOutput if it has no word; `instead` says what can be done without the model.
    """
    text = clean_text(written.text, max_chars=max_tokens * MAX_CHARS_PER_TOKEN)
    if not any(c.isalnum() for c in text):
        raise BadModelOutput(
            f"{writer.identity.label()} answered {text[:40]!r} when asked for {what}; "
            f"use another model, or {instead}"
        )
    return text if written.stopped else drop_unfinished(text)


def fits(writer: LanguageModel, prompt: Prompt, *, max_tokens: int) -> bool:
    """Return whether prompt, reply and the chat template's own tokens fit into the context."""
    num_prompt = writer.count_tokens(prompt.system) + writer.count_tokens(prompt.user)
    return num_prompt + max_tokens + TEMPLATE_TOKENS <= writer.context_tokens
