"""What servers want to be told and how they answer: a table, one client.

A spec names the server: `ollama:MODEL`, `lmstudio:`, `llamacpp:`, `vllm:`, `sglang:`, `openai:`,
`gemini:`, `mistral:`, or `endpoint:URL#MODEL` for any other. Thinking is off in all of them:
thoughts use up the tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

DATA_URI = "data:image/jpeg;base64,"
MIN_CONTEXT = 4096
SPARE_TOKENS = 512  # between what was counted and what the server counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of server.

    Attributes:
        base_url: where it listens by itself.
        extra: what is sent beside messages and limits.
        api_key_env: the environment variable of the key, "" for the options' own.
        is_native: Ollama's own `/api/chat`: its `/v1` makes a message of every picture and cuts
            prompts at a context that cannot be set there.
        owner: what its list of models says of who owns them, to tell it from others.
        loads_late: it loads a model when that is first asked.
    """

    name: str
    base_url: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    api_key_env: str = ""
    is_native: bool = False
    owner: str = ""
    loads_late: bool = False


_LITTLE_THINKING = {"reasoning_effort": "minimal"}  # left out for models that do not know it
_NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
DIALECTS = {
    one.name: one
    for one in (
        Dialect(
            name="ollama", base_url="http://127.0.0.1:11434", is_native=True, owner="library",
            loads_late=True,
        ),
        Dialect(
            name="lmstudio", base_url="http://127.0.0.1:1234/v1", owner="organization_owner",
            loads_late=True,
        ),
        Dialect(
            name="llamacpp", base_url="http://127.0.0.1:8080/v1", extra=_NO_THINKING,
            owner="llamacpp",
        ),
        Dialect(
            name="vllm", base_url="http://127.0.0.1:8000/v1", extra=_NO_THINKING, owner="vllm"
        ),
        Dialect(
            name="sglang", base_url="http://127.0.0.1:30000/v1", extra=_NO_THINKING, owner="sglang"
        ),
        Dialect(
            name="openai", base_url="https://api.openai.com/v1", extra=_LITTLE_THINKING,
            api_key_env="OPENAI_API_KEY",
        ),
        Dialect(
            name="gemini", base_url="https://generativelanguage.googleapis.com/v1beta/openai",
            extra={"reasoning_effort": "none"}, api_key_env="GEMINI_API_KEY",
        ),
        Dialect(
            name="mistral", base_url="https://api.mistral.ai/v1", api_key_env="MISTRAL_API_KEY"
        ),
    )
}  # fmt: skip
LOOK_TIMEOUT_S = 2.0
MAX_LOOK_BYTES = 1_000_000
ANY = Dialect(name="", base_url="")


def dialect(name: str) -> Dialect:
    """Return a dialect by name, the plain one for ""."""
    return DIALECTS[name] if name else ANY


def dialect_of(base_url: str, http: httpx.Client) -> Dialect:
    """Return which server is at an address, ANY where unknown: by the address or its models.

    Sends one request to the address, which answers within `LOOK_TIMEOUT_S` or is unknown.
    """
    for one in DIALECTS.values():
        if one.api_key_env and base_url.startswith(one.base_url):
            return one
    owner = _owner(base_url, http)
    found = [one for one in DIALECTS.values() if owner and one.owner == owner]
    return found[0] if found else ANY


def _owner(base_url: str, http: httpx.Client) -> str:
    """Return who owns the first model of a list of models, "" where nothing of that kind comes."""
    import httpx

    deadline_s, data = time.monotonic() + LOOK_TIMEOUT_S, b""
    try:
        with http.stream("GET", f"{base_url}/models", timeout=LOOK_TIMEOUT_S) as response:
            for part in response.iter_raw():
                data += part
                if len(data) > MAX_LOOK_BYTES or time.monotonic() > deadline_s:
                    return ""
        return str(json.loads(data)["data"][0]["owned_by"])
    except (httpx.HTTPError, ValueError, LookupError, TypeError, RecursionError):
        return ""


def chat_path(one: Dialect) -> str:
    """Return the path of a chat request below the base URL."""
    return "/api/chat" if one.is_native else "/chat/completions"


def chat_body(
    one: Dialect,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    context_tokens: int,
) -> dict[str, Any]:
    """Return the request for a reply at temperature 0, without thinking."""
    if not one.is_native:
        return {
            "model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0,
            "stream": False, **one.extra,
        }  # fmt: skip
    return {
        "model": model, "messages": [_native(message) for message in messages], "stream": False,
        "think": False, "keep_alive": "30m", "truncate": False,
        "options": {"temperature": 0, "num_predict": max_tokens, "num_ctx": context_tokens},
    }  # fmt: skip


def _native(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its pictures beside its text, in order."""
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    texts = [part["text"] for part in content if part["type"] == "text"]
    images = [
        part["image_url"]["url"].removeprefix(DATA_URI)
        for part in content if part["type"] == "image_url"
    ]  # fmt: skip
    return {"role": message["role"], "content": "\n".join(texts), "images": images}


def chat_reply(one: Dialect, value: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return content, thoughts, the reason of the end, and token counts, of a parsed reply.

    Raises LookupError, TypeError or AttributeError for another form.
    """
    if one.is_native:
        message = value["message"]
        usage = {
            "prompt_tokens": value.get("prompt_eval_count"),
            "completion_tokens": value.get("eval_count"),
        }
        return message["content"], message.get("thinking"), value.get("done_reason"), usage
    choice = value["choices"][0]
    message = choice["message"]
    thoughts = message.get("reasoning") or message.get("reasoning_content")
    content = message.get("content")
    reason = choice.get("finish_reason")
    if content is None:  # "length": some keep the thoughts that used up the tokens
        content = message.get("refusal") or ("" if thoughts or reason == "length" else None)
    if isinstance(content, list):  # parts
        content = "".join(str(part.get("text", "")) for part in content)
    return content, thoughts, reason, value.get("usage") or {}
