"""Ask a language model: read the fixed part (once, where the model can), then write the rest.

Gives the cleaned reply with its counts and times. What it says is not believed here: see
`fdvs.answers.check`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from fdvs.answers.prompt import AskPrompt
from fdvs.prompting.replies import checked_text
from fdvs.protocols import Completion, LanguageModel, PrefillLanguageModel
from fdvs.types import AskTiming

OnText = Callable[[str], None]
# What a model says that found nothing; a small one says it in its own words.
_NOTHING = re.compile(
    r"\bnot in the (?:evidence|material|video|story)\b"
    r"|\b(?:video|story|material|moments?|evidence|text)s? (?:does|do|did) not\b"
    r"|\b(?:is|are) not (?:mentioned|stated|specified|given|provided)\b"
    r"|\bno (?:information|evidence|mention|details?)\b"
    r"|\bi (?:do not|don't|cannot|can't) (?:know|tell|answer|see)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A cleaned reply, the model's counts, and the seconds of reading and writing."""

    text: str
    num_prompt_tokens: int
    num_tokens: int
    timing: AskTiming


def ask_model(
    writer: LanguageModel, prompt: AskPrompt, *, max_tokens: int, on_text: OnText | None = None
) -> Reply:
    """Return the reply to a prompt.

    A PrefillLanguageModel reads `prompt.fixed` first (from a cache, where it has one); another
    model gets everything at once, and `on_text` the whole reply at its end.

    Raises BadModelOutput where the reply holds no word, ModelError where the model fails.
    """
    written, timing = _written(writer, prompt, max_tokens, on_text)
    text = checked_text(
        writer,
        written,
        max_tokens=max_tokens,
        what="an answer",
        instead="none (ask.answerer: evidence)",
    )
    return Reply(
        text=text,
        num_prompt_tokens=written.num_prompt_tokens,
        num_tokens=written.num_tokens,
        timing=timing,
    )


def _written(
    writer: LanguageModel, prompt: AskPrompt, max_tokens: int, on_text: OnText | None
) -> tuple[Completion, AskTiming]:
    started = time.monotonic()
    if not isinstance(writer, PrefillLanguageModel):
        written = writer.write(prompt.system, prompt.user, max_tokens=max_tokens)
        if on_text is not None:
            on_text(written.text)
        return written, AskTiming(write_s=_since(started))
    reading = writer.read(prompt.system, prompt.fixed)
    came = "from cache" if getattr(reading, "reused", False) else "read"
    timing = AskTiming(read_s=_since(started), story=came)
    began = time.monotonic()
    first = _First(on_text)
    written = reading.write(prompt.rest, max_tokens=max_tokens, on_text=first)
    first_s = round(first.at - began, 3) if first.at else 0.0
    return written, replace(timing, first_token_s=first_s, write_s=_since(began))


class _First:
    """Hands pieces on and notes when the first one came."""

    def __init__(self, on_text: OnText | None) -> None:
        self.at = 0.0
        self._on_text = on_text

    def __call__(self, piece: str) -> None:
        self.at = self.at or time.monotonic()
        if self._on_text is not None:
            self._on_text(piece)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)


def says_nothing(sentence: str) -> bool:
    """Return whether a model says that the material does not hold the answer.

    >>> says_nothing("The video does not show a car.")
    True
    """
    return bool(_NOTHING.search(sentence))
