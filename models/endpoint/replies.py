"""Replies of chat servers: parsed strictly, without their thoughts. Sends nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fdvs.errors import BadModelOutput, ModelError
from fdvs.models.endpoint.dialects import ANY, Dialect, chat_reply
from fdvs.prompting.thoughts import without_thoughts

EXCERPT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A checked reply; token counts are None where the server reports none."""

    text: str
    num_prompt_tokens: int | None
    num_tokens: int | None
    stopped: bool
    num_thoughts: int = 0  # characters, or tokens where the server keeps them


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (number or date), None where it gives none."""
    if not value:
        return None
    if value.strip().isdecimal() and len(value) < 12:
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())


def parse_reply(data: bytes, one: Dialect = ANY) -> Reply:
    """Parse a chat completion strictly, and cut its thoughts.

    Raises BadModelOutput with an excerpt, ModelError for an error that came with status 200.
    """
    try:
        value = json.loads(data)
        if isinstance(value, dict) and value.get("error"):
            raise ModelError(f"the server answered with an error: {_excerpt(data)}")
        text, thoughts, reason, usage = chat_reply(one, value)
        num_hidden = _num_hidden(usage)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadModelOutput(f"not a chat completion: {_excerpt(data)}") from None
    if reason == "content_filter" and not text:
        raise BadModelOutput(f"the server's filter refused to describe it: {_excerpt(data)}")
    if not isinstance(text, str):
        raise BadModelOutput(f"chat completion without text: {_excerpt(data)}")
    told = without_thoughts(text)
    return Reply(
        text=told,
        num_thoughts=len(thoughts)
        if isinstance(thoughts, str)
        else num_hidden or len(text) - len(told),
        num_prompt_tokens=_number(usage, "prompt_tokens"),
        num_tokens=_number(usage, "completion_tokens"),
        stopped=reason != "length",
    )


def _num_hidden(usage: object) -> int:
    """Return the tokens of thoughts that the server keeps to itself."""
    details = usage.get("completion_tokens_details") if isinstance(usage, dict) else None
    return _number(details, "reasoning_tokens") or 0


def _number(usage: object, key: str) -> int | None:
    number = usage.get(key) if isinstance(usage, dict) else None
    return number if type(number) is int and number >= 0 else None


def _excerpt(data: bytes) -> str:
    return repr(data[:EXCERPT_CHARS].decode("utf-8", errors="replace"))
