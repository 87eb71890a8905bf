"""What an OpenAI-compatible server answered, checked: the completion, and how long to wait.

Everything here comes from outside and is parsed strictly; knows no network.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from fdvs.errors import BadModelOutput

EXCERPT_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A checked reply; token counts are None where the server did not count."""

    text: str
    num_prompt_tokens: int | None
    num_tokens: int | None
    stopped: bool


def retry_after_s(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (number or date), None where it has none."""
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


def parse_reply(data: bytes) -> Reply:
    """Parse a chat completion strictly. Raises BadModelOutput with an excerpt."""
    try:
        value = json.loads(data)
        choice = value["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise BadModelOutput(f"not a chat completion: {_excerpt(data)}") from None
    if not isinstance(text, str):
        raise BadModelOutput(f"chat completion without text: {_excerpt(data)}")
    usage = value.get("usage")
    return Reply(
        text=text,
        num_prompt_tokens=_number(usage, "prompt_tokens"),
        num_tokens=_number(usage, "completion_tokens"),
        stopped=reason != "length",
    )


def _number(usage: object, key: str) -> int | None:
    number = usage.get(key) if isinstance(usage, dict) else None
    return number if type(number) is int and number >= 0 else None


def _excerpt(data: bytes) -> str:
    return repr(data[:EXCERPT_CHARS].decode("utf-8", errors="replace"))
